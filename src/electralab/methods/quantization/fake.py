"""Layers that compute with rounded weights and activations and train as if nothing were rounded (QAT).

PyTorch's fake-quantization rounds forward and hands gradients through. Weights are symmetric, so that a zero stays one;
activations, as they enter a layer, take the range that a moving average of minimum and maximum has (Jacob et al. 2018,
section 3.1).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from electralab.methods.quantization.integers import ACTIVATION_LEVELS, PRODUCT_LIMIT, TABLE_LIMIT
from electralab.speed.onednn import linear

MOVING_AVERAGE = 0.01  # PyTorch's `MovingAverageMinMaxObserver`
SMALLEST_SCALE = 1e-8


class FakeQuantizedLinear(nn.Linear):
    """A dense layer with the parameters of another one. While `rounds` is off, it only watches what enters."""

    low: Tensor  # [], the least that enters it, never above 0
    high: Tensor

    def __init__(self, layer: nn.Linear, per_channel: bool, rounds: bool) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.per_channel, self.rounds, self.seen = per_channel, rounds, False
        for name in ("low", "high"):  # not in the state, which stays that of the layer
            self.register_buffer(name, torch.zeros((), device=layer.weight.device), persistent=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Linear)
        """[..., K] -> [..., M]."""
        if self.training:
            self._watch(input.detach())
        if not self.rounds:
            return linear(input, self.weight, self.bias)
        scale, zero_point = self.activation()
        rounded = torch.fake_quantize_per_tensor_affine(input, scale, zero_point, 0, ACTIVATION_LEVELS)
        return linear(rounded, self.rounded_weight(), self.bias)

    def _watch(self, hidden: Tensor) -> None:
        low, high = torch.aminmax(hidden)
        weight = MOVING_AVERAGE if self.seen else 1.0
        self.low += weight * (low.clamp(max=0) - self.low)
        self.high += weight * (high.clamp(min=0) - self.high)
        self.seen = True

    def activation(self) -> tuple[Tensor, Tensor]:
        """Scale [] fp32 and zero point [] int32 of what enters."""
        scale = ((self.high - self.low) / ACTIVATION_LEVELS).clamp(min=SMALLEST_SCALE)
        return scale, (-self.low / scale).round().clamp(0, ACTIVATION_LEVELS).int()

    def scales(self) -> Tensor:
        """Scale of the weights: [M], or [1] for all."""
        largest = self.weight.detach().abs().amax(dim=1)
        return _scales(largest if self.per_channel else largest.max().view(1), PRODUCT_LIMIT)

    def rounded_weight(self) -> Tensor:
        """[M, K], whose gradient is the weight's."""
        scales = self.scales().expand(self.out_features).contiguous()
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(self.weight, scales, zeros, 0, -PRODUCT_LIMIT, PRODUCT_LIMIT)


class FakeQuantizedEmbedding(nn.Embedding):
    """A table with the parameters of another one, rounded with a single scale."""

    def __init__(self, table: nn.Embedding, rounds: bool) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, _weight=table.weight)
        self.weight, self.rounds = table.weight, rounds

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Embedding)
        """[...] int64 -> [..., E]."""
        return F.embedding(input, self.rounded_weight() if self.rounds else self.weight)

    def scales(self) -> Tensor:
        """[1]."""
        return _scales(self.weight.detach().abs().max().view(1), TABLE_LIMIT)

    def rounded_weight(self) -> Tensor:
        """[entries, E], whose gradient is the weight's."""
        scales = self.scales()[0]
        zero = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_tensor_affine(self.weight, scales, zero, -TABLE_LIMIT, TABLE_LIMIT)


FakeQuantized = FakeQuantizedLinear | FakeQuantizedEmbedding


def _scales(largest: Tensor, limit: int) -> Tensor:
    return (largest / limit).clamp(min=SMALLEST_SCALE)


def fake_quantize(network: nn.Module, layers: list[str], per_channel: bool, rounds: bool) -> None:
    """Put fake-quantized layers in place of those named, whatever subclass of `nn.Linear` they are."""
    for name in layers:
        layer = network.get_submodule(name)
        new: FakeQuantized
        if isinstance(layer, nn.Embedding):
            new = FakeQuantizedEmbedding(layer, rounds)
        else:
            new = FakeQuantizedLinear(cast(nn.Linear, layer), per_channel, rounds)
        network.set_submodule(name, new)


def fake_quantized(network: nn.Module) -> dict[str, FakeQuantized]:
    """The fake-quantized layers of a network by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, FakeQuantized)}


def error_seen(network: nn.Module) -> float:
    """Mean over layers of |weight computed with - weight| / |weight|, Frobenius: 0 where nothing is rounded."""
    errors = []
    for layer in fake_quantized(network).values():
        weight = layer.weight.detach()
        used = layer.rounded_weight().detach() if layer.rounds else weight
        errors.append(float((used - weight).norm() / weight.norm().clamp(min=1e-12)))
    return sum(errors) / len(errors)
