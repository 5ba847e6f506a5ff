"""8-bit weights and activations for OpenVINO, by NNCF: ranges seen on training rows, activations smoothed before."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx

from electralab.config import OpenvinoInt8
from electralab.deploy.graphs import import_openvino
from electralab.errors import Unsuitable
from electralab.methods.job import Job, Outcome
from electralab.methods.onnx.graph import WEIGHT
from electralab.methods.quantization.calibration import calibration_batches, calibration_sample
from electralab.methods.quantization.onnx_link import run_link
from electralab.methods.quantization.openvino_graph import layer_nodes

BATCH_SIZE = 8


def run(job: Job) -> Outcome:
    """Calibrate and quantize with NNCF; see `run_link`.

    Raises:
        Unsuitable: OpenVINO or NNCF is not installed, or the task has no training row to calibrate on.
    """
    settings = job.spec.settings
    assert isinstance(settings, OpenvinoInt8)
    openvino, nncf = import_openvino(), _import_nncf()
    sample = calibration_sample(job, settings.calibration_rows)

    def quantize(model: onnx.ModelProto, layers: list[str], file: Path) -> None:
        tensors = [tensor.name for tensor in model.graph.initializer]
        weighted = {name.removesuffix(WEIGHT) for name in tensors if name.endswith(WEIGHT)}
        graph = openvino.Core().read_model(model.SerializeToString(), b"")
        nodes = layer_nodes(graph, weighted)
        able = list(nodes.values())
        if settings.scope == "published":  # others quantize products of activations too
            able += [node for node in graph.get_ops() if node.get_type_name() == "MatMul"]
        wanted = {nodes[name].get_friendly_name() for name in layers if name in nodes}
        others = {node.get_friendly_name() for node in able} - wanted
        batches = list(calibration_batches(job, sample, BATCH_SIZE))
        quantized = nncf.quantize(
            graph,
            nncf.Dataset(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=sorted(others)),
            # Weights of 7 bits, as everywhere: without VNNI sums of products overflow (`integers`).
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )
        openvino.save_model(quantized, file, compress_to_fp16=False)

    outcome = run_link(job, settings.scope, quantize, "openvino")
    outcome.metrics["calibration_rows"] = len(sample)
    return outcome


def _import_nncf() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it knows our torch not yet, and is not asked to use it
        try:
            import nncf
        except ImportError:
            raise Unsuitable('NNCF is not installed: pip install "electralab[openvino]"') from None
    nncf.set_log_level(logging.ERROR)
    return nncf
