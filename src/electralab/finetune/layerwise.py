"""Layerwise learning-rate decay, and the schedule that multiplies it.

Exponents of the decay d for an encoder of n layers (layer 0 is nearest to the input):

    head                              d^0
    layer i                           d^(n - i)    so the top layer has d^1 and the lowest d^n
    embeddings, embeddings_project    d^(n + 1)

This is the paper's rule. The code of google-research/electra has one more factor of d below the head, an oversight
that its author explains in google-research/electra#51.
"""

from __future__ import annotations

import re

import torch

from electralab.finetune.classifier import Classifier

# The paper's Adam (appendix B, table 7) and Google's clipping (`model/optimization.py`).
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-6
CLIP_NORM = 1.0


def decay_exponent(parameter: str, layers: int) -> int:
    """Exponent of the decay for a parameter of `Classifier`, by its name."""
    if parameter.startswith("head."):
        return 0
    layer = re.match(r"encoder\.layers\.(\d+)\.", parameter)
    return layers - int(layer[1]) if layer else layers + 1


def build_optimizer(
    classifier: Classifier, learning_rate: float, layerwise_lr_decay: float, weight_decay: float
) -> torch.optim.AdamW:
    """Fused AdamW with one group per rate; LayerNorm and bias take no weight decay.

    Every group carries its rate before the schedule under `peak`.
    """
    groups: dict[tuple[int, float], list[torch.nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        exponent = decay_exponent(name, len(classifier.encoder.layers))
        # Biases and LayerNorm weights are the one-dimensional parameters.
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((exponent, decay), []).append(parameter)
    parts = []
    for (exponent, decay), parameters in groups.items():
        rate = learning_rate * layerwise_lr_decay**exponent
        parts.append({"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay})
    return torch.optim.AdamW(parts, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)


def set_learning_rate(optimizer: torch.optim.AdamW, factor: float) -> None:
    """Set every group to its peak rate times the factor of the schedule."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def linear_schedule(step: int, steps: int, warmup_steps: int) -> float:
    """Factor of the peak rate at `step` (0-based): from 0 up to 1 over the warm-up, then down to 0 at `steps`."""
    if step < warmup_steps:
        return step / warmup_steps
    return (steps - step) / max(1, steps - warmup_steps)
