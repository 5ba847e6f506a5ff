"""Attention heads, feed-forward neurons and layers taken out of a network: what is left is smaller, not only sparser.

Which go is decided by weights alone, in every layer by itself: those that can add least to its output.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from electralab.electra.encoder import Encoder, Layer
from electralab.methods.onnx.network import PlainEncoder


class Kept(NamedTuple):
    """The heads and neurons of a layer that stay, by their numbers, ascending."""

    heads: Tensor
    neurons: Tensor


def layers_of(network: PlainEncoder) -> list[Layer]:
    """The layers of a network, from the embeddings up."""
    return [cast(Layer, layer) for layer in network.encoder.layers]


def head_scores(layer: Layer) -> Tensor:
    """[H]: of every head, the product of the norms of its value matrix and of its part of the output projection."""
    heads, size = layer.heads, layer.head_size
    values = layer.qkv.weight.chunk(3)[2].reshape(heads, -1)
    outputs = layer.attention_output.weight.reshape(-1, heads, size).transpose(0, 1).reshape(heads, -1)
    return (values.square().sum(1) * outputs.square().sum(1)).sqrt()


def neuron_scores(layer: Layer) -> Tensor:
    """[F]: of every neuron, the product of the norms of its weights in and out."""
    return (layer.intermediate.weight.square().sum(1) * layer.output.weight.square().sum(0)).sqrt()


def choose(network: PlainEncoder, heads: int, neurons: int) -> list[Kept]:
    """What stays of every layer when so many heads and neurons of each go, those with the smallest scores."""
    return [
        Kept(_largest(head_scores(layer), heads), _largest(neuron_scores(layer), neurons))
        for layer in layers_of(network)
    ]


def shrunken(network: PlainEncoder, kept: list[Kept]) -> PlainEncoder:
    """A network of the chosen heads and neurons alone; the `config` of its encoder still says the whole."""
    small = copy.deepcopy(network)
    small.encoder.layers = nn.ModuleList(
        _shrunken_layer(layer, of_layer) for layer, of_layer in zip(layers_of(small), kept, strict=True)
    )
    return small


def without_layers(network: PlainEncoder, gone: Collection[int]) -> PlainEncoder:
    """A network without the layers of these numbers."""
    small = copy.deepcopy(network)
    small.encoder.layers = nn.ModuleList(
        layer for number, layer in enumerate(layers_of(small)) if number not in set(gone)
    )
    return small


def with_layers(encoder: Encoder, numbers: Sequence[int], neurons: int) -> Encoder:
    """A copy with the layers of these numbers in this order, each with so many neurons, those with the largest scores.

    Its `config` says what it is.
    """
    small = copy.deepcopy(encoder)
    layers = [cast(Layer, copy.deepcopy(encoder.layers[number])) for number in numbers]
    whole = encoder.config.intermediate_size
    chosen = [Kept(torch.arange(layer.heads), _largest(neuron_scores(layer), whole - neurons)) for layer in layers]
    small.layers = nn.ModuleList(_shrunken_layer(layer, kept) for layer, kept in zip(layers, chosen, strict=True))
    small.config = replace(encoder.config, layers=len(layers), intermediate_size=neurons)
    return small


def _largest(scores: Tensor, removed: int) -> Tensor:
    return scores.argsort(stable=True)[removed:].sort().values


def _shrunken_layer(layer: Layer, kept: Kept) -> Layer:
    size, width = layer.head_size, layer.heads * layer.head_size
    places = (kept.heads[:, None] * size + torch.arange(size)).flatten()
    layer.heads = len(kept.heads)
    layer.qkv = _sliced(layer.qkv, rows=torch.cat([places + part * width for part in range(3)]))
    layer.attention_output = _sliced(layer.attention_output, columns=places)
    layer.intermediate = _sliced(layer.intermediate, rows=kept.neurons)
    layer.output = _sliced(layer.output, columns=kept.neurons)
    return layer


def _sliced(layer: nn.Linear, rows: Tensor | None = None, columns: Tensor | None = None) -> nn.Linear:
    """A layer of some of the outputs, or of some of the inputs, of another."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    if rows is not None:
        weight, bias = weight.index_select(0, rows), bias.index_select(0, rows)
    if columns is not None:
        weight = weight.index_select(1, columns)
    small = nn.Linear(weight.shape[1], weight.shape[0])
    small.load_state_dict({"weight": weight, "bias": bias})
    return small.requires_grad_(layer.weight.requires_grad)
