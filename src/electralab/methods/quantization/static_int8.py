"""8-bit weights and activations, whose ranges are seen on training rows (PTSQ)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from electralab.config import StaticInt8
from electralab.deploy.graphs import Integers
from electralab.methods.job import Job, Outcome
from electralab.methods.quantization.calibration import calibration_batches, calibration_sample
from electralab.methods.quantization.integers import REDUCE_RANGE
from electralab.methods.quantization.onnx_link import run_link

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
BATCH_SIZE = 8


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Training rows as the graph takes them."""

    def __init__(self, batches: Iterator[dict[str, Integers]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Integers] | None:
        return next(self._batches, None)


def run(job: Job) -> Outcome:
    """Calibrate and quantize with ONNX Runtime; see `run_link`.

    Raises:
        Unsuitable: the task has no training row to calibrate on.
    """
    settings = job.spec.settings
    assert isinstance(settings, StaticInt8)
    # Histograms are made of arrays of one shape: all rows are then one batch.
    size = BATCH_SIZE if settings.calibration == "minmax" else None
    sample = calibration_sample(job, settings.calibration_rows)

    def quantize(model: onnx.ModelProto, layers: list[str], file: Path) -> None:
        quantize_static(
            model,
            file,
            _Batches(calibration_batches(job, sample, size)),
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
