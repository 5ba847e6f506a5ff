"""How much faster one variant is than another: the median over rounds of the ratio within a round."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
RESAMPLES = 2000
SEED = 0


class Ratio(NamedTuple):
    """A median, and its 95 % interval."""

    median: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval, as a share of the median."""
        return (self.high - self.low) / 2 / self.median


def ratio(baseline: Floats, variant: Floats) -> Ratio:
    """Baseline over variant, above 1 where the variant is faster; from [rounds] seconds of the same rounds."""
    return with_interval(baseline / variant)


def with_interval(values: Floats, quantile: float = 0.5) -> Ratio:
    """A quantile of independent values, with its percentile bootstrap interval."""
    drawn = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
    found = np.quantile(values[drawn], quantile, axis=1)
    low, high = np.quantile(found, [0.025, 0.975])
    return Ratio(float(np.quantile(values, quantile)), float(low), float(high))
