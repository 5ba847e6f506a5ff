"""The interval beside a mean over seeds, and that of one accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
NORMAL_QUANTILE = float(ndtri((1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class Summary:
    """Values of one quantity over seeds; `low` and `high` are None where no interval can be given."""

    n: int
    mean: float
    median: float
    minimum: float
    maximum: float
    low: float | None
    high: float | None


def summarize(values: Sequence[float]) -> Summary:
    """Mean, median and Student t interval of the mean over seeds.

    Every arm has its own scatter: sizes of a sweep differ in it by a factor of 10, and one pooled over them is much too
    narrow for the restless size.

    Args:
        values: one per seed, at least one. One value never gets an interval.
    """
    mean = fmean(values)
    low = high = None
    if len(values) > 1:
        half = student_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
        low, high = mean - half, mean + half
    return Summary(len(values), mean, median(values), min(values), max(values), low, high)


def student_quantile(freedom: int) -> float:
    """Half-width of the 95 % Student t interval in standard errors."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def wilson_interval(accuracy: float, rows: int) -> tuple[float, float]:
    """95 % interval of one accuracy measured on `rows` examples (Wilson 1927)."""
    z = NORMAL_QUANTILE
    centre = (accuracy + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(accuracy * (1 - accuracy) / rows + z * z / (4 * rows * rows))
    return centre - half, centre + half
