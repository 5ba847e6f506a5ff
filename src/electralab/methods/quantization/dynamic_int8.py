"""8-bit weights, and activations rounded as they come."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from electralab.config import DynamicInt8
from electralab.methods.job import Job, Outcome
from electralab.methods.quantization.integers import REDUCE_RANGE
from electralab.methods.quantization.onnx_link import run_link


def run(job: Job) -> Outcome:
    """Quantize with ONNX Runtime; see `run_link`."""
    settings = job.spec.settings
    assert isinstance(settings, DynamicInt8)

    def quantize(model: onnx.ModelProto, layers: list[str], file: Path) -> None:
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_quantize=layers,
            per_channel=settings.per_channel,
            weight_type=QuantType.QInt8,
            reduce_range=REDUCE_RANGE,
        )

    return run_link(job, settings.scope, quantize)
