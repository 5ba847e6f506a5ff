"""When sparsity grows, and how fast."""

from __future__ import annotations

import math

from electralab.config import PruneAsYouTune


def prunings(settings: PruneAsYouTune, steps: int) -> dict[int, float]:
    """The sparsity after every step (from 1) at which weights are pruned; the last is the target, to the digit.

    `agp`: s * (1 - (1 - p)^3) with the progress p between the first pruning and the last (Zhu and Gupta 2017);
    `linear`: s * p. Sparsities are of all weights, never of those that are left, so nothing adds up rounding.

    Raises:
        ValueError: the steps that are there leave no room for a pruning.
    """
    first, last = math.floor(settings.prune_from * steps), math.floor(settings.prune_until * steps)
    every = steps // settings.epochs if settings.prune_every == "epoch" else settings.prune_every
    when = [step for step in range(every, steps + 1, every) if first < step <= last]
    if not when:
        raise ValueError(
            f"no pruning falls between steps {first} and {last} of {steps}, one every {every}: lower prune_every or "
            "raise prune_until"
        )
    found = {}
    for number, step in enumerate(when, start=1):
        progress = number / len(when)
        share = 1 - (1 - progress) ** 3 if settings.growth == "agp" else progress
        found[step] = settings.sparsity * share
    found[when[-1]] = settings.sparsity
    return found
