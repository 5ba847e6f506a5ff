"""The paired bootstrap against scikit-learn, scipy and scipy's own bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_experiment import Builder, collected
from scipy import stats
from sklearn import metrics

from electralab.errors import UserError
from electralab.report.comparisons import RESAMPLES, difference, resampled_scores

REFERENCE: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": metrics.accuracy_score,
    "mcc": metrics.matthews_corrcoef,
    "pearson": lambda gold, given: stats.pearsonr(gold, given)[0],
    "spearman": lambda gold, given: stats.spearmanr(gold, given)[0],
}


def classified(rows: int, classes: int, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    gold = generator.integers(classes, size=rows)
    return gold, np.where(generator.random(rows) < right, gold, generator.integers(classes, size=rows))


def rated(rows: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    gold = np.random.default_rng(0).integers(11, size=rows) / 2  # many ties, as in STS-B
    return gold, np.round(gold + noise * generator.normal(size=rows), 1)


@pytest.mark.parametrize("metric", REFERENCE)
@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_the_libraries(metric: str, classes: int) -> None:
    gold, given = rated(60, 1.0, 1) if metric in ("pearson", "spearman") else classified(60, classes, 0.5, 1)
    scores = resampled_scores(metric, gold, given[None], 50)[0]
    assert scores.shape == (51,)
    assert scores[0] == pytest.approx(REFERENCE[metric](gold, given))


@pytest.mark.parametrize("classes", [2, 3])
def test_f1_is_of_class_1_or_the_macro_average(classes: int) -> None:
    gold, given = classified(60, classes, 0.4, 2)
    expected = metrics.f1_score(gold, given, average="binary" if classes == 2 else "macro")
    assert resampled_scores("f1", gold, given[None], 1)[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("metric", [*REFERENCE, "f1"])
def test_every_resample_is_scored_as_if_its_rows_were_written_out(metric: str) -> None:
    gold, given = rated(40, 1.0, 1) if metric in ("pearson", "spearman") else classified(40, 2, 0.6, 1)
    scores = resampled_scores(metric, gold, given[None], 20)[0]
    # An example's share of a resample, recovered from accuracies of answers that are right on that example alone.
    alone = resampled_scores("accuracy", np.ones(40), np.eye(40), 20)[:, 1:]
    counts = np.rint(alone * 40).astype(int)
    assert (counts.sum(axis=0) == 40).all()
    reference = REFERENCE.get(metric, metrics.f1_score)
    for resample in range(20):
        rows = np.repeat(np.arange(40), counts[:, resample])
        assert scores[1 + resample] == pytest.approx(reference(gold[rows], given[rows]))


def test_constant_answers_score_zero_where_the_metric_is_undefined() -> None:
    gold, _ = classified(50, 2, 1.0, 0)
    for metric in ("mcc", "pearson", "spearman"):
        assert (resampled_scores(metric, gold, np.zeros((1, 50)), 30) == 0).all()


@pytest.mark.parametrize("metric", ["accuracy", "spearman"])
def test_interval_is_that_of_scipys_paired_bootstrap(metric: str) -> None:
    make: Any = rated if metric == "spearman" else lambda rows, right, seed: classified(rows, 2, right, seed)
    gold, worse = make(300, 1.5 if metric == "spearman" else 0.4, 3)
    better = np.where(np.random.default_rng(4).random(300) < 0.3, gold, worse)
    a, b = resampled_scores(metric, gold, np.array([better, worse]))
    found = difference(a, b)
    reference = REFERENCE[metric]

    def statistic(gold: Any, better: Any, worse: Any) -> float:
        return reference(gold, better) - reference(gold, worse)

    interval = stats.bootstrap(
        (gold, better, worse),
        statistic,
        paired=True,
        vectorized=False,
        n_resamples=1500,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert found.difference == pytest.approx(statistic(gold, better, worse))
    width = interval.high - interval.low
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.12 * width)


def test_equal_models_are_better_in_half_of_the_resamples() -> None:
    gold, given = classified(100, 2, 0.7, 1)
    a, b = resampled_scores("accuracy", gold, np.array([given, given]))
    assert difference(a, b) == (0, 0, 0, 0.5)


def test_interval_of_one_accuracy_has_the_binomial_spread() -> None:
    gold, given = classified(1000, 2, 0.6, 1)
    scores = resampled_scores("accuracy", gold, given[None])[0]
    assert len(scores) == 1 + RESAMPLES
    expected = np.sqrt(scores[0] * (1 - scores[0]) / 1000)
    assert scores[1:].std() == pytest.approx(expected, rel=0.08)


def compared(builder: Builder) -> pd.DataFrame:
    return pd.read_csv(collected(builder).folder / "comparisons.csv")


def answers(gold: np.ndarray, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return gold, np.where(np.random.default_rng(seed).random(len(gold)) < right, gold, 1 - gold)


@pytest.fixture
def gold() -> np.ndarray:
    return np.random.default_rng(0).integers(2, size=400)


def test_pairs_are_compared_over_common_seeds(tmp_path: Path, gold: np.ndarray) -> None:
    builder = Builder(tmp_path / "artifacts")
    for seed in (0, 1, 2):
        builder.finetune("tiny-g25", "boolq", seed, 0.8, predictions=answers(gold, 0.9, seed))
        builder.finetune("tiny_random", "boolq", seed, 0.6, untrained=True, predictions=answers(gold, 0.6, 9 + seed))
    builder.finetune("tiny-g50", "boolq", 1, 0.8, predictions=answers(gold, 0.9, 7))
    frame = compared(builder).set_index(["model_a", "model_b"])
    assert set(frame.index) == {("tiny-g25", "tiny_random"), ("tiny-g25", "tiny-g50"), ("tiny_random", "tiny-g50")}
    row = frame.loc[("tiny-g25", "tiny_random")]
    expected = [
        np.mean([(answers(gold, r, s)[1] == gold).mean() for s in range(f, f + 3)]) for r, f in ((0.9, 0), (0.6, 9))
    ]
    assert (row["score_a"], row["score_b"]) == pytest.approx(tuple(expected))
    assert (row["seeds"], row["examples"], row["share_a_better"]) == (3, 400, 1)
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert frame.loc[("tiny-g25", "tiny-g50"), "seeds"] == 1


def test_what_is_not_compared(tmp_path: Path, gold: np.ndarray) -> None:
    builder = Builder(tmp_path / "artifacts")
    given = answers(gold, 0.7, 0)
    builder.finetune("tiny_random", "boolq", 0, 0.6, untrained=True, predictions=given)
    builder.finetune("other_random", "boolq", 0, 0.6, untrained=True, predictions=given)
    builder.finetune("tiny-g25", "boolq", 1, 0.6, predictions=given)
    builder.finetune("tiny-g25", "boolq", 0, 0.6, method="tuned", predictions=given)
    builder.finetune("tiny-g50", "boolq", 0, 0.6, status="failed", predictions=given)
    builder.finetune("tiny-g75", "boolq", 0, 0.6)
    assert compared(builder).empty


def test_same_predictions_same_bytes(tmp_path: Path, gold: np.ndarray) -> None:
    builder = Builder(tmp_path / "artifacts")
    for model in ("tiny-g25", "tiny-g50"):
        builder.finetune(model, "boolq", 0, 0.6, predictions=answers(gold, 0.7, len(model)))
    first = (collected(builder).folder / "comparisons.csv").read_bytes()
    assert (collected(builder).folder / "comparisons.csv").read_bytes() == first


@pytest.mark.parametrize("damage", ["missing", "empty", "no column", "words", "other rows"])
def test_damaged_predictions_are_named(tmp_path: Path, gold: np.ndarray, damage: str) -> None:
    builder = Builder(tmp_path / "artifacts")
    for model in ("tiny-g25", "tiny-g50"):
        path = builder.finetune(model, "boolq", 0, 0.6, predictions=answers(gold, 0.7, 0)).with_name("predictions.csv")
    text = path.read_text()
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_text("")
        case "no column":
            path.write_text("id,label\n0,1\n")
        case "words":
            path.write_text(text.replace(",1\n", ",yes\n", 1).replace(",1\r\n", ",yes\r\n", 1))
        case "other rows":
            path.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(
        UserError, match="different validation rows" if damage == "other rows" else "predictions"
    ) as caught:
        collected(builder)
    assert "\n" not in str(caught.value) and str(path.parent) in str(caught.value)
