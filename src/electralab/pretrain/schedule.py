"""Learning-rate schedules, as factors of the peak rate."""

from __future__ import annotations

from electralab.config import Pretraining

FLAT_UNTIL = 0.6
FLOOR = 0.02


def learning_rate_factor(settings: Pretraining, step: int) -> float:
    """Factor of the peak learning rate at `step` (0-based) of `settings.steps`.

    `linear` rises to 1 over the warm-up steps and falls to 0 (ELECTRA paper, appendix A). `warmup_times_decay`
    multiplies the warm-up into a decay that runs from step 0 (google-research/electra, `model/optimization.py`).
    `flat_then_linear` stays at 1 until 60 % of the steps and falls to 2 %.
    """
    total, warmup = settings.steps, settings.warmup_steps
    if settings.schedule == "warmup_times_decay":
        rise = min(1.0, step / warmup) if warmup else 1.0
        return rise * (1.0 - step / total)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "linear":
        return (total - step) / max(1, total - warmup)
    flat_end = max(warmup, int(FLAT_UNTIL * total))
    if step < flat_end:
        return 1.0
    return 1.0 - (1.0 - FLOOR) * (step - flat_end) / max(1, total - flat_end)
