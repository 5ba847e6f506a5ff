"""Weights in 8 or 4 bits in blocks of their own scale, computed with in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from electralab.config import WeightOnlyInt4, WeightOnlyInt8
from electralab.methods.job import Job, Outcome
from electralab.methods.quantization.onnx_link import run_link


def run(job: Job) -> Outcome:
    """Quantize with ONNX Runtime; see `run_link`."""
    settings = job.spec.settings
    assert isinstance(settings, WeightOnlyInt8 | WeightOnlyInt4)
    bits = 4 if isinstance(settings, WeightOnlyInt4) else 8

    def quantize(model: onnx.ModelProto, layers: list[str], file: Path) -> None:
        others = [node.name for node in model.graph.node if node.name not in layers]
        if bits == 8:  # which ONNX Runtime's quantizer has for products only
            quantize_rows(model, layers)
        quantizer = MatMulNBitsQuantizer(
            model,
            bits=bits,
            block_size=settings.block_size,
            is_symmetric=True,
            accuracy_level=0,  # computes in fp32
            nodes_to_exclude=others,
            op_types_to_quantize=("MatMul", "Gather") if bits == 4 else ("MatMul",),
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(file), False)

    return run_link(job, settings.scope, quantize)


def quantize_rows(model: onnx.ModelProto, layers: list[str]) -> None:
    """Store tables of embeddings in 8 bits with a scale for every row, so that a lookup unpacks what it reads."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Gather" or node.name not in layers:
            nodes.append(node)
            continue
        name, ids, out = node.input[0], node.input[1], node.output[0]
        rows = numpy_helper.to_array(tensors[name])
        scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12) / 127
        stored = np.round(rows / scales).astype(np.int8)
        model.graph.initializer.remove(tensors[name])
        model.graph.initializer.append(numpy_helper.from_array(stored, f"{name}_quantized"))
        model.graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), f"{name}_scale"))
        nodes += [
            helper.make_node("Gather", [f"{name}_quantized", ids], [f"{out}_rows"], name=node.name),
            helper.make_node("Cast", [f"{out}_rows"], [f"{out}_wide"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{name}_scale", ids], [f"{out}_scales"]),
            helper.make_node("Mul", [f"{out}_wide", f"{out}_scales"], [out]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
