"""When sparsity grows, and how fast."""

from __future__ import annotations

import math

from electralab.config import PruneAsYouTune, PruneFull
from electralab.errors import Unsuitable


def prunings(settings: PruneAsYouTune | PruneFull, steps: int) -> dict[int, float]:
    """The sparsity after every step at which weights are pruned (0: before training); the last is the target.

    `agp`: s * (1 - (1 - p)^3) with the progress p between the first pruning and the last (Zhu and Gupta 2017);
    `linear`: s * p. Sparsities are of all weights, never of those that are left, so nothing adds up rounding.

    Raises:
        Unsuitable: the steps that are there leave no room for a pruning.
    """
    if not settings.sparsity:
        return {}
    if settings.growth == "once":
        return {0: settings.sparsity}
    when = _when(settings, steps)
    found = {}
    for number, step in enumerate(when, start=1):
        progress = number / len(when)
        share = 1 - (1 - progress) ** 3 if settings.growth == "agp" else progress
        found[step] = settings.sparsity * share
    found[when[-1]] = settings.sparsity
    return found


def _when(settings: PruneAsYouTune | PruneFull, steps: int) -> list[int]:
    first, last = math.floor(settings.prune_from * steps), math.floor(settings.prune_until * steps)
    epoch, between = steps // settings.epochs, settings.epochs_between
    if settings.prune_every == "epoch_start":  # the epoch that `prune_from` falls into is the first, as published
        every, first = between * epoch, math.floor(settings.prune_from * settings.epochs) * epoch
        when = [step for step in range(first, steps, every) if step <= last]
    else:
        every = between * epoch if settings.prune_every == "epoch" else settings.prune_every
        when = [step for step in range(every, steps + 1, every) if first < step <= last]
    if not when:
        raise Unsuitable(
            f"no pruning falls between steps {first} and {last} of {steps}, one every {every}: lower prune_every or "
            "raise prune_until"
        )
    return when
