"""What an ONNX graph holds, layer by layer: bits, bytes and how far its weights are from those that they stand for.

Read from the saved graph, not from what was asked for: a quantizer that finds nothing to do says nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from torch import nn

from electralab.errors import RunFailed
from electralab.weight_bytes import PARTS, Part

WEIGHT = ".weight"


class Layer(NamedTuple):
    """A dense layer or an embedding of a network, as a file stores it."""

    name: str
    part: Part
    bits: int  # of a weight
    weights: int
    bytes: int  # of the weights with their scales
    rounding_error: float  # |stored - fp32| / |fp32|, Frobenius


def part_of(name: str) -> Part:
    """Which part of a network a weight belongs to, by its name."""
    if name.startswith("head."):
        return "head"
    return "embeddings" if name.startswith("encoder.embeddings.") else "linear"


def layers_of(network: nn.Module) -> dict[str, nn.Linear | nn.Embedding]:
    """The dense layers and embeddings of a network by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Embedding)}


def stored_layers(file: Path, network: nn.Module) -> list[Layer]:
    """How a graph stores every layer of the network that it was made from.

    Raises:
        RunFailed: a layer's weights are nowhere in the graph.
    """
    found, model = [], onnx.load(file)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, layer in layers_of(network).items():
        own = {
            key.removeprefix(f"{name}{WEIGHT}"): tensor
            for key, tensor in tensors.items()
            if key.startswith(f"{name}{WEIGHT}")
        }
        weight = layer.weight.detach().numpy()
        stored = _dequantized(own, _node_of(model, own, name), isinstance(layer, nn.Linear))
        if stored is None:
            raise RunFailed(f"the graph holds no weights of the layer {name}")
        values, bits = stored
        if isinstance(layer, nn.Linear):
            weight = weight.T  # a graph multiplies from the left
        error = float(np.linalg.norm(values - weight) / max(float(np.linalg.norm(weight)), 1e-12))
        size = sum(_stored_bytes(tensor) for tensor in own.values())
        found.append(Layer(name, part_of(name), bits, weight.size, size, error))
    return found


def bytes_by_part(layers: Sequence[Layer], total: int) -> dict[str, float]:
    """Bytes of a graph's files: of the layers by part, and of all else (norms, biases, the graph itself)."""
    sizes = {part: sum(layer.bytes for layer in layers if layer.part == part) for part in PARTS}
    sizes["other"] = total - sum(sizes.values())
    return {f"bytes.{part}": float(size) for part, size in sizes.items()}


def write_layers(path: Path, layers: Sequence[Layer]) -> None:
    """Write a row a layer."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Layer._fields)
        writer.writerows((*layer[:-1], f"{layer.rounding_error:.6g}") for layer in layers)


def _stored_bytes(tensor: TensorProto) -> int:
    """Of 4-bit numbers two share a byte, in a file but not in numpy."""
    return len(tensor.raw_data) or numpy_helper.to_array(tensor).nbytes


def _node_of(model: onnx.ModelProto, own: dict[str, TensorProto], name: str) -> onnx.NodeProto | None:
    """The node that reads a layer's weights."""
    names = {f"{name}{WEIGHT}{kind}" for kind in own}
    return next((node for node in model.graph.node if names & set(node.input)), None)


def _dequantized(
    own: dict[str, TensorProto], node: onnx.NodeProto | None, dense: bool
) -> tuple[npt.NDArray[Any], int] | None:
    """The weights [in, out] or [entries, width] that tensors stand for, and bits a weight; None without any."""
    arrays = {kind: numpy_helper.to_array(tensor) for kind, tensor in own.items()}
    if "" in arrays:
        return arrays[""], arrays[""].dtype.itemsize * 8
    if "_quantized" in arrays:  # a scale for every output, for every row of a table, or for all
        zero = arrays.get("_zero_point", np.zeros(1)).astype(np.float32)
        return (arrays["_quantized"].astype(np.float32) - zero) * arrays["_scale"].astype(np.float32), 8
    bits = next((bits for bits in (4, 8) if f"_Q{bits}" in arrays), None)
    if bits is None or node is None:
        return None
    size = next(item.i for item in node.attribute if item.name == "block_size")
    packed, scales = arrays[f"_Q{bits}"], arrays["_scales"].astype(np.float32)
    if not dense:  # `GatherBlockQuantized`: signed, unpacked by numpy
        return packed.astype(np.float32) * np.repeat(scales, size, axis=1)[:, : packed.shape[1]], bits
    # `MatMulNBits`: [out, blocks, bytes], the lower four bits first, around a zero in the middle.
    unpacked = np.stack([packed & 15, packed >> 4], axis=-1) if bits == 4 else packed
    blocks = unpacked.reshape(*scales.reshape(packed.shape[:2]).shape, size).astype(np.float32) - (1 << (bits - 1))
    inputs = next(item.i for item in node.attribute if item.name == "K")
    return (blocks * scales.reshape(packed.shape[:2])[:, :, None]).reshape(len(packed), -1)[:, :inputs].T, bits
