"""The rounding of a fake-quantized network as nodes of a graph: the same scales and the same integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from electralab.methods.onnx.graph import WEIGHT
from electralab.methods.quantization.fake import FakeQuantized, FakeQuantizedLinear, fake_quantized
from electralab.methods.quantization.integers import PRODUCT_LIMIT, TABLE_LIMIT


def insert_rounding(model: onnx.ModelProto, network: nn.Module) -> None:
    """Write the graph of a network so that it rounds as the network's fake-quantized layers do.

    A dense layer reads its input through `QuantizeLinear` and `DequantizeLinear`, and its weights as integers; of a
    table integers are looked up. ONNX Runtime makes products of integers of it.

    Args:
        model: the graph in fp32, whose nodes have the names of the layers; it is changed.
        network: fake-quantized, with the ranges that it is to round by.
    """
    layers = fake_quantized(network)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        layer = layers.get(node.name)
        if layer is None or node.op_type not in ("MatMul", "Gather"):
            nodes.append(node)
            continue
        model.graph.initializer.remove(tensors[f"{node.name}{WEIGHT}"])
        if isinstance(layer, FakeQuantizedLinear):
            nodes += _product(model, node, layer)
        else:
            nodes += _lookup(model, node, layer)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def integers(layer: FakeQuantized) -> npt.NDArray[np.int8]:
    """The weights of a layer as it rounds them, [M, K] or [entries, E]."""
    scales = layer.scales().view(-1, 1)
    limit = PRODUCT_LIMIT if isinstance(layer, FakeQuantizedLinear) else TABLE_LIMIT
    # By the reciprocal, as PyTorch's fake-quantization does it: a half is rounded to the same side.
    rounded = torch.round(layer.weight.detach() * (1.0 / scales)).clamp(-limit, limit)
    return rounded.to(torch.int8).numpy(force=True)


def _product(model: onnx.ModelProto, node: onnx.NodeProto, layer: FakeQuantizedLinear) -> list[onnx.NodeProto]:
    name, hidden = f"{node.name}{WEIGHT}", node.input[0]
    scales = layer.scales().numpy(force=True)
    scales = scales if layer.per_channel else scales.reshape(())
    scale, zero_point = (value.numpy(force=True) for value in layer.activation())
    weight = _constants(model, name, integers(layer).T.copy(), scales, np.zeros(scales.shape, np.int8))
    entering = f"{node.name}.input"
    levels = _constants(model, entering, None, scale, zero_point.astype(np.uint8))
    quantized, rounded, unpacked = f"{entering}_rounded", f"{entering}_dequantized", f"{name}_dequantized"
    return [
        helper.make_node("QuantizeLinear", [hidden, *levels], [quantized]),
        helper.make_node("DequantizeLinear", [quantized, *levels], [rounded]),
        helper.make_node("DequantizeLinear", weight, [unpacked], axis=1),
        helper.make_node("MatMul", [rounded, unpacked], node.output, name=node.name),
    ]


def _lookup(model: onnx.ModelProto, node: onnx.NodeProto, layer: FakeQuantized) -> list[onnx.NodeProto]:
    name, found = f"{node.name}{WEIGHT}", f"{node.output[0]}_rows"
    scale = layer.scales().numpy(force=True).reshape(())
    table, *levels = _constants(model, name, integers(layer), scale, np.zeros((), np.int8))
    return [
        helper.make_node("Gather", [table, node.input[1]], [found], name=node.name),
        helper.make_node("DequantizeLinear", [found, *levels], node.output),
    ]


def _constants(
    model: onnx.ModelProto,
    name: str,
    values: npt.NDArray[np.int8] | None,
    scale: npt.NDArray[Any],
    zero_point: npt.NDArray[Any],
) -> list[str]:
    """Names of the tensors that are added: the values, if there are any, their scale and zero point."""
    kinds = {"quantized": values, "scale": scale.astype(np.float32), "zero_point": zero_point}
    made = {f"{name}_{kind}": array for kind, array in kinds.items() if array is not None}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), key) for key, array in made.items())
    return list(made)
