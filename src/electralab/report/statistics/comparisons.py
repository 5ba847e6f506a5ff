"""`comparisons.csv`: every two arms of a task that share a seed and rows, compared once, for all pages."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from electralab.errors import UserError
from electralab.names import NO_MODEL
from electralab.records import RunRecord
from electralab.report.reading import read_table
from electralab.report.statistics.answers import Answers, class_numbers, read_answers
from electralab.report.statistics.differences import Difference, half_widths
from electralab.report.statistics.influence import CORRELATIONS, Floats, Scored, score_rows

COMPARISON_COLUMNS = (
    *("task", "metric", "model_a", "method_a", "model_b", "method_b"),
    *("seeds", "rows", "a", "b", "difference", "low", "high", "verdict"),
)


class Arm(NamedTuple):
    """What is compared with others on a task."""

    model: str
    method: str


@dataclass(frozen=True)
class Comparisons:
    """`comparisons.csv` as pages see it."""

    frame: pd.DataFrame

    def difference(self, task: str, a: Arm, b: Arm) -> Difference | None:
        """Score of `a` minus score of `b`; None where they share no seed or no row."""
        found = self._rows.get((task, a, b))
        if found is not None:
            return found
        other = self._rows.get((task, b, a))
        return None if other is None else other.flipped()

    @cached_property
    def _rows(self) -> dict[tuple[str, Arm, Arm], Difference]:
        names = ("task", "model_a", "method_a", "model_b", "method_b", "seeds", "rows", "a", "b", "low", "high")
        found = {}
        for task, *arms, seeds, rows, a, b, low, high in zip(*(self.frame[name].tolist() for name in names)):
            ends = (None, None) if pd.isna(low) else (low, high)
            found[task, Arm(*arms[:2]), Arm(*arms[2:])] = Difference(int(seeds), int(rows), a, b, *ends)
        return found


def read_comparisons(path: Path) -> Comparisons:
    """Read `comparisons.csv`.

    Raises:
        UserError: it is missing or damaged.
    """
    return Comparisons(read_table(path, COMPARISON_COLUMNS))


def compare(records: Mapping[Path, RunRecord]) -> pd.DataFrame:
    """Compare every two arms of the same task that share a seed and rows, in the order of the records.

    A baseline has no seed: its one run stands beside every seed of the other arm. Arms that were scored on different
    rows are compared on those that they share. Records of runs that failed, or that leave no predictions, are left out.

    Raises:
        UserError: predictions are missing or damaged or do not give the record's score, or two runs of a task have
            different labels for the same row.
    """
    tasks: dict[tuple[str, str], dict[Arm, dict[int | None, _Run]]] = {}
    for path, record in records.items():
        if record.stage != "pretrain" and record.status == "ok" and record.predictions is not None:
            arms = tasks.setdefault((str(record.task), record.primary_metric or "accuracy"), {})
            seed = None if record.model == NO_MODEL else record.seed
            runs = arms.setdefault(Arm(record.model, str(record.method)), {})
            runs[seed] = _Run(path, path.with_name(record.predictions), _validation_score(record))
    rows: list[tuple[Any, ...]] = []
    for (task, metric), arms in tasks.items():
        found = sorted(_pairs(metric, _read(metric, arms)), key=lambda pair: pair[:2])
        names = list(arms)
        rows += [
            (task, metric, *names[a], *names[b], d.seeds, d.rows, d.a, d.b, d.mean, d.low, d.high, d.verdict)
            for a, b, d in found
        ]
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


class _Run(NamedTuple):
    """Where a run's answers are, and the score that its record has of them."""

    record: Path
    predictions: Path
    score: float | None


def _validation_score(record: RunRecord) -> float | None:
    """The score of the rows in `predictions.csv`: of MNLI, `score` may be of other rows too.

    None where the record does not vouch for that file.
    """
    if record.predictions not in record.files:
        return None
    together = "mismatched.accuracy" in record.metrics
    return record.metrics.get(str(record.primary_metric) if together else "score")


class _Answered(NamedTuple):
    """Every row that some run of a task answered."""

    labels: Floats  # [N]
    predictions: list[dict[int | None, Floats]]  # of every arm by seed, [N], NaN where the run did not answer
    rows: list[npt.NDArray[np.bool_]]  # those that all runs of an arm answered, [N]


