"""AdamW with ELECTRA's parameter groups, with or without bias correction."""

from __future__ import annotations

import math

import torch
from torch import nn

from electralab.config import Pretraining
from electralab.speed.adamw import AdamW


def build_optimizer(model: nn.Module, word_embeddings: nn.Parameter, settings: Pretraining) -> torch.optim.AdamW:
    """Fused AdamW; LayerNorm and bias are not decayed (google-research/electra, `model/optimization.py`).

    The word embeddings form a group of their own, because their rate may be a multiple of the others'.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter is not word_embeddings:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {
            "params": [word_embeddings],
            "weight_decay": settings.weight_decay,
            "rate": settings.embedding_learning_rate_multiplier,
        },
        {"params": decayed, "weight_decay": settings.weight_decay, "rate": 1.0},
        {"params": plain, "weight_decay": 0.0, "rate": 1.0},
    ]
    for group in groups:
        group["decay"] = group["weight_decay"]
    return AdamW(groups, lr=settings.learning_rate, betas=settings.adam_betas, eps=settings.adam_epsilon, fused=True)


def set_learning_rate(optimizer: torch.optim.AdamW, settings: Pretraining, step: int, factor: float) -> None:
    """Set the rate of `step` (0-based) in every group.

    Google's optimizer does not correct the moments' bias. With m, v the raw moments after t steps, torch computes
    lr' * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps'), which equals the uncorrected lr * m / (sqrt(v) + eps) for
    lr' = lr (1-b1^t) / sqrt(1-b2^t) and eps' = eps / sqrt(1-b2^t). The decay is rescaled to stay lr * decay.
    """
    scale, root = 1.0, 1.0
    if not settings.adam_bias_correction:
        beta1, beta2 = settings.adam_betas
        root = math.sqrt(1 - beta2 ** (step + 1))
        scale = (1 - beta1 ** (step + 1)) / root
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor * group["rate"] * scale
        group["eps"] = settings.adam_epsilon / root
        group["weight_decay"] = group["decay"] / scale
