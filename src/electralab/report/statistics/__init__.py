"""What a few seeds and a finite validation set allow one to say: docs/methods.md, section Statistics.

Pages that still have an arithmetic of their own use what stands here; it goes with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from electralab.report.statistics.intervals import NORMAL_QUANTILE, Summary, student_quantile, wilson_interval

__all__ = ["Summary", "student_quantile", "wilson_interval"]


@dataclass(frozen=True)
class Spread:
    """A seed standard deviation and its degrees of freedom."""

    deviation: float
    freedom: int


def pooled_spread(groups: Sequence[Sequence[float]]) -> Spread | None:
    """The standard deviation within groups of runs, pooled over the groups (one-way analysis of variance).

    Two seeds alone have one degree of freedom: their interval is 12.7 standard errors to either side. The sizes of
    a sweep are therefore assumed to scatter alike and estimate their scatter together.

    Returns:
        None when no group has two values.
    """
    freedom = sum(max(0, len(group) - 1) for group in groups)
    if freedom == 0:
        return None
    squares = sum((len(group) - 1) * stdev(group) ** 2 for group in groups if len(group) > 1)
    return Spread(math.sqrt(squares / freedom), freedom)


def summarize(values: Sequence[float], spread: Spread | None = None) -> Summary:
    """Mean, median and Student t interval of the mean over seeds.

    Args:
        values: one per seed, at least one.
        spread: the seed scatter to use; the values' own when not given. One value never gets an interval.
    """
    mean = fmean(values)
    low = high = None
    if len(values) > 1:
        spread = spread or Spread(stdev(values), len(values) - 1)
        half = student_quantile(spread.freedom) * spread.deviation / math.sqrt(len(values))
        low, high = mean - half, mean + half
    return Summary(len(values), mean, median(values), min(values), max(values), low, high)


@dataclass(frozen=True)
class Difference:
    """A - B over shared seeds; `low` and `high` are None with fewer than two."""

    n: int
    mean: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, `unclear` (the interval holds 0) or `unknown` (no interval)."""
        if self.low is None or self.high is None:
            return "unknown"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "unclear"


def score_difference(a: Mapping[int, float], b: Mapping[int, float], rows: int | None) -> Difference | None:
    """Difference of two scores, paired by seed, with a 95 % interval over seeds and, for accuracies, over examples.

    The seed part is Student's t of the paired differences. The example part takes the two arms as independent
    draws of `rows` examples: an upper bound, since both answer the same examples. The two parts are independent
    and add in squares.

    Args:
        a: score by seed.
        b: score by seed of the arm it is compared with.
        rows: validation examples behind an accuracy; None for other metrics, whose interval is over seeds alone.

    Returns:
        None without a common seed.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds:
        return None
    differences = [a[seed] - b[seed] for seed in seeds]
    mean = fmean(differences)
    if len(seeds) == 1:
        return Difference(1, mean, None, None)
    over_seeds = student_quantile(len(seeds) - 1) * stdev(differences) / math.sqrt(len(seeds))
    if rows is None:
        return Difference(len(seeds), mean, mean - over_seeds, mean + over_seeds)
    p, q = fmean(a[seed] for seed in seeds), fmean(b[seed] for seed in seeds)
    over_examples = NORMAL_QUANTILE * math.sqrt((p * (1 - p) + q * (1 - q)) / rows)
    half = math.hypot(over_seeds, over_examples)
    return Difference(len(seeds), mean, mean - half, mean + half)


def intervals(summaries: Mapping[str, Summary]) -> dict[str, tuple[float, float]]:
    """Those summaries that have an interval."""
    return {name: (s.low, s.high) for name, s in summaries.items() if s.low is not None and s.high is not None}


def indistinguishable(intervals: Mapping[str, tuple[float, float]]) -> list[list[str]]:
    """Largest groups of names whose intervals all overlap one another, in the order of the mapping."""
    groups: list[set[str]] = []
    for low, _ in intervals.values():
        # Intervals that overlap pairwise share a point, and that point can be the left end of one of them.
        groups.append({name for name, (start, end) in intervals.items() if start <= low <= end})
    largest = [group for group in groups if len(group) > 1 and not any(group < other for other in groups)]
    unique = {frozenset(group) for group in largest}
    order = list(intervals)
    return sorted((sorted(group, key=order.index) for group in unique), key=lambda group: order.index(group[0]))
