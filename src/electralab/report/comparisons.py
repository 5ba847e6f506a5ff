"""Is model A better than model B? Paired bootstrap over the validation examples that both answered.

Efron and Tibshirani (1993), chapter 13; Koehn (2004) for its paired use. Every resample of the examples is the same for
all models, so what is hard for both cancels. The interval is about other examples of the same kind; the scatter over
fine-tuning seeds is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from electralab.errors import UserError
from electralab.finetune.predictions import SCORE
from electralab.names import NO_MODEL
from electralab.records import RunRecord

RESAMPLES = 2000
SEED = 0
CHUNK = 4_000_000  # resamples x examples held in memory at once
CORRELATIONS = ("pearson", "spearman")
COMPARISON_COLUMNS = (
    "task",
    "method",
    "metric",
    "model_a",
    "model_b",
    "seeds",
    "examples",
    "score_a",
    "score_b",
    "difference",
    "low",
    "high",
    "share_a_better",
)
Floats = npt.NDArray[np.float64]


class Answers(NamedTuple):
    """What one run answered: ids, gold labels and predictions, each [N]."""

    ids: list[str]
    labels: Floats
    predictions: Floats


class Difference(NamedTuple):
    """Score of A minus score of B, with the 95 % percentile interval and the share of resamples in favour of A."""

    difference: float
    low: float
    high: float
    share_a_better: float


def compare(records: Mapping[Path, RunRecord]) -> pd.DataFrame:
    """Compare every two models that were fine-tuned on the same task with the same method.

    Untrained controls are compared with trained models only. Scores are means over the seeds that both models
    finished. A baseline is no fine-tuning and is not compared.

    Raises:
        UserError: predictions are missing or damaged, or two runs of a task answered different rows.
    """
    groups: dict[tuple[str, str], dict[tuple[str, int], Path]] = {}
    untrained: set[str] = set()
    for path, record in records.items():
        if (
            record.stage == "pretrain"
            or record.model == NO_MODEL
            or record.status != "ok"
            or record.predictions is None
        ):
            continue
        groups.setdefault((str(record.task), str(record.method)), {})[record.model, record.seed] = path
        if record.spec.get("random_init"):
            untrained.add(record.model)
    rows = []
    for (task, method), runs in groups.items():
        pairs = [pair for pair in _pairs(runs) if not set(pair) <= untrained]
        if not pairs:
            continue
        metric = records[next(iter(runs.values()))].primary_metric or "accuracy"
        answers = {run: read_answers(path.with_name(str(records[path].predictions))) for run, path in runs.items()}
        _check_same_rows(runs, answers)
        labels = next(iter(answers.values())).labels
        resampled = resampled_scores(metric, labels, np.array([given.predictions for given in answers.values()]))
        scores = dict(zip(answers, resampled))
        for a, b in pairs:
            seeds = sorted({seed for model, seed in runs if model == a} & {seed for model, seed in runs if model == b})
            mean_a, mean_b = (np.mean([scores[model, seed] for seed in seeds], axis=0) for model in (a, b))
            identity = (task, method, metric, a, b, len(seeds), len(labels))
            rows.append((*identity, mean_a[0], mean_b[0], *difference(mean_a, mean_b)))
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


def _pairs(runs: Mapping[tuple[str, int], Path]) -> list[tuple[str, str]]:
    """Models with a common seed, in the order in which the experiment names them."""
    models = dict.fromkeys(model for model, _ in runs)
    seeds = {model: {seed for other, seed in runs if other == model} for model in models}
    return [(a, b) for a, b in combinations(models, 2) if seeds[a] & seeds[b]]


def _check_same_rows(runs: Mapping[tuple[str, int], Path], answers: Mapping[tuple[str, int], Answers]) -> None:
    (first, expected), *others = answers.items()
    for run, given in others:
        if given.ids != expected.ids or not np.array_equal(given.labels, expected.labels):
            raise UserError(
                f"{runs[run].parent} and {runs[first].parent} answered different validation rows of the same task: "
                "delete the older one and rerun"
            )


def read_answers(path: Path) -> Answers:
    """Read `predictions.csv`.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        text = dict.fromkeys(("id", "label", "prediction"), str)
        frame = pd.read_csv(path, dtype=text, keep_default_na=False)
        classes = [str(name).removeprefix(SCORE) for name in frame.columns if str(name).startswith(SCORE)]
        numbers = {name: float(number) for number, name in enumerate(classes)}
        labels, predictions = (
            np.array([numbers[value] if classes else float(value) for value in frame[name]], np.float64)
            for name in ("label", "prediction")
        )
    except FileNotFoundError:
        raise UserError(f"{path} is missing beside its run record: delete the record and rerun") from None
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): delete its run record and rerun") from None
    if not len(frame):
        raise UserError(f"{path} is damaged (it holds no row): delete its run record and rerun")
    return Answers(list(frame["id"]), labels, predictions)