def _read(metric: str, arms: Mapping[Arm, Mapping[int | None, _Run]]) -> _Answered:
    runs = [{seed: read_answers(run.predictions) for seed, run in by_seed.items()} for by_seed in arms.values()]
    of_records = {run.predictions: run for by_seed in arms.values() for run in by_seed.values()}
    every = [run for by_seed in runs for run in by_seed.values()]
    numbers = None if metric in CORRELATIONS else class_numbers(every)
    ids = np.unique(np.concatenate([run.ids for run in every]))
    labels = np.full(len(ids), np.nan)

    def spread(run: Answers) -> Floats:
        places = np.searchsorted(ids, run.ids)
        own = run.label_values(numbers)
        if ((labels[places] != own) & ~np.isnan(labels[places])).any():
            raise UserError(
                f"{run.path.parent} has other labels for the same validation rows than other runs of its task: "
                "delete what is older and rerun"
            )
        labels[places] = own
        predictions = np.full(len(ids), np.nan)
        predictions[places] = run.predicted_values(numbers)
        _check_score(of_records[run.path], score_rows(metric, own, predictions[places]).score, len(own))
        return predictions

    predictions = [{seed: spread(run) for seed, run in by_seed.items()} for by_seed in runs]
    rows = [~np.isnan(np.array(list(by_seed.values()))).any(axis=0) for by_seed in predictions]
    return _Answered(labels, predictions, rows)


def _check_score(run: _Run, score: float, rows: int) -> None:
    """Refuse a record whose score is not that of its predictions, by the worth of half a row."""
    if run.score is not None and abs(run.score - score) > 0.5 / rows + 1e-4:
        raise UserError(
            f"{run.record} has a score of {run.score:.6g}, and the predictions beside it give {score:.6g}: one of the "
            f"two was changed: delete {run.record} and run the same command again"
        )


def _pairs(metric: str, answered: _Answered) -> Iterator[tuple[int, int, Difference]]:
    """Numbers of two arms, the smaller first, and their difference; arms of the same rows at once."""
    alike: dict[bytes, list[int]] = {}
    for arm, rows in enumerate(answered.rows):
        alike.setdefault(rows.tobytes(), []).append(arm)
    for first, second in combinations_with_replacement(alike.values(), 2):
        rows = answered.rows[first[0]] & answered.rows[second[0]]
        if not rows.any():
            continue
        of = combinations(first, 2) if first is second else product(first, second)
        pairs = [(min(pair), max(pair)) for pair in of]
        scored = {
            arm: {
                seed: score_rows(metric, answered.labels[rows], given[rows])
                for seed, given in answered.predictions[arm].items()
            }
            for arm in {arm for pair in pairs for arm in pair}
        }
        yield from _differences(pairs, scored, int(rows.sum()))


def _differences(
    pairs: Sequence[tuple[int, int]], scored: Mapping[int, Mapping[int | None, Scored]], rows: int
) -> Iterator[tuple[int, int, Difference]]:
    """Differences of pairs of arms, those of the same seeds at once."""
    by_seeds: dict[tuple[int | None, ...], list[tuple[int, int]]] = {}
    for a, b in pairs:
        seeds = _shared_seeds(scored[a], scored[b])
        if seeds:
            by_seeds.setdefault(seeds, []).append((a, b))
    for seeds, own in by_seeds.items():
        arms = sorted({arm for pair in own for arm in pair})
        runs = [[scored[arm].get(seed) or scored[arm][None] for seed in seeds] for arm in arms]
        scores = np.array([[run.score for run in of] for of in runs])
        halves = half_widths(scores, np.array([[run.influence for run in of] for of in runs]))
        means, place = scores.mean(axis=1), {arm: number for number, arm in enumerate(arms)}
        for a, b in own:
            of_a, of_b = float(means[place[a]]), float(means[place[b]])
            half = float(halves[place[a], place[b]])
            ends = (None, None) if math.isnan(half) else (of_a - of_b - half, of_a - of_b + half)
            yield a, b, Difference(len(seeds), rows, of_a, of_b, *ends)


def _shared_seeds(a: Collection[int | None], b: Collection[int | None]) -> tuple[int | None, ...]:
    """Of a baseline and another arm, those of the other."""
    if None in a or None in b:
        return tuple(a) if None in b else tuple(b)
    return tuple(sorted(seed for seed in a if seed is not None and seed in b))
