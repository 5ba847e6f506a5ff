"""How much of a saved model is zero, by what it is a share of."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from electralab.methods.pruning.masks import Dense
from electralab.model_files import WEIGHTS
from electralab.weight_bytes import part_of

BIAS = ".bias"
WEIGHT = ".weight"
CHUNK = 2**24


def dense_layers(state: Mapping[str, Tensor], parts: str) -> dict[str, Dense]:
    """The dense layers of a Hugging Face model that are pruned, by name.

    Args:
        state: its weights.
        parts: `encoder`, or `published`: with biases, and with the head.
    """
    published, found = parts == "published", {}
    for name, weight in state.items():
        layer = name.removesuffix(WEIGHT)
        if name.endswith(WEIGHT) and weight.dim() == 2:
            part = part_of(name, 2)
            if part == "linear" or (published and part == "head"):
                found[layer] = Dense(weight, state.get(f"{layer}{BIAS}") if published else None)
    return found


def counted(folder: Path, eligible: Collection[str] | None = None) -> dict[str, float]:
    """Shares of zeros in the weights of a folder, read from its file, and the bytes of that file after zlib.

    Args:
        folder: of a Hugging Face artifact.
        eligible: names of the tensors that could be pruned; None: the weights of the encoder's dense layers.
    """
    state = load_file(folder / WEIGHTS)
    encoder = [f"{name}{WEIGHT}" for name in dense_layers(state, "encoder")]
    zeros = {name: int((tensor == 0).sum()) for name, tensor in state.items()}
    total = sum(tensor.numel() for tensor in state.values())

    def share(names: Collection[str]) -> float:
        return sum(zeros[name] for name in names) / max(sum(state[name].numel() for name in names), 1)

    return {
        "sparsity.eligible": share(encoder if eligible is None else eligible),
        "sparsity.encoder": share(encoder),
        "sparsity.all": share(list(state)),
        "nonzero_parameters": float(total - sum(zeros.values())),
        "bytes_compressed": float(_compressed(folder / WEIGHTS)),
    }


def _compressed(file: Path) -> int:
    packer, size = zlib.compressobj(6), 0
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())
