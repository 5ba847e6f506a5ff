"""A score and the influence of every row on it: what a row more of that kind would add, times the number of rows.

Hampel (1974); the variance of a score over samples of N rows is that of its influence values over N. For accuracy the
influence of a row is whether it was right, minus the accuracy. The influence of a row on the difference of two scores
is the difference of its influences, so that pairing needs no formula of its own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electralab.errors import UserError

Floats = npt.NDArray[np.float64]
CORRELATIONS = ("pearson", "spearman")


class Scored(NamedTuple):
    """A score and the influence of every row on it, [N], of which the mean is 0."""

    score: float
    influence: Floats


def score_rows(metric: str, labels: Floats, predictions: Floats) -> Scored:
    """Score predictions, and say what every row contributes.

    Args:
        metric: `accuracy`, `f1`, `mcc`, `pearson` or `spearman`; as scikit-learn and scipy define them. `f1` is that of
            class 1 with two classes and the mean over the classes that occur with more. What a constant makes undefined
            is 0, without influence.
        labels: class numbers or scores, [N].
        predictions: [N].

    Raises:
        UserError: the metric is unknown.
    """
    match metric:
        case "accuracy":
            right = (labels == predictions).astype(np.float64)
            return Scored(float(right.mean()), right - right.mean())
        case "f1":
            return _f1(labels.astype(np.int64), predictions.astype(np.int64))
        case "mcc":
            return _matthews(labels.astype(np.int64), predictions.astype(np.int64))
        case "pearson":
            x, y = labels - labels.mean(), predictions - predictions.mean()
            return _correlation(x * y, x * x, y * y)
        case "spearman":
            return _spearman(labels, predictions)
    raise UserError(f"unknown metric {metric!r} in a run record; allowed: accuracy, f1, mcc, pearson, spearman")


def _f1(labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64]) -> Scored:
    classes = int(max(labels.max(), predictions.max(), 1)) + 1
    wanted = range(1, 2) if classes == 2 else range(classes)
    score, influence, occurring = 0.0, np.zeros(len(labels)), 0
    for number in wanted:
        true, said = labels == number, predictions == number
        share = float(true.mean() + said.mean())  # of labels and of predictions
        if share == 0:
            continue
        occurring += 1
        f1 = 2 * float((true & said).mean()) / share
        score += f1
        influence += (2 * (true & said) - f1 * (true.astype(np.float64) + said)) / share
    return Scored(score / max(occurring, 1), influence / max(occurring, 1))


def _matthews(labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64]) -> Scored:
    """Gorodkin's R_K (2004): a correlation of indicators of the classes, summed over them."""
    classes = np.arange(int(max(labels.max(), predictions.max())) + 1)
    x, y = ((values[:, None] == classes).astype(np.float64) for values in (labels, predictions))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return _correlation((x * y).sum(axis=1), (x * x).sum(axis=1), (y * y).sum(axis=1))


def _spearman(labels: Floats, predictions: Floats) -> Scored:
    """Pearson's correlation of average ranks; a row also moves the ranks of the others (Croux and Dehon 2010)."""
    x, y = _ranks(labels), _ranks(predictions)
    moved = _mean_above(labels, y) + _mean_above(predictions, x)
    return _correlation(x * y + moved, x * x + 2 * _mean_above(labels, x), y * y + 2 * _mean_above(predictions, y), 3)


def _correlation(xy: Floats, xx: Floats, yy: Floats, degree: int = 1) -> Scored:
    """The mean of `xy` over the root of the means of `xx` and `yy`.

    Args:
        xy: what a row contributes to the covariance, [N]; with its effect on the other rows, `degree` times too much.
        xx: to one variance.
        yy: to the other.
        degree: how often the mean of a contribution holds the quantity itself.
    """
    covariance, of_x, of_y = (float(part.mean()) / degree for part in (xy, xx, yy))
    if of_x * of_y < 1e-24:
        return Scored(0.0, np.zeros(len(xy)))
    score = covariance / math.sqrt(of_x * of_y)
    influence = (xy - degree * covariance) / math.sqrt(of_x * of_y)
    influence -= score / 2 * ((xx - degree * of_x) / of_x + (yy - degree * of_y) / of_y)
    return Scored(score, influence)


def _ranks(values: Floats) -> Floats:
    """Average ranks as shares of the rows, minus their mean, [N]."""
    return 0.5 - _mean_above(values, np.ones(len(values)))


def _mean_above(values: Floats, weights: Floats) -> Floats:
    """For every row the sum of the weights of rows with a larger value, half of those with the same, over N; [N]."""
    _, group = np.unique(values, return_inverse=True)
    of_group = np.bincount(group, weights)
    larger = of_group[::-1].cumsum()[::-1] - of_group
    return np.asarray((larger + of_group / 2)[group] / len(values))
