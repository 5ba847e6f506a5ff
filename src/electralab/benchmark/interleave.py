"""Turns: everything that a table compares runs one after another, in an order drawn anew every round.

A neighbour, a clock or a position that slows a round down slows all of it, and the ratio within the round stays. With a
fixed order a variant always runs behind the same other, whose caches and spinning threads it inherits: the same model
under two names then differed by 4 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from electralab.benchmark.ratios import ratio

TURN_SECONDS = 0.02  # a turn repeats a short workload until it is this long
MOST_TIMES = 50
PAUSE = 0.003  # between turns, until the threads of the last one no longer spin


class Limits(NamedTuple):
    """When to stop: after `least` rounds as soon as every interval is narrow, or after `most`, or at the time limit."""

    least: int
    most: int
    narrow: float  # half-width of a ratio's interval, as a share of the ratio
    seconds: float


class Turn(NamedTuple):
    """What one variant took in one round."""

    round: int
    place: int  # in the round's order
    wall: list[float]  # seconds of every repetition
    cpu: list[float]


Turns = dict[str, list[Turn]]
Run = Callable[[str, int], tuple[list[float], list[float]]]


def interleave(
    names: Sequence[str], run: Run, limits: Limits, seed: int, clock: Callable[[], float] = time.monotonic
) -> Turns:
    """Hand out turns to variants until their ratios to the first one are known well enough.

    Args:
        names: of the variants; the first is the baseline. A variant that raises ends the comparison.
        run: runs a variant so many times: seconds of wall and of CPU time of each.
        limits: when to stop.
        seed: of the orders.
        clock: seconds.
    """
    generator, started = np.random.default_rng(seed), clock()
    times = {name: _times(min(run(name, 2)[0])) for name in names}
    turns: Turns = {name: [] for name in names}
    for round_ in range(limits.most):
        for place, index in enumerate(generator.permutation(len(names))):
            name = names[index]
            turns[name].append(Turn(round_, place, *run(name, times[name])))
            time.sleep(PAUSE)
        done = round_ + 1
        if done >= limits.least and (_narrow(turns, names, limits.narrow) or clock() - started > limits.seconds):
            break
    return turns


def round_seconds(turns: Sequence[Turn]) -> np.ndarray:
    """Of a variant, the median repetition of every round, [rounds]."""
    return np.array([np.median(turn.wall) for turn in turns])


def _times(seconds: float) -> int:
    return max(1, min(MOST_TIMES, round(TURN_SECONDS / max(seconds, 1e-6))))


def _narrow(turns: Turns, names: Sequence[str], half_width: float) -> bool:
    baseline = round_seconds(turns[names[0]])
    return all(ratio(baseline, round_seconds(turns[name])).half_width <= half_width for name in names[1:])
