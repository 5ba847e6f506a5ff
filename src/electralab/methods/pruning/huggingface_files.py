"""Layers and neurons taken out of the files of a Hugging Face encoder, which `transformers` opens as before."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

LAYER = re.compile(r"((?:^|.*\.)(?:encoder|transformer)\.layer\.)(\d+)\.(.+)")


class Names(NamedTuple):
    """What an architecture calls them."""

    into: str  # of the layer whose outputs are the neurons
    out: str  # of that whose inputs they are
    layers: str  # in `config.json`
    neurons: str


BERT = Names("intermediate.dense", "output.dense", "num_hidden_layers", "intermediate_size")
NAMES = {"electra": BERT, "bert": BERT, "distilbert": Names("ffn.lin1", "ffn.lin2", "n_layers", "hidden_dim")}


def smaller_weights(
    weights: Mapping[str, Tensor], kind: str, neurons: Sequence[Tensor], gone: Collection[int]
) -> dict[str, Tensor]:
    """The weights of a model without some layers, those above them renumbered, and without some neurons of the others.

    Args:
        weights: by their Hugging Face names.
        kind: `model_type` of the config.
        neurons: of every layer the numbers of the neurons that stay.
        gone: numbers of the layers that go.
    """
    numbers = {old: new for new, old in enumerate(old for old in range(len(neurons)) if old not in gone)}
    found = {}
    for name, tensor in weights.items():
        layer = LAYER.fullmatch(name)
        if layer is None:
            found[name] = tensor
            continue
        number, rest = int(layer[2]), layer[3]
        if number in numbers:
            found[f"{layer[1]}{numbers[number]}.{rest}"] = _sliced(tensor, rest, NAMES[kind], neurons[number])
    return found


def smaller_config(config: Mapping[str, Any], neurons: int, layers: int) -> dict[str, Any]:
    """A `config.json` that says so many neurons a layer, and so many layers."""
    names = NAMES[config["model_type"]]
    return {**config, names.layers: layers, names.neurons: neurons}


def _sliced(tensor: Tensor, name: str, names: Names, neurons: Tensor) -> Tensor:
    if name in (f"{names.into}.weight", f"{names.into}.bias"):
        return tensor.index_select(0, neurons)
    return tensor.index_select(1, neurons) if name == f"{names.out}.weight" else tensor
