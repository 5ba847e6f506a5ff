"""From a network of PyTorch to an ONNX graph of any batch size and length, whose nodes have the names of its layers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.export import Dim

from electralab.methods.onnx.graph import WEIGHT, layers_of
from electralab.methods.onnx.network import PlainEncoder

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"
OPSET = 20  # of 23 ONNX Runtime 1.32 refuses the quantized attention


def export_onnx(network: PlainEncoder) -> onnx.ModelProto:
    """The graph of a network in fp32."""
    ids = torch.arange(6, dtype=torch.int64).view(2, 3)  # 0 and 1 would be taken for constants of the graph
    examples = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    positions = network.encoder.config.max_positions
    shape = {0: Dim("batch", min=1, max=65_536), 1: Dim("length", min=2, max=positions)}
    model = _exported(network, examples, shape)
    split_gemms(model)
    return name_layers(model, network)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without what exporter and quantizers say of every node, of other libraries, and of a pass that is not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _exported(network: nn.Module, examples: tuple[torch.Tensor, ...], shape: dict[int, Any]) -> onnx.ModelProto:
    with quiet_exporter(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            network,
            examples,
            dynamo=True,
            dynamic_shapes=(shape,) * len(INPUTS),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    model: onnx.ModelProto = program.model_proto
    del model.graph.value_info[:], model.graph.metadata_props[:]
    for node in model.graph.node:  # the lines of PyTorch that it came from: 100 kB
        node.doc_string = ""
        del node.metadata_props[:]
    return model


def split_gemms(model: onnx.ModelProto) -> None:
    """Write every `Gemm` as `MatMul` and `Add`, so that all dense layers are alike; ONNX Runtime fuses them again."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        options = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type != "Gemm" or options.get("transA"):
            nodes.append(node)
            continue
        weight = tensors[node.input[1]]
        if options.get("transB"):
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), weight.name))
        product = f"{node.output[0]}_product" if len(node.input) > 2 else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", node.input[:2], [product], name=node.name))
        if len(node.input) > 2:
            nodes.append(onnx.helper.make_node("Add", [product, node.input[2]], node.output, name=f"{node.name}_bias"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def name_layers(model: onnx.ModelProto, network: nn.Module) -> onnx.ModelProto:
    """Name weights and the nodes that read them as the network names its layers; the exporter numbers what it folds."""
    wanted = {f"{name}{WEIGHT}": layer.weight.detach().numpy() for name, layer in layers_of(network).items()}
    renamed: dict[str, str] = {}
    for tensor in model.graph.initializer:
        if len(tensor.dims) != 2:
            continue
        found = numpy_helper.to_array(tensor)
        for name, weight in wanted.items():
            same = found.shape == weight.shape and np.array_equal(found, weight)
            if same or (found.shape == weight.T.shape and np.array_equal(found, weight.T)):
                renamed[tensor.name] = name
                tensor.name = name
                del wanted[name]
                break
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name in renamed:
                node.input[place] = renamed[name]
                if node.op_type in ("MatMul", "Gather"):
                    node.name = renamed[name].removesuffix(WEIGHT)
    return model
