"""8-bit weights and activations, whose ranges are seen on training rows (PTSQ)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from electralab.artifacts import read_manifest
from electralab.config import StaticInt8
from electralab.errors import Unsuitable
from electralab.finetune.examples import EncodedExamples, encode_examples, sample_examples
from electralab.methods.job import Job, Outcome
from electralab.methods.onnx.session import graph_inputs
from electralab.methods.quantization.integers import REDUCE_RANGE
from electralab.methods.quantization.onnx_link import run_link
from electralab.model_files import TOKENIZER
from electralab.tokens.tokenizer import load_tokenizer

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
BATCH_SIZE = 8


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Training rows as the graph takes them."""

    def __init__(self, rows: EncodedExamples, batch_size: int) -> None:
        self._batches = _batches(rows, batch_size)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _batches(rows: EncodedExamples, size: int) -> Iterator[dict[str, Any]]:
    for start in range(0, len(rows), size):
        ids, mask, types, _ = rows.batch(np.arange(start, min(start + size, len(rows))))
        yield graph_inputs(ids, mask, types)


def run(job: Job) -> Outcome:
    """Calibrate and quantize with ONNX Runtime; see `run_link`.

    Raises:
        Unsuitable: the task has no training row to calibrate on.
    """
    settings = job.spec.settings
    assert isinstance(settings, StaticInt8)
    sample = sample_examples(job.data.train, settings.calibration_rows, job.spec.seed)
    if not sample:
        raise Unsuitable(f"{job.spec.title}: the task has no training rows to calibrate on: use dynamic_int8")

    def quantize(model: onnx.ModelProto, layers: list[str], file: Path) -> None:
        assert job.start is not None
        reads = read_manifest(job.start).reads
        assert reads is not None
        rows = encode_examples(sample, load_tokenizer(job.start.with_name(TOKENIZER)), reads.max_length)
        quantize_static(
            model,
            file,
            # Histograms are made of arrays of one shape: all rows are then one batch.
            _Rows(rows, BATCH_SIZE if settings.calibration == "minmax" else len(rows)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_quantize=layers,
            per_channel=settings.per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=REDUCE_RANGE,
            calibrate_method=METHODS[settings.calibration],
        )

    outcome = run_link(job, settings.scope, quantize)
    outcome.metrics["calibration_rows"] = len(sample)
    return outcome
