"""Scores of a classifier, with what a reader needs in order to judge them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Z95 = 1.959963984540054  # 97.5 % point of the normal distribution


def classification_metrics(
    labels: npt.NDArray[np.int64], log_probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    """Quality on one split; `labels` is [N], `log_probabilities` is [N, classes].

    `f1` is that of class 1 with two classes (GLUE) and the macro average with more. `majority_rate` is the accuracy
    of always answering the split's most frequent label. `majority_class` is 1 when every prediction is the same
    class: such a run has learnt nothing, and a mean must not hide it. The accuracy has its standard error and a
    95 % interval (Wilson 1927) over rows; the spread over seeds is another matter.
    """
    from sklearn.metrics import f1_score, matthews_corrcoef

    predictions = log_probabilities.argmax(axis=1)
    classes = log_probabilities.shape[1]
    accuracy = float((predictions == labels).mean())
    low, high = wilson_interval(accuracy, len(labels))
    return {
        "accuracy": accuracy,
        "accuracy_standard_error": math.sqrt(accuracy * (1 - accuracy) / len(labels)),
        "accuracy_low": low,
        "accuracy_high": high,
        "majority_rate": float(np.bincount(labels).max() / len(labels)),
        "majority_class": float(len(np.unique(predictions)) == 1),
        "f1": float(f1_score(labels, predictions, average="binary" if classes == 2 else "macro", zero_division=0)),
        "mcc": float(matthews_corrcoef(labels, predictions)),
        "loss": mean_loss(labels, log_probabilities),
    }


def mean_loss(labels: npt.NDArray[np.int64], log_probabilities: npt.NDArray[np.floating]) -> float:
    """Cross-entropy in nats."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def wilson_interval(rate: float, rows: int) -> tuple[float, float]:
    """95 % score interval of a proportion `rate` seen on `rows` independent rows (Wilson 1927)."""
    weight = Z95**2 / rows
    centre = (rate + weight / 2) / (1 + weight)
    half = Z95 / (1 + weight) * math.sqrt(rate * (1 - rate) / rows + weight / (4 * rows))
    return max(0.0, centre - half), min(1.0, centre + half)
