"""How well replaced tokens are detected, in numbers that a majority guess cannot flatter.

About 90 % of the tokens are original, so accuracy says little (google-research/electra#49, #81). AUC, the loss
against the entropy of the base rate, and the recall at a threshold that flags as many tokens as were replaced do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def detection_metrics(logits: NDArray[np.float32], replaced: NDArray[np.bool_]) -> dict[str, float]:
    """Metrics of replaced-token detection over N real tokens.

    Args:
        logits: [N] log-odds that a token was replaced.
        replaced: [N] whether it was.
    """
    scores = logits.astype(np.float64)
    base_rate = float(replaced.mean())
    flagged = scores > 0
    loss = np.logaddexp(0.0, np.where(replaced, -scores, scores)).mean()
    at_base = _flag_share(scores, base_rate)
    recall = _share(flagged & replaced, replaced)
    recall_at_base = _share(at_base & replaced, replaced)
    return {
        "rtd_loss": float(loss),
        "rtd_accuracy": float((flagged == replaced).mean()),
        "rtd_auc": area_under_curve(scores, replaced),
        "rtd_precision": _share(flagged & replaced, flagged),
        "rtd_recall": recall,
        "rtd_balanced_accuracy": (recall + _share(~flagged & ~replaced, ~replaced)) / 2,
        "rtd_base_rate": base_rate,
        "rtd_base_entropy": entropy(base_rate),
        "rtd_recall_at_base_rate": recall_at_base,
        "rtd_balanced_accuracy_at_base_rate": (recall_at_base + _share(~at_base & ~replaced, ~replaced)) / 2,
    }


def area_under_curve(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic, ties counted half; NaN if a class is empty."""
    positives = int(positive.sum())
    negatives = positive.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    mean_rank = last_rank - (counts - 1) / 2
    rank_sum = mean_rank[inverse][positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def entropy(rate: float) -> float:
    """Entropy in nat of a coin with this rate: the loss of always answering the base rate."""
    if rate in (0.0, 1.0):
        return 0.0
    return float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))


def _flag_share(scores: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Flag the `share` of the tokens with the highest scores."""
    count = round(share * scores.size)
    flagged = np.zeros(scores.size, dtype=bool)
    if count:
        flagged[np.argpartition(-scores, count - 1)[:count]] = True
    return flagged


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else 0.0
