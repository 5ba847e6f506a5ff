"""The difference of two arms over the same seeds and the same rows: its interval, verdict and sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from electralab.report.statistics.influence import Floats
from electralab.report.statistics.intervals import NORMAL_QUANTILE, student_quantile
from electralab.report.text import ABSENT


@dataclass(frozen=True)
class Difference:
    """Mean score `a` minus mean score `b` over `seeds` shared seeds, and over `rows` shared rows where there are any.

    `low` and `high` are None with one seed.
    """

    seeds: int
    rows: int | None
    a: float
    b: float
    low: float | None
    high: float | None

    @property
    def mean(self) -> float:
        """`a` minus `b`."""
        return self.a - self.b

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, `unclear` (the interval holds 0) or `unknown` (no interval)."""
        if self.low is None or self.high is None:
            return "unknown"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "unclear"

    def flipped(self) -> Difference:
        """`b` minus `a`."""
        low, high = (None if end is None else 0.0 - end for end in (self.high, self.low))
        return Difference(self.seeds, self.rows, self.b, self.a, low, high)


def half_widths(scores: Floats, influences: Floats) -> Floats:
    """Half-width of the 95 % interval of the difference of every two arms over shared seeds and rows.

    With d the differences of two arms, a row i and a seed s in each (two-way random effects),

        half² = (t · standard error over seeds)² + 1.96² · max(0, squared error over rows - squared error of the rest),

    where the error over rows is that of the differences averaged over seeds, and the rest is what neither seed nor row
    explains: the scatter over seeds has it already. Squares of half-widths add up, not variances, as in the modified
    large-sample interval of Graybill and Wang (1980): two degrees of freedom weigh as little as they should. The
    formula is exact where only seeds scatter and where only rows do. It is never narrower than the interval over rows
    alone: few seeds can agree by chance to the last row (tests/unit/report/statistics/test_differences_simulated.py).

    Args:
        scores: [arms, seeds].
        influences: of every row on every score (`influence.score_rows`), [arms, seeds, rows].

    Returns:
        [arms, arms], symmetric; NaN with fewer than two seeds or rows.
    """
    arms, seeds, rows = influences.shape
    if seeds < 2 or rows < 2:
        return np.full((arms, arms), math.nan)
    over_seeds = (scores[:, None] - scores[None]).var(axis=2, ddof=1) / seeds
    average = influences.mean(axis=1)
    rest = (influences - average[:, None]).reshape(arms, -1)
    over_rows = _squared_distances(average) / (rows * (rows - 1))
    unexplained = _squared_distances(rest) / (seeds * (seeds - 1) * rows * (rows - 1))
    shared = np.maximum(over_rows - unexplained, 0.0)
    squares = student_quantile(seeds - 1) ** 2 * over_seeds + NORMAL_QUANTILE**2 * shared
    return np.asarray(np.sqrt(np.maximum(squares, NORMAL_QUANTILE**2 * over_rows)))


def _squared_distances(points: Floats) -> Floats:
    """Between every two of [P, D]; [P, P]."""
    products = points @ points.T
    squares = products.diagonal()
    return np.asarray(np.maximum(squares[:, None] + squares[None] - 2 * products, 0.0))


def difference_over_seeds(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """A quantity without rows (a loss, an AUC) of two arms by seed: Student's t of the paired differences.

    Sizes of a sweep do not share one residual: where their scatter differs by a factor of 3, it covers 0 in 84 % of
    cases, and two or three seeds are too few to test whether it does.

    Returns:
        None without a common seed.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds:
        return None
    of_a, of_b = fmean(a[seed] for seed in seeds), fmean(b[seed] for seed in seeds)
    if len(seeds) == 1:
        return Difference(1, None, of_a, of_b, None, None)
    half = student_quantile(len(seeds) - 1) * stdev(a[seed] - b[seed] for seed in seeds) / math.sqrt(len(seeds))
    return Difference(len(seeds), None, of_a, of_b, of_a - of_b - half, of_a - of_b + half)


def difference_text(difference: Difference | None) -> str:
    """`-0.020 [-0.031, -0.009]`; one seed has no interval, and without a common seed there is a dash."""
    if difference is None:
        return ABSENT
    text = _signed(difference.mean)
    if difference.low is None or difference.high is None:
        return text
    return f"{text} [{_signed(difference.low)}, {_signed(difference.high)}]"


def _signed(value: float) -> str:
    """With its sign; what rounds to nothing is `+0.000`, never `-0.000`."""
    return f"{round(value, 3) + 0.0:+.3f}"
