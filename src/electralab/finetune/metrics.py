"""Scores of a task's predictions, with what a reader needs in order to judge them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONSTANT_SHARE = 1e-3  # predictions spread over less than this share of the score range count as one number


def task_metrics(
    names: Sequence[str], labels: npt.NDArray[np.generic], answers: Floats, score_range: tuple[float, float] | None
) -> dict[str, float]:
    """Quality on one split.

    Args:
        names: the task's metrics, of which the first is its `score`.
        labels: [N] class numbers, or scores of a regression.
        answers: [N, classes] log-probabilities, or [N] predicted scores of a regression.
        score_range: lowest and highest score of a regression; None for classes.

    Returns:
        `score` and `degenerate`, which is 1 when every prediction is the same: such a run has learnt nothing, and a
        mean must not hide it. With classes also `accuracy`, `f1`, `f1_weighted`, `mcc`, `majority_rate` (the accuracy
        of always answering the split's most frequent label) and `loss` (cross-entropy in nats); of a regression
        `pearson`, `spearman` and `loss` (mean squared error). A correlation that is not defined is 0 and degenerate,
        never NaN.
    """
    if score_range is None:
        metrics = classification_metrics(labels.astype(np.int64), answers)
    else:
        metrics = regression_metrics(labels.astype(np.float64), answers, score_range)
    return {"score": metrics[names[0]], **metrics}


def classification_metrics(labels: npt.NDArray[np.int64], log_probabilities: Floats) -> dict[str, float]:
    """Every metric of class numbers [N] and log-probabilities [N, classes].

    `f1` is that of class 1 with two classes (GLUE) and with more the mean over the classes that occur among labels or
    predictions; `f1_weighted` weighs classes by their rows. A rate of nothing, and an `mcc` (Gorodkin's R_K) that is
    not defined, are 0. From the confusion matrix, since importing scikit-learn costs as much as importing PyTorch;
    scikit-learn gives the same numbers (tests/unit/test_finetune_metrics.py).
    """
    total, classes = log_probabilities.shape
    predictions = log_probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
    hits, true, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * hits / np.maximum(true + said, 1)
    occurring = true + said > 0
    chance = true @ said
    spread = math.sqrt(total**2 - true @ true) * math.sqrt(total**2 - said @ said)
    return {
        "accuracy": float(hits.sum() / total),
        "majority_rate": float(true.max() / total),
        "degenerate": float((said > 0).sum() == 1),
        "f1": float(f1[1] if classes == 2 else f1[occurring].mean()),
        "f1_weighted": float(f1 @ true / total),
        "mcc": float((hits.sum() * total - chance) / spread) if spread else 0.0,
        "loss": float(-log_probabilities[np.arange(total), labels].mean()),
    }


def regression_metrics(labels: Floats, predictions: Floats, score_range: tuple[float, float]) -> dict[str, float]:
    """Every metric of scores [N] and predicted scores [N]."""
    from scipy.stats import pearsonr, spearmanr

    low, high = score_range
    correlations = {"pearson": math.nan, "spearman": math.nan}
    if len(labels) > 1:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # constant input, which is reported as degenerate
            correlations = {
                "pearson": float(pearsonr(labels, predictions).statistic),
                "spearman": float(spearmanr(labels, predictions).statistic),
            }
    defined = all(map(math.isfinite, correlations.values()))
    constant = np.ptp(predictions) < CONSTANT_SHARE * (high - low)
    return {
        **{name: value if math.isfinite(value) else 0.0 for name, value in correlations.items()},
        "degenerate": float(constant or not defined),
        "loss": float(np.square(labels - predictions).mean()),
    }
