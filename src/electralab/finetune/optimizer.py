"""Layerwise learning-rate decay, and the schedule that multiplies it.

Exponents of the decay d for an encoder of n layers (layer 0 is nearest to the input), by rule:

                                      paper      google_code    rc2020
    head                              0          0              0
    layer i                           n - i      n + 1 - i      n - 1 - i
    embeddings, embeddings_project    n + 1      n + 2          n - 1

The code of google-research/electra has one more factor of d below the head than the paper, an oversight that its
author explains in google-research/electra#51. cccwam/rc2020_electra gives the top layer the head's rate and the
embeddings that of the lowest layer.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, cast

import torch

from electralab.config import Training, WholeTraining
from electralab.finetune.trained_model import TrainedModel
from electralab.pretrain import optimizer as pretrain_optimizer
from electralab.speed.adamw import AdamW

ADAM_BETAS = (0.9, 0.999)  # ELECTRA paper, appendix B, table 7
CLIP_NORM = 1.0  # google-research/electra, `model/optimization.py`

Rule = Literal["paper", "google_code", "rc2020"]
# Parts that are new: they have the rate of the head.
NEW = ("head.", "to_teacher.")
TOP_LAYER: dict[Rule, int] = {"paper": 1, "google_code": 2, "rc2020": 0}


class _Adam(NamedTuple):
    """The settings that pretraining's optimizer reads; every group carries its own rate."""

    learning_rate: float
    adam_betas: tuple[float, float]
    adam_epsilon: float
    adam_bias_correction: bool


def decay_exponent(parameter: str, layers: int, rule: Rule) -> int:
    """Exponent of the decay for a parameter of `Classifier`, by its name."""
    if parameter.startswith(NEW):
        return 0
    layer = re.match(r"encoder\.layers\.(\d+)\.", parameter)
    if layer:
        return TOP_LAYER[rule] + layers - 1 - int(layer[1])
    return layers - 1 if rule == "rc2020" else TOP_LAYER[rule] + layers


def build_optimizer(model: TrainedModel, learning_rate: float, settings: Training) -> torch.optim.AdamW:
    """Fused AdamW over what is trained, one group per rate; LayerNorm and bias take no weight decay.

    Every group carries its rate and weight decay before the schedule under `rate` and `decay`. Only our own encoder has
    layerwise rates.
    """
    groups: dict[tuple[int, float], list[torch.nn.Parameter]] = {}
    layerwise_lr_decay = 1.0
    if isinstance(settings, WholeTraining):
        layerwise_lr_decay, rule = settings.layerwise_lr_decay, settings.layerwise_lr_decay_rule
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        exponent = 0
        if layerwise_lr_decay != 1 and model.encoder_layers is not None:
            exponent = decay_exponent(name, model.encoder_layers, rule)
        # Biases and LayerNorm weights are the one-dimensional parameters.
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((exponent, decay), []).append(parameter)
    parts = []
    for (exponent, decay), parameters in groups.items():
        rate = learning_rate * layerwise_lr_decay**exponent
        parts.append({"params": parameters, "lr": rate, "rate": rate, "weight_decay": decay, "decay": decay})
    return AdamW(parts, betas=ADAM_BETAS, eps=settings.adam_epsilon, fused=True)


def set_learning_rate(optimizer: torch.optim.AdamW, settings: Training, step: int, factor: float) -> None:
    """Set every group to its own rate times the schedule's factor at `step` (0-based), as pretraining does."""
    adam = _Adam(1.0, ADAM_BETAS, settings.adam_epsilon, settings.adam_bias_correction)
    pretrain_optimizer.set_learning_rate(optimizer, cast(Any, adam), step, factor)


def schedule_factor(
    schedule: Literal["linear", "warmup_times_decay"], step: int, steps: int, warmup_steps: int
) -> float:
    """Factor of the peak rate at `step` (0-based) of `steps`.

    `linear` rises from 0 to 1 over the warm-up, then falls to 0 (`get_linear_schedule_with_warmup` of transformers);
    `warmup_times_decay` falls from step 0 and multiplies the warm-up into it (google-research/electra,
    `model/optimization.py`).
    """
    rise = step / warmup_steps if step < warmup_steps else 1.0
    if schedule == "warmup_times_decay":
        return rise * (1 - step / steps)
    return rise if step < warmup_steps else (steps - step) / max(1, steps - warmup_steps)
