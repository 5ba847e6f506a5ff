"""One-shot pruning in which the weights that stay make up for those that go (Frantar and Alistarh 2023).

For inputs x of a layer and H = mean(x x^T), the rows of a weight W are pruned column by column. Setting w_j to zero
costs w_j^2 / [H^-1]_jj, and the columns behind take over -w_j [H^-1]_j,: / [H^-1]_jj. With the upper Cholesky factor U
of H^-1 both are read from row j of U; which weights go is chosen anew for every block of columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from electralab.config import Pruning
from electralab.methods.pruning.masks import two_of_four

DAMPING = 0.01  # of the mean of H's diagonal, so that inputs that never vary have an inverse
BLOCK = 128  # columns


def sparsegpt(weight: Tensor, moments: Tensor, settings: Pruning) -> tuple[Tensor, Tensor]:
    """The pruned weight and its mask, [out, in] each.

    Args:
        weight: [out, in].
        moments: H, [in, in].
        settings: sparsity, or 2:4. The share is exact in every block but for rounding.
    """
    pruned, inputs = weight.detach().float().clone(), weight.shape[1]
    upper = _inverse_factor(moments.float())
    mask = torch.ones_like(pruned, dtype=torch.bool)
    gone = 0
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        block, errors = pruned[:, start:stop].clone(), torch.zeros(len(pruned), stop - start)
        factor = upper[start:stop, start:stop]
        chosen = settings.structure != "2:4"
        kept = torch.ones_like(block, dtype=torch.bool)
        if chosen:
            wanted = round(settings.sparsity * len(pruned) * stop) - gone  # of all columns so far
            scores = (block / factor.diagonal()).square()
            kept.view(-1)[scores.flatten().argsort(stable=True)[:wanted]] = False
            gone += wanted
        for column in range(stop - start):
            if not chosen and column % 4 == 0:
                four = slice(column, column + 4)
                kept[:, four] = two_of_four((block[:, four] / factor.diagonal()[four]).square())
            left = torch.where(kept[:, column], block[:, column], 0.0)
            errors[:, column] = (block[:, column] - left) / factor[column, column]
            block[:, column:] -= errors[:, column, None] * factor[column, column:]
            block[:, column] = left
        pruned[:, start:stop], mask[:, start:stop] = block, kept
        pruned[:, stop:] -= errors @ upper[start:stop, stop:]
    return (pruned * mask).to(weight.dtype), mask


def _inverse_factor(moments: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of damped moments."""
    damping = DAMPING * moments.diagonal().mean().clamp(min=1e-12)
    lower = torch.linalg.cholesky(moments + damping * torch.eye(len(moments)))
    factor: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    return factor
