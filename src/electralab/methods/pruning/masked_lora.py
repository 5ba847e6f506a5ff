"""A low-rank update under a mask: what is trained is what the merged weight is, exactly sparse."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from electralab.methods.pruning.masks import smallest_go

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

    @torch.no_grad()
    def prune_to(self, sparsity: float, structure: str) -> None:
        """Let round(sparsity * n) of the weights, or of the inputs, be zero: the smallest; what is zero stays zero."""
        if structure == "columns":
            scores = self.merged().norm(dim=0)
            scores[~self.mask.any(dim=0)] = PRUNED
            self.mask &= smallest_go(scores, sparsity)[None, :]
        else:
            scores = self.merged().abs()
            scores[~self.mask] = PRUNED
            self.mask &= smallest_go(scores, sparsity)

    @torch.no_grad()
    def as_linear(self) -> nn.Linear:
        """The merged layer."""
        layer = nn.Linear(self.weight.shape[1], self.weight.shape[0], device=self.weight.device)
        layer.weight.copy_(self.merged())
        layer.bias.copy_(self.bias)
        return layer
