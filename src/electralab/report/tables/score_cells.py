"""A score in a cell of a table: its text, and the majority class beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from electralab.report.runs import MAJORITY, Cell, Runs
from electralab.report.statistics.differences import Difference, difference_text
from electralab.report.statistics.intervals import Summary
from electralab.report.text import ABSENT, count, listing, number


def score_text(summary: Summary | None) -> str:
    """`0.850 [0.829, 0.873] n=3`: the mean with its interval."""
    if summary is None:
        return f"{ABSENT} (n=0)"
    if summary.low is None or summary.high is None:
        return f"{number(summary.mean)} (n={summary.n})"
    return f"{number(summary.mean)} [{number(summary.low)}, {number(summary.high)}] n={summary.n}"


def difference_cell(difference: Difference | None) -> str:
    """`-0.020 [-0.031, -0.009] n=3`, where n are the seeds that both have; one has no interval."""
    if difference is None:
        return ABSENT
    seeds = f"(n={difference.seeds})" if difference.low is None else f"n={difference.seeds}"
    return f"{difference_text(difference)} {seeds}"


class Majority(NamedTuple):
    """What always answering the most frequent label scores on the rows of some methods."""

    name: str
    rows: float | None
    score: float


def majority_scores(runs: Runs, task: str, model: str, cells: Sequence[Cell]) -> list[Majority]:
    """The majority class of every set of rows that methods were scored on: prompts may be asked a sample of them."""
    if runs.metric(task) != "accuracy":
        score = runs.majority_score(task, runs.metric(task))
        return [] if score is None else [Majority(MAJORITY, None, score)]
    found: dict[tuple[float | None, float], list[str]] = {}
    for cell in cells:
        rate = runs.typical(cell, model, "metric.majority_rate")
        if rate is not None:
            found.setdefault((runs.typical(cell, model, "metric.validation_rows"), rate), []).append(f"`{cell.method}`")
    sizes = [rows for rows, _ in found]
    named = []
    for (rows, rate), methods in found.items():
        name = MAJORITY
        if len(found) > 1:
            name += f" of {count(rows)} rows" if sizes.count(rows) == 1 else f" of the rows of {listing(methods)}"
        named.append(Majority(name, rows, rate))
    return named
