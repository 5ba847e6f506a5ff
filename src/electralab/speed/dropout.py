"""Dropout that is fast on a CPU.

PyTorch's own draws one double per element on the CPU, which costs a training step as much as its attention does. But
sixteen random bits decide as well: four elements share one draw of 64 bits, and the rate is met to 1/65,536.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """`nn.Dropout`, drawn from 16 random bits an element on the CPU; elsewhere it is PyTorch's own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Dropout)
        """A tensor of any shape -> the same shape; what is kept is scaled so that the mean stays."""
        dropped = round(self.p * _LEVELS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < _LEVELS:
            return super().forward(input)
        draws = torch.empty((input.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: input.numel()].view(input.shape) >= dropped - _LEVELS // 2
        return input * kept.to(input.dtype).mul_(_LEVELS / (_LEVELS - dropped))


def use_fast_dropout(module: nn.Module) -> None:
    """Let every dropout of `module` be fast on the CPU; nothing else of it changes."""
    for child in module.modules():
        if type(child) is nn.Dropout:
            child.__class__ = Dropout
