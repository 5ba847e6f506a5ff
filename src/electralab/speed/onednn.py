"""fp32 dense layers through oneDNN, on the CPUs where PyTorch's own choice is slow.

PyTorch hands fp32 products to MKL, which runs its AVX2 kernels on AMD processors that have AVX-512. oneDNN, which
ships inside PyTorch, compiles AVX-512 kernels for them: a dense layer, forward and backward, takes half the time (EPYC,
torch 2.13). On other processors nothing is changed. The arithmetic is the same up to the order of the sums.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@cache
def onednn_is_faster() -> bool:
    """Whether this machine is one where oneDNN should be used: an AMD processor with AVX-512."""
    capabilities = torch.cpu.get_capabilities()
    return (
        "AMD" in capabilities.get("cpu_name", "")
        and bool(capabilities.get("avx512_f", False))
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left [..., K] @ right [M, K].T + bias [M], without autograd."""
    plain_fp32 = left.device.type == "cpu" and left.dtype == right.dtype == torch.float32
    if plain_fp32 and left.numel() and onednn_is_faster():
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], ""))
    return F.linear(left, right, bias)


def weight_gradient(grad: Tensor, hidden: Tensor) -> Tensor:
    """grad [N, M].T @ hidden [N, K] -> [M, K], without autograd.

    oneDNN reads its second operand in any layout and copies a transposed first one: the smaller goes first.
    """
    if grad.shape[1] <= hidden.shape[1]:
        return product(grad.T, hidden.T)
    return product(hidden.T, grad.T).T


class _Linear(torch.autograd.Function):
    # hidden [N, K], weight [M, K], bias [M] or None -> [N, M]
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return product(hidden, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad
        grad_hidden = product(grad, weight.T) if needs_hidden else None
        grad_weight = weight_gradient(grad, hidden) if needs_weight else None
        return grad_hidden, grad_weight, grad.sum(0) if needs_bias else None


def linear(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[..., K], [M, K], [M] -> [..., M], as a dense layer that went through `use_onednn` computes it."""
    unsuitable = hidden.device.type != "cpu" or hidden.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    if unsuitable or not onednn_is_faster():
        return F.linear(hidden, weight, bias)
    # As rows, because the result of more dimensions is a view, which autograd lets nobody add to in place.
    rows: Tensor = _Linear.apply(hidden.reshape(-1, weight.shape[1]), weight, bias)  # type: ignore[no-untyped-call]
    return rows.view(*hidden.shape[:-1], weight.shape[0])


class Linear(nn.Linear):
    """`nn.Linear` that uses oneDNN for fp32 on the CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Linear)
        """[..., K] -> [..., M]."""
        return linear(input, self.weight, self.bias)


def use_onednn(module: nn.Module) -> None:
    """Let every dense layer of `module` use oneDNN, if that is faster here; names and weights stay as they are."""
    if onednn_is_faster():
        for child in module.modules():
            if type(child) is nn.Linear:
                child.__class__ = Linear
