"""The generator's output layer: logits, cross entropy, gradient and one sample per token, in one pass.

The [N, V] logits are the largest tensor of a step. They are written once by the matrix product and then read and
overwritten once, in row blocks that stay in cache, by the gradient of the loss; the loss and the samples are taken on
the way. Shapes: N predicted tokens, n of them in a row block, V vocabulary, E embedding size.

Sampling needs no noise of size [N, V]: with one uniform u per row, the sample is the first token at which the
cumulative probability exceeds u. It is found in two steps: among the sums of blocks of the vocabulary, then inside
the block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from electralab.speed.onednn import product, weight_gradient

VOCABULARY_BLOCK = 64
CACHE_ELEMENTS = 2**17  # 512 KiB of fp32: the rows handled at a time on a CPU


def masked_lm(
    hidden: Tensor, table: Tensor, bias: Tensor, targets: Tensor, uniforms: Tensor, divisors: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of softmax(hidden @ table.T + bias), and one sample from it per row.

    The product runs in the autocast type; softmax, loss and sampling in fp32. Samples carry no gradient.

    Args:
        hidden: [N, E]; N may be 0, which gives a loss of 0.
        table: [V, E], the word embeddings.
        bias: [V].
        targets: [N] int64, the original tokens.
        uniforms: [N] float64 in [0, 1).
        divisors: [N] float64: the loss is the sum of each row's over its divisor, in place of the mean; infinite where
            a row does not count.

    Returns:
        the loss (fp32 scalar) and the samples [N] int64.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else table.dtype
    if divisors is None:
        divisors = torch.full(targets.shape, len(targets), dtype=torch.float64, device=targets.device)
    with torch.autocast(device, enabled=False):
        result: tuple[Tensor, Tensor] = _MaskedLM.apply(  # type: ignore[no-untyped-call]
            hidden, table, bias, targets, uniforms, divisors, dtype
        )
    return result


class _MaskedLM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        bias: Tensor,
        targets: Tensor,
        uniforms: Tensor,
        divisors: Tensor,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        ctx.input_dtypes = hidden.dtype, table.dtype
        hidden, weight = hidden.to(dtype), table.to(dtype)
        low_precision = dtype != torch.float32
        scores = product(hidden, weight, None if low_precision else bias).float()
        if low_precision:
            scores += bias
        rows = max(1, len(hidden) if hidden.is_cuda else CACHE_ELEMENTS // len(table))
        losses, samples = [], []
        for start in range(0, max(1, len(hidden)), rows):
            block = slice(start, start + rows)
            columns = (tensor[block, None] for tensor in (targets, uniforms, divisors))
            loss, sample = _softmax_gradient_(scores[block], *columns)
            losses.append(loss)
            samples.append(sample)
        ctx.save_for_backward(hidden, weight, scores)
        sampled = torch.cat(samples)
        ctx.mark_non_differentiable(sampled)
        return torch.cat(losses).sum().float(), sampled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, gradient = ctx.saved_tensors
        hidden_dtype, table_dtype = ctx.input_dtypes
        # The upstream factor multiplies the small operands, never the [N, V] gradient.
        grad_bias = grad_loss.expand(len(hidden)) @ gradient
        gradient = gradient.to(weight.dtype)
        grad_hidden = product(gradient, weight.T).to(hidden_dtype) * grad_loss.to(hidden_dtype)
        grad_table = weight_gradient(gradient, hidden * grad_loss.to(hidden.dtype)).to(table_dtype)
        return grad_hidden, grad_table, grad_bias, None, None, None, None


def _softmax_gradient_(scores: Tensor, target: Tensor, uniform: Tensor, divisor: Tensor) -> tuple[Tensor, Tensor]:
    """Overwrite logits [n, V] with (softmax - onehot(target)) / divisor; return losses / divisor and samples, [n]."""
    vocabulary = scores.shape[1]
    scores.sub_(scores.amax(1, keepdim=True))
    target_score = scores.gather(1, target)
    weights = scores.exp_()
    whole = vocabulary - vocabulary % VOCABULARY_BLOCK
    sums = weights[:, :whole].view(len(weights), whole // VOCABULARY_BLOCK, VOCABULARY_BLOCK).sum(2)
    sums = torch.cat([sums, weights[:, whole:].sum(1, keepdim=True)], 1).double()

    cumulative = sums.cumsum(1)
    total = cumulative[:, -1:]
    threshold = uniform * total
    # The clamps matter when rounding puts the threshold just beyond a sum.
    block = torch.searchsorted(cumulative, threshold, right=True).clamp_(max=sums.shape[1] - 1)
    columns = block * VOCABULARY_BLOCK + torch.arange(VOCABULARY_BLOCK, device=scores.device)
    inside = weights.gather(1, columns.clamp(max=vocabulary - 1)).double().cumsum(1)
    remainder = threshold - (cumulative - sums).gather(1, block)
    offset = torch.searchsorted(inside, remainder, right=True).clamp_(max=VOCABULARY_BLOCK - 1)
    sample = (block * VOCABULARY_BLOCK + offset).clamp_(max=vocabulary - 1)

    loss = (total.log() - target_score) / divisor
    scores.mul_((1 / (total * divisor)).float())
    scores.scatter_add_(1, target, (-1 / divisor).float())
    return loss.squeeze(1), sample.squeeze(1)
