"""What a graph of OpenVINO holds, layer by layer, read from its saved files: see `onnx.graph`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from electralab.deploy.graphs import import_openvino
from electralab.errors import RunFailed
from electralab.methods.onnx.export import OUTPUT
from electralab.methods.onnx.graph import Layer, layers_of, part_of

Floats = npt.NDArray[np.float32]


class Stored(NamedTuple):
    """Weights as a file stores them."""

    values: Floats  # [out, in] or [entries, width], as they were before inputs were smoothed
    bits: int
    bytes: int  # with their scales


def stored_layers(file: Path, network: nn.Module) -> list[Layer]:
    """How a graph stores every layer of the network that it was made from.

    Raises:
        RunFailed: a layer's weights are nowhere in the graph.
    """
    graph = import_openvino().Core().read_model(file)
    layers, found = layers_of(network), []
    nodes = layer_nodes(graph, layers)
    for name, layer in layers.items():
        weight: Floats = layer.weight.detach().numpy()
        stored = _stored(nodes[name], weight.shape) if name in nodes else _plain(graph.get_ops(), weight)
        if stored is None:
            raise RunFailed(f"the graph holds no weights of the layer {name}")
        error = float(np.linalg.norm(stored.values - weight) / max(float(np.linalg.norm(weight)), 1e-12))
        found.append(Layer(name, part_of(name), stored.bits, weight.size, stored.bytes, error))
    return found


def layer_nodes(graph: Any, layers: Collection[str]) -> dict[str, Any]:
    """The operations that read the weights of layers, by the names of the layers.

    One that is the last of the graph is called like the output: where a bias is zero, nothing is added after the last
    product.
    """
    nodes = {node.get_friendly_name(): node for node in graph.get_ops() if node.get_type_name() in ("MatMul", "Gather")}
    found = {name: nodes[name] for name in layers if name in nodes}
    unnamed = [name for name in layers if name.startswith("head.") and name not in found]
    if OUTPUT in nodes and len(unnamed) == 1:
        found[unnamed[0]] = nodes[OUTPUT]
    return found


def _stored(node: Any, shape: tuple[int, ...]) -> Stored | None:
    """The weights that a product or a lookup reads."""
    dense = node.get_type_name() == "MatMul"
    constants: list[Any] = []
    values = _computed(_input(node, 1 if dense else 0), constants)
    if values is None or not constants:
        return None
    if dense and not node.get_attributes()["transpose_b"]:
        values = values.T
    if values.shape != shape:
        return None
    smooth = _smoothing(_input(node, 0)) if dense else None
    if smooth is not None:
        values = values * smooth
    size = sum(constant.data.nbytes for constant in constants)
    return Stored(values, constants[0].get_element_type().bitwidth, size)


def _computed(node: Any, constants: list[Any]) -> Floats | None:
    """What constants come to: `(stored - zero) * scale`; the largest constant is put first."""
    kind = node.get_type_name()
    if kind == "Constant":
        constants.append(node)
        constants.sort(key=lambda constant: -constant.data.size)
        return np.asarray(node.data, np.float32)
    if kind == "Convert":
        return _computed(_input(node, 0), constants)
    if kind not in ("Multiply", "Subtract"):
        return None
    left, right = (_computed(_input(node, place), constants) for place in (0, 1))
    if left is None or right is None:
        return None
    return left * right if kind == "Multiply" else left - right


def _smoothing(node: Any) -> Floats | None:
    """What every input of a layer was multiplied by, for which its weights were divided by it (SmoothQuant)."""
    while node.get_type_name() in ("FakeQuantize", "Multiply"):
        if node.get_type_name() == "Multiply" and node.get_friendly_name().endswith("nncf_smooth_quant"):
            return np.asarray(_input(node, 1).data, np.float32).reshape(-1)
        node = _input(node, 0)
    return None


def _plain(nodes: Any, weight: Floats) -> Stored | None:
    """A table that no node of its name reads, as that of the positions, which is sliced."""
    for node in nodes:
        if node.get_type_name() == "Constant" and tuple(node.data.shape[-2:]) == weight.shape:
            values = np.asarray(node.data, np.float32).reshape(weight.shape)
            if np.array_equal(values, weight):
                return Stored(values, node.get_element_type().bitwidth, node.data.nbytes)
    return None


def _input(node: Any, place: int) -> Any:
    return node.input_value(place).get_node()
