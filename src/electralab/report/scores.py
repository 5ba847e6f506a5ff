"""The numbers that a fine-tuning gives: its task's metrics, MNLI's several validation sets, and GLUE's averages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from electralab.report.runs import METRICS, Cell, Runs
from electralab.report.statistics.intervals import Summary, summarize
from electralab.report.text import listing

# ELECTRA paper, section 3.1: CoLA by MCC, STS-B by Spearman's correlation, the others by accuracy; WNLI is left out.
GLUE8 = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
GLUE9 = (*GLUE8, "wnli")
AVERAGES = {"glue8": GLUE8, "glue9": GLUE9}
# What GLUE defines beside the metric that the paper reports.
SECOND_METRICS = {"mrpc": "f1", "qqp": "f1", "stsb": "pearson", "cola": "accuracy"}
# Scores of other rows than those of the validation split, whose counts and majority rate a run reports.
ELSEWHERE = ("mnli_mismatched", "mnli_both", "ax")
SEVERAL = "several methods"


@dataclass(frozen=True)
class Score:
    """One number of a cell. `id` is the `task_id` of published results, `column` the key in the run's metrics."""

    id: str
    cell: Cell
    label: str
    metric: str
    column: str = "score"
    glue: bool = False
    main: bool = True

    def by_seed(self, runs: Runs, model: str) -> dict[int, float]:
        """Values of a model by seed."""
        return runs.by_seed(self.cell, model, self.column)

    def summary(self, runs: Runs, model: str) -> Summary | None:
        """The values of a model over seeds, with the model's own scatter."""
        values = list(self.by_seed(runs, model).values())
        return summarize(values) if values else None


@dataclass(frozen=True)
class Average:
    """A mean over a named set of GLUE tasks: the mean of the medians, and its values by seed."""

    id: str
    model: str
    method: str
    value: float
    cells: tuple[Cell, ...]
    over_seeds: Summary | None


def scores(runs: Runs) -> list[Score]:
    """Every number that the experiment's fine-tunings can give: GLUE in the paper's order, then the other tasks."""

    def order(cell: Cell) -> tuple[int, str]:
        glue = runs.glue(cell.task)
        return (GLUE9.index(glue) if glue in GLUE9 else len(GLUE9), "" if glue else cell.task)

    cells = [cell for cell in sorted(runs.cells, key=order) if runs.glue(cell.task)]
    cells += [cell for cell in runs.cells if not runs.glue(cell.task)]
    return [score for cell in cells for score in _cell_scores(runs, cell)]


def _cell_scores(runs: Runs, cell: Cell) -> Iterator[Score]:
    glue, metric = runs.glue(cell.task), runs.metric(cell.task)
    if glue == "mnli":
        yield from _mnli_scores(runs, cell)
        return
    yield Score(glue or cell.task, cell, runs.cell_label(cell), metric, glue=bool(glue))
    second = SECOND_METRICS.get(glue)
    if second:
        label = f"{runs.cell_name(cell)} ({METRICS[second]})"
        yield Score(glue, cell, label, second, second, glue=True, main=False)


def _mnli_scores(runs: Runs, cell: Cell) -> Iterator[Score]:
    """Matched, mismatched, both together where the recipe scores them so, and the diagnostic rows AX."""
    rows, name = runs.cell_rows(cell), runs.cell_name(cell)
    together = "matched_and_mismatched" in runs.told(rows, "mnli_validation")
    matched = "matched.accuracy" if _reported(runs, cell, "matched.accuracy") or together else "score"
    yield Score("mnli", cell, f"{name} (matched)", "accuracy", matched, glue=True)
    if _reported(runs, cell, "mismatched.accuracy"):
        column = "mismatched.accuracy"
        yield Score("mnli_mismatched", cell, f"{name} (mismatched)", "accuracy", column, glue=True)
    if together:
        yield Score("mnli_both", cell, f"{name} (both)", "accuracy", glue=True)
    if _reported(runs, cell, "ax.mcc"):
        yield Score("ax", cell, f"{name}, AX ({METRICS['mcc']})", "mcc", "ax.mcc", glue=True)


def _reported(runs: Runs, cell: Cell, metric: str) -> bool:
    rows = runs.cell_rows(cell)
    return f"metric.{metric}" in rows and bool(rows[f"metric.{metric}"].notna().any())


def averages(runs: Runs) -> list[Average]:
    """Averages of the models that finished every task of a set: with one method, or with one method a task."""
    main = [score for score in scores(runs) if score.main and score.glue]
    found = []
    for name, tasks in AVERAGES.items():
        for model in runs.finetuned_models:
            finished = [score for score in main if score.id in tasks and score.by_seed(runs, model)]
            for method in dict.fromkeys(score.cell.method for score in finished):
                own = [score for score in finished if score.cell.method == method]
                if sorted(score.id for score in own) == sorted(tasks):
                    found.append(_average(runs, name, model, method, own))
            several = len({score.cell.method for score in finished}) > 1
            if several and sorted(score.id for score in finished) == sorted(tasks):
                found.append(_average(runs, name, model, SEVERAL, finished))
    return found


def without_average(runs: Runs) -> list[str]:
    """Models that finished every task of a set, one of them twice (`cola`, `hub_cola`), and so have no average."""
    main = [score for score in scores(runs) if score.main and score.glue and score.id in GLUE9]
    found = []
    for model in runs.finetuned_models:
        tasks: dict[str, list[str]] = {}
        for score in main:
            if score.by_seed(runs, model):
                tasks.setdefault(score.id, []).append(f"`{score.cell.task}` with `{score.cell.method}`")
        twice = [copies for copies in tasks.values() if len(copies) > 1]
        if set(GLUE8) <= tasks.keys() and twice and not any(of.model == model for of in averages(runs)):
            found.append(f"{runs.title(model)}: {'; '.join(map(listing, twice))}")
    return found


def _average(runs: Runs, name: str, model: str, method: str, of: list[Score]) -> Average:
    by_seed = [score.by_seed(runs, model) for score in of]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    return Average(
        name,
        model,
        method,
        fmean(median(values.values()) for values in by_seed),
        tuple(score.cell for score in of),
        summarize([fmean(values[seed] for values in by_seed) for seed in seeds]) if seeds else None,
    )
