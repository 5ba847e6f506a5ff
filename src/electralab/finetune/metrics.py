"""Scores of a classifier, with what a reader needs in order to judge them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def classification_metrics(
    labels: npt.NDArray[np.int64], log_probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    """Quality on one split; `labels` is [N], `log_probabilities` is [N, classes].

    `f1` is that of class 1 with two classes (GLUE) and the macro average with more. `majority_rate` is the accuracy
    of always answering the split's most frequent label. `majority_class` is 1 when every prediction is the same
    class: such a run has learnt nothing, and a mean must not hide it.
    """
    from sklearn.metrics import f1_score, matthews_corrcoef

    predictions = log_probabilities.argmax(axis=1)
    classes = log_probabilities.shape[1]
    accuracy = float((predictions == labels).mean())
    return {
        "accuracy": accuracy,
        "majority_rate": float(np.bincount(labels).max() / len(labels)),
        "majority_class": float(len(np.unique(predictions)) == 1),
        "f1": float(f1_score(labels, predictions, average="binary" if classes == 2 else "macro", zero_division=0)),
        "mcc": float(matthews_corrcoef(labels, predictions)),
        "loss": mean_loss(labels, log_probabilities),
    }


def mean_loss(labels: npt.NDArray[np.int64], log_probabilities: npt.NDArray[np.floating]) -> float:
    """Cross-entropy in nats."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
