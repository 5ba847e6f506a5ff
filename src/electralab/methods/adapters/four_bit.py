"""4-bit layers of bitsandbytes on the CPUs where oneDNN multiplies faster than PyTorch's own choice.

Unpacking a layer takes a fiftieth of the time of a product with a batch of rows, so that the product decides.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from bitsandbytes.functional import QuantState, dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from electralab.speed.onednn import onednn_is_faster, product


class _Product(torch.autograd.Function):
    # hidden [N, K], packed weight of [M, K], bias [M] or None -> [N, M]; the weight is frozen and never kept unpacked
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, packed: Tensor, state: QuantState, bias: Tensor | None) -> Tensor:
        ctx.packed, ctx.state = packed, state
        return product(hidden, dequantize_4bit(packed, state), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs_hidden, *_, needs_bias = ctx.needs_input_grad
        weight = dequantize_4bit(ctx.packed, ctx.state) if needs_hidden else None
        return None if weight is None else product(grad, weight.T), None, None, grad.sum(0) if needs_bias else None


class OneDnnLinear4bit(Linear4bit):
    """`Linear4bit` that uses oneDNN for fp32 on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., M]."""
        state = cast(Any, self.weight).quant_state
        if x.device.type != "cpu" or x.dtype != torch.float32 or state is None or state.dtype != torch.float32:
            return cast(Tensor, super().forward(x))
        rows: Tensor = _Product.apply(x.reshape(-1, self.in_features), self.weight.data, state, self.bias)  # type: ignore[no-untyped-call]
        return rows.view(*x.shape[:-1], self.out_features)


def use_onednn_in_4_bits(module: nn.Module) -> None:
    """Let every 4-bit layer of `module` use oneDNN, if that is faster here; names and weights stay as they are."""
    if onednn_is_faster():
        for child in module.modules():
            if type(child) is Linear4bit:
                child.__class__ = OneDnnLinear4bit
