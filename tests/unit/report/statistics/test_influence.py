"""Scores and influence values against scikit-learn, scipy, and rows that are really weighted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from electralab.errors import UserError
from electralab.report.statistics.influence import score_rows

REFERENCE: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": metrics.accuracy_score,
    "f1": metrics.f1_score,
    "mcc": metrics.matthews_corrcoef,
    "pearson": lambda gold, given: stats.pearsonr(gold, given)[0],
    "spearman": lambda gold, given: stats.spearmanr(gold, given)[0],
}


def macro_f1(gold: Any, given: Any) -> float:
    return float(metrics.f1_score(gold, given, average="macro"))


def answered(metric: str, rows: int, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    if metric in ("pearson", "spearman"):
        gold = np.random.default_rng(0).integers(11, size=rows) / 2  # many ties, as in STS-B
        return gold, np.round(gold + generator.normal(size=rows), 1)
    gold = np.random.default_rng(0).integers(classes, size=rows)
    other = generator.integers(classes, size=rows)
    return gold.astype(float), np.where(generator.random(rows) < 0.4, gold, other).astype(float)


CASES = [*((metric, 2) for metric in REFERENCE), ("f1", 3), ("mcc", 3)]


@pytest.mark.parametrize(("metric", "classes"), CASES)
def test_scores_are_those_of_the_libraries(metric: str, classes: int) -> None:
    gold, given = answered(metric, 80, 1, classes)
    reference = macro_f1 if classes > 2 and metric == "f1" else REFERENCE[metric]
    assert score_rows(metric, gold, given).score == pytest.approx(reference(gold, given))


@pytest.mark.parametrize(("metric", "classes"), CASES)
def test_influence_is_what_a_repeated_row_adds(metric: str, classes: int) -> None:
    """All rows a thousand times and one row once more: the score moves by the influence of that row over all rows."""
    gold, given = answered(metric, 30, 1, classes)
    reference = macro_f1 if classes > 2 and metric == "f1" else REFERENCE[metric]
    found, times = score_rows(metric, gold, given), 1000
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)
    for row in range(30):
        repeats = np.full(30, times)
        repeats[row] += 1
        moved = reference(np.repeat(gold, repeats), np.repeat(given, repeats)) - found.score
        assert moved * 30 * times == pytest.approx(found.influence[row], rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("metric", REFERENCE)
def test_error_of_a_difference_is_that_of_scipys_paired_bootstrap(metric: str) -> None:
    gold, worse = answered(metric, 300, 3)
    better = np.where(np.random.default_rng(4).random(300) < 0.3, gold, worse)
    gain = score_rows(metric, gold, better).influence - score_rows(metric, gold, worse).influence

    def statistic(gold: Any, better: Any, worse: Any) -> float:
        return score_rows(metric, gold, better).score - score_rows(metric, gold, worse).score

    resampled = stats.bootstrap(
        (gold, better, worse),
        statistic,
        paired=True,
        vectorized=False,
        n_resamples=800,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    assert gain.std(ddof=1) / np.sqrt(300) == pytest.approx(resampled.standard_error, rel=0.1)


@pytest.mark.parametrize("metric", ["mcc", "pearson", "spearman"])
def test_constant_answers_score_zero_without_influence(metric: str) -> None:
    gold, _ = answered(metric, 50, 0)
    found = score_rows(metric, gold, np.full(50, 1.0))
    assert found.score == 0 and (found.influence == 0).all()


def test_f1_of_a_class_that_does_not_occur_is_zero() -> None:
    found = score_rows("f1", np.zeros(9), np.zeros(9))
    assert found.score == 0 and (found.influence == 0).all()


def test_unknown_metric() -> None:
    with pytest.raises(UserError, match="unknown metric 'bleu'"):
        score_rows("bleu", np.zeros(3), np.zeros(3))
