"""A score in a cell of a table: its text, its marks, its columns in the CSV, and what the marks mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from electralab.report.markdown import ABSENT, count, listing, number
from electralab.report.runs import Cell, Runs
from electralab.report.statistics import Difference, Summary


def score_text(summary: Summary | None, value: float | None = None) -> str:
    """`0.850 [0.829, 0.873] n=3`: the median, or a value given, with the interval of the mean."""
    shown = summary.median if value is None and summary else value
    if summary is None or summary.low is None or summary.high is None:
        return f"{number(shown)} (n={summary.n if summary else 0})"
    return f"{number(shown)} [{number(summary.low)}, {number(summary.high)}] n={summary.n}"


def difference_text(difference: Difference | None) -> str:
    """`-0.020 [-0.031, -0.009] n=3`."""
    if difference is None:
        return ABSENT
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.3f} (n=1)"
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}] n={difference.n}"


def marks(runs: Runs, cell: Cell, model: str) -> str:
    """† where a run answers with one class, ‡ where the median is no better than the majority class."""
    text = ("†" if runs.degenerate_runs(cell, model) else "") + ("‡" if runs.at_majority(cell, model) else "")
    return f" {text}" if text else ""


def summary_fields(summary: Summary | None) -> dict[str, Any]:
    """A summary as columns of a CSV; without a finished run only the number of seeds, 0."""
    if summary is None:
        return {"seeds": 0}
    return {
        **{"seeds": summary.n, "median": summary.median, "mean": summary.mean, "low": summary.low},
        **{"high": summary.high, "worst": summary.minimum, "best": summary.maximum},
    }


class Majority(NamedTuple):
    """What always answering the most frequent label scores on the rows of some methods."""

    name: str
    rows: float | None
    score: float


def majority_scores(runs: Runs, task: str, model: str, cells: Sequence[Cell]) -> list[Majority]:
    """The majority class of every set of rows that methods were scored on: prompts may be asked a sample of them."""
    if runs.metric(task) != "accuracy":
        score = runs.majority_score(task, runs.metric(task))
        return [] if score is None else [Majority("majority class", None, score)]
    found: dict[tuple[float | None, float], list[str]] = {}
    for cell in cells:
        rate = runs.typical(cell, model, "metric.majority_rate")
        if rate is not None:
            found.setdefault((runs.typical(cell, model, "metric.validation_rows"), rate), []).append(f"`{cell.method}`")
    sizes = [rows for rows, _ in found]
    named = []
    for (rows, rate), methods in found.items():
        name = "majority class"
        if len(found) > 1:
            name += f" of {count(rows)} rows" if sizes.count(rows) == 1 else f" of the rows of {listing(methods)}"
        named.append(Majority(name, rows, rate))
    return named


def majority_notes(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """‡: cells whose median accuracy is that of the most frequent label, or less, with the number of such runs."""
    notes = []
    for cell in dict.fromkeys(cells):
        for model in dict.fromkeys(runs.cell_rows(cell)["model"]):
            if not runs.at_majority(cell, model):
                continue
            accuracy, rates = (runs.by_seed(cell, model, name) for name in ("accuracy", "majority_rate"))
            hits = sum(value <= rates.get(seed, -1.0) + 1e-9 for seed, value in accuracy.items())
            rate = number(runs.typical(cell, model, "metric.majority_rate"))
            notes.append(
                f"‡ {cell.task}, {cell.method}, {runs.title(model)}: {hits} of {len(accuracy)} runs are no better by "
                f"accuracy than always answering the most frequent label ({rate})."
            )
    return notes
