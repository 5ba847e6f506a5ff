"""A number over held-out documents and the influence of every document on it, as differences between models need it.

The influence of a document is what the number would change by if the document were there twice, times their number D
(Hampel 1974): its mean is 0, and its variance over D is that of the number. A bootstrap over documents comes to the
same interval. Documents are what is sampled: tokens and windows of one document are no independent draws.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Documents = npt.NDArray[np.int64]
NORMAL_QUANTILE = NormalDist().inv_cdf(0.975)  # of a 95 % interval


class Measured(NamedTuple):
    """A number, the documents, [D], and the influence of each on the number, [D]."""

    value: float
    documents: Documents
    influence: Floats

    @property
    def half_width(self) -> float | None:
        """Of the 95 % interval over documents; one document has none."""
        count = len(self.documents)
        return NORMAL_QUANTILE * float(self.influence.std(ddof=1)) / math.sqrt(count) if count > 1 else None


def mean_of(values: Floats, documents: Documents) -> Measured:
    """The mean of token-wise values [T], with the document of each [T]."""
    mean = float(values.mean())
    return _measured(mean, (values - mean) / len(values), documents)


def area_under_curve(scores: Floats, positive: npt.NDArray[np.bool_], documents: Documents) -> Measured:
    """Area under the ROC curve, ties counted half, with influences by placements (DeLong 1988, Obuchowski 1997).

    Args:
        scores: [T].
        positive: [T]; both kinds must be there.
        documents: [T], the document of each.
    """
    _, inverse = np.unique(scores, return_inverse=True)
    of_positive, of_negative = (
        np.bincount(inverse[which], minlength=inverse.max() + 1) for which in (positive, ~positive)
    )
    below = (np.cumsum(of_negative) - of_negative / 2)[inverse] / of_negative.sum()
    above = 1 - (np.cumsum(of_positive) - of_positive / 2)[inverse] / of_positive.sum()
    area = float(below[positive].mean())
    shares = np.where(positive, (below - area) / of_positive.sum(), (above - area) / of_negative.sum())
    return _measured(area, shares, documents)


def _measured(value: float, shares: Floats, documents: Documents) -> Measured:
    """Sum what the tokens of a document add."""
    found, inverse = np.unique(documents, return_inverse=True)
    influence: Any = np.bincount(inverse, weights=shares) * len(found)
    return Measured(value, found, influence)
