"""A low-rank update under a mask: what is trained is what the merged weight is, exactly sparse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from electralab.methods.pruning.masks import smallest_go, smallest_of_all_go

PRUNED = -1.0  # the score of what is zero already, which comes first again


class MaskedLora(nn.Module):
    """(W + s B A) * M of a frozen dense layer W, [out, in].

    A layer of several parts one above the other, as query, key and value, has an update of rank r for each. Kept merged
    in the forward pass, so that nothing changes when it is merged for good; dropout of what enters the update alone, as
    LoRA has it elsewhere, would not allow that.
    """

    mask: Tensor

    def __init__(self, layer: nn.Linear, rank: int, scale: float, parts: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        self.scale = scale
        outputs, inputs = self.weight.shape
        self.lora_a = nn.Parameter(torch.empty(parts, rank, inputs))
        self.lora_b = nn.Parameter(torch.zeros(parts, outputs // parts, rank))
        nn.init.kaiming_uniform_(self.lora_a.view(parts * rank, inputs), a=math.sqrt(5))  # as PEFT draws it
        self.register_buffer("mask", torch.ones_like(self.weight, dtype=torch.bool))

    def merged(self) -> Tensor:
        """[out, in]."""
        return (self.weight + self.scale * torch.bmm(self.lora_b, self.lora_a).flatten(0, 1)) * self.mask

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return F.linear(inputs, self.merged(), self.bias)

    def scores(self, structure: str) -> Tensor:
        """Of its weights [out, in], or of its inputs [in]: the smallest go first, and before them what is zero."""
        if structure == "columns":
            norms: Tensor = torch.linalg.vector_norm(self.merged(), dim=0)
            return norms.masked_fill(~self.mask.any(dim=0), PRUNED)
        return self.merged().abs().masked_fill(~self.mask, PRUNED)

    @torch.no_grad()
    def as_linear(self) -> nn.Linear:
        """The merged layer."""
        layer = nn.Linear(self.weight.shape[1], self.weight.shape[0], device=self.weight.device)
        layer.weight.copy_(self.merged())
        layer.bias.copy_(self.bias)
        return layer


@torch.no_grad()
def prune_updates(
    layers: Sequence[MaskedLora], sparsity: float, structure: str, among: Literal["layer", "global"] = "layer"
) -> None:
    """Let round(sparsity * n) of the weights, or of the inputs, be zero, of every layer or of all; zeros stay."""
    scores = [layer.scores(structure) for layer in layers]
    if among == "global":
        kept = smallest_of_all_go(scores, sparsity)
    else:
        kept = [smallest_go(score, sparsity) for score in scores]
    for layer, mask in zip(layers, kept):
        layer.mask &= mask  # of columns: the same for every output