def difference(a: Floats, b: Floats) -> Difference:
    """Compare two models, each given as its score and then its scores on the resamples, [1 + resamples].

    A resample on which both score alike counts half for each.
    """
    gain = a - b
    low, high = np.percentile(gain[1:], [2.5, 97.5])
    share = (gain[1:] > 0).mean() + 0.5 * (gain[1:] == 0).mean()
    return Difference(float(gain[0]), float(low), float(high), float(share))


def resampled_scores(metric: str, labels: Floats, predictions: Floats, resamples: int = RESAMPLES) -> Floats:
    """The score of each run, followed by its scores on resamples of the examples drawn with replacement.

    Args:
        metric: `accuracy`, `f1`, `mcc`, `pearson` or `spearman`; as scikit-learn and scipy define them. `f1` is that of
            class 1 with two classes and the macro average with more. What a constant makes undefined is 0.
        labels: gold labels, [N].
        predictions: predictions of runs on the same examples, [runs, N].
        resamples: how many; the runs share them.

    Returns:
        [runs, 1 + resamples].
    """
    score = _correlations if metric in CORRELATIONS else _confusion_scores
    parts = [
        [score(metric, labels, given, counts) for given in predictions]
        for counts in chain([np.ones((1, len(labels)))], _resample_counts(len(labels), resamples))
    ]
    return np.concatenate(parts, axis=1)


def _resample_counts(examples: int, resamples: int) -> Iterator[Floats]:
    """How often each example is in each resample, [some resamples, N] at a time."""
    generator = np.random.default_rng(SEED)
    size = max(1, CHUNK // examples)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = generator.integers(examples, size=(rows, examples)) + examples * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples).astype(np.float64)


def _confusion_scores(metric: str, labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """Accuracy, F1 or MCC from the confusion matrix of every resample."""
    classes = int(max(labels.max(), predictions.max(), 1)) + 1
    pairs = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    confusion = (counts @ np.eye(classes * classes)[pairs]).reshape(-1, classes, classes)
    gold, given = confusion.sum(axis=2), confusion.sum(axis=1)
    right, total = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2))
    if metric == "accuracy":
        return _ratio(right.sum(axis=1), total)
    if metric == "f1":
        f1 = _ratio(2 * right, gold + given)
        if classes == 2:
            return f1[:, 1]
        present = (gold + given) > 0
        return _ratio(f1.sum(axis=1), present.sum(axis=1).astype(np.float64))
    if metric == "mcc":  # Gorodkin (2004), the form of scikit-learn
        covariance = right.sum(axis=1) * total - (gold * given).sum(axis=1)
        spread = (total**2 - (gold**2).sum(axis=1)) * (total**2 - (given**2).sum(axis=1))
        return _ratio(covariance, np.sqrt(spread))
    raise UserError(f"unknown metric {metric!r} in a run record; allowed: accuracy, f1, mcc, pearson, spearman")


def _correlations(metric: str, labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """Pearson's correlation of every resample, of the values or of their ranks (Spearman)."""
    x, y = np.broadcast_to(labels, counts.shape), np.broadcast_to(predictions, counts.shape)
    if metric == "spearman":
        x, y = _ranks(labels, counts), _ranks(predictions, counts)
    total = counts.sum(axis=1, keepdims=True)
    x = x - (counts * x).sum(axis=1, keepdims=True) / total
    y = y - (counts * y).sum(axis=1, keepdims=True) / total
    covariance = (counts * x * y).sum(axis=1)
    return _ratio(covariance, np.sqrt((counts * x * x).sum(axis=1) * (counts * y * y).sum(axis=1)))


def _ranks(values: Floats, counts: Floats) -> Floats:
    """Average ranks of the examples within each resample, [resamples, N]; ties share theirs."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    size = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks = np.cumsum(size, axis=1) - (size - 1) / 2
    return np.asarray(ranks[:, group])


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 1e-12)
