"""Table `downstream`: every fine-tuned model on every task, over seeds, with GLUE's averages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from electralab.report import answers, footnotes
from electralab.report.grid import Column, Section, Table, frame, grids, summary_columns
from electralab.report.results import Results
from electralab.report.runs import MAJORITY, Arm, Cell, Runs
from electralab.report.scores import ELSEWHERE, Average, Score, averages, scores, without_average
from electralab.report.statistics.intervals import Summary
from electralab.report.tables.score_cells import score_text
from electralab.report.text import ABSENT, number

SHOWN_PAIRS = 3  # a sentence names this many; comparisons.csv holds all


class Line(NamedTuple):
    """A model's number on one task, or its average over a set of tasks, which has neither majority class nor rows."""

    model: str
    score: Score | Average
    method: str
    metric: str
    over_seeds: Summary | None

    @property
    def cell(self) -> Cell | None:
        """The task and method behind one score; None behind an average."""
        return self.score.cell if isinstance(self.score, Score) else None


def table(results: Results) -> Table:
    """Model by task: the score over seeds; then every cell with smallest and largest.

    Raises:
        UserError: the experiment fine-tunes no model whole.
    """
    runs = results.whole
    if runs.finetunings.empty:
        raise results.nothing("fine-tuning of a whole model")
    every, of_sets = scores(runs), averages(runs)
    rows = _rows(runs)
    sections = []
    for heading, wanted in (("GLUE", True), ("Other tasks" if any(score.glue for score in every) else "Tasks", False)):
        shown = [score for score in every if score.main and score.glue == wanted]
        sections += grids(heading, rows, MODEL, [_score_column(runs, score) for score in shown])
    second = [score for score in every if not score.main]
    sections += grids("GLUE's second metrics", rows, MODEL, [_score_column(runs, score) for score in second])
    if of_sets:
        sections.append(_averages(runs, of_sets))
    lines = [
        Line(model, score, score.cell.method, score.metric, score.summary(runs, model))
        for score in every
        for model in runs.finetuned_models
    ]
    lines = [line for line in lines if line.over_seeds]
    lines += [Line(of.model, of, of.method, "mean", of.over_seeds) for of in of_sets]
    return Table(
        "Downstream tasks",
        f"{footnotes.measured(runs.finetuned, 'fine-tunings')} Validation scores: mean over seeds, in brackets its 95 "
        "% interval (Student t, each model by itself), n seeds; one seed has no interval. Accuracy where a heading "
        f"names no other metric.{footnotes.sampling(runs, _arms(runs, every))}",
        frame(lines, _columns(runs)),
        [*sections, *footnotes.failed(runs)],
        _notes(runs, every),
        [answers.task_answer(runs, cell, _pairs(results, cell)) for cell in dict.fromkeys(s.cell for s in every)],
    )


class Row(NamedTuple):
    """A line of the grids: a model, or something that needs none (a baseline's method, or the majority class)."""

    label: str
    model: str = ""
    baseline: str = ""


MODEL: Column[Row] = Column("", lambda row: row.label, "Model")


def _rows(runs: Runs) -> list[Row]:
    models = [Row(runs.title(model), model) for model in runs.finetuned_models]
    return [*models, *(Row(name, baseline=method) for method, name in runs.baselines().items()), Row(MAJORITY)]


def _score_column(runs: Runs, score: Score) -> Column[Row]:
    def text(row: Row) -> str:
        if row.model:
            summary = score.summary(runs, row.model)
            mark = footnotes.mark(runs, (score.cell, row.model)) if score.id != "ax" else ""
            return score_text(summary) + mark if summary else ABSENT
        if row.baseline:
            return number(runs.baseline_score(score.cell.task, row.baseline, score.column))
        # The majority rate that a run reports is that of its first validation set.
        elsewhere = score.id in ELSEWHERE or not score.main
        return ABSENT if elsewhere else number(runs.majority_score(score.cell.task, score.metric))

    return Column("", text, score.label)


def _averages(runs: Runs, of_sets: Sequence[Average]) -> Section:
    rows = [
        [runs.title(average.model), average.id, average.method, score_text(average.over_seeds)] for average in of_sets
    ]
    return Section("Averages", ["Model", "Set", "Method", "Mean"], rows, left=("Set", "Method"))


def _columns(runs: Runs) -> list[Column[Line]]:
    def of_cell(value: Callable[[Cell, str], Any]) -> Callable[[Line], Any]:
        return lambda line: None if line.cell is None else value(line.cell, line.model)

    def rows(split: str) -> Callable[[Line], Any]:
        def first(line: Line) -> Any:
            if line.cell is None or (line.score.id in ELSEWHERE and "validation" in split):
                return None
            return next(iter(runs.by_seed(line.cell, line.model, split).values()), None)

        return first

    def at_majority(line: Line) -> bool | None:
        return None if line.cell is None else line.score.id != "ax" and runs.at_majority(line.cell, line.model)

    return [
        Column("row", lambda line: runs.title(line.model)),
        Column("model", lambda line: line.model),
        Column("task", of_cell(lambda cell, _: cell.task)),
        Column("task_id", lambda line: line.score.id),
        Column("glue", lambda line: not isinstance(line.score, Score) or line.score.glue),
        Column("method", lambda line: line.method),
        Column("metric", lambda line: line.metric),
        *summary_columns(lambda line: line.over_seeds),
        Column("degenerate_runs", of_cell(runs.degenerate_runs)),
        Column("majority_rate", of_cell(lambda cell, _: runs.task_value(cell.task, "majority_rate"))),
        Column("at_or_below_majority", at_majority),
        *(
            Column(name, rows(name))
            for name in ("train_rows", "official_train_rows", "validation_rows", "official_validation_rows")
        ),
    ]


def _arms(runs: Runs, every: Sequence[Score]) -> list[Arm]:
    cells = dict.fromkeys(score.cell for score in every)
    return [(cell, model) for cell in cells for model in dict.fromkeys(runs.cell_rows(cell)["model"])]


def _notes(runs: Runs, every: Sequence[Score]) -> list[str]:
    cells = list(dict.fromkeys(score.cell for score in every))
    notes = footnotes.marked(runs, _arms(runs, every))
    if any(score.glue for score in every):
        notes.append(
            "GLUE's averages are given only where every task is there (mnli: matched; mcc for cola, Spearman's "
            "correlation for stsb, accuracy for the others): `glue8` is the paper's, without wnli; `glue9` has it."
        )
    if several := without_average(runs):
        notes.append(f"No average, because a task of GLUE has more than one score: {'. '.join(several)}.")
    notes += footnotes.origins(runs, runs.finetuned_models, cells)
    notes += footnotes.row_counts(runs, cells) + footnotes.different_rows(runs, cells)
    return notes + footnotes.of_records(runs, cells)


def _pairs(results: Results, cell: Cell) -> list[str]:
    """Which trained model is better than which, where one was not pretrained here: the others have their control."""
    runs, rows = results.whole, results.detail("comparisons")
    rows = rows[(rows["task"] == cell.task) & (rows[["method_a", "method_b"]] == cell.method).all(axis=1)]
    models = rows[["model_a", "model_b"]]
    rows = rows[models.isin(set(runs.origins)).any(axis=1) & ~models.isin(runs.random_models).any(axis=1)]
    rows = rows[rows["verdict"] != "unknown"]
    if rows.empty:
        return []
    better = [pair for pair in map(_better, rows.itertuples()) if pair]
    parts = [
        f"{runs.title(a)} better than {runs.title(b)} by {by:.3f} [{low:+.3f}, {high:+.3f}]"
        for a, b, by, low, high in sorted(better, key=lambda pair: -pair[2])[:SHOWN_PAIRS]
    ]
    if len(better) > SHOWN_PAIRS:
        parts.append(f"{len(better) - SHOWN_PAIRS} more such pairs")
    if len(better) < len(rows):
        parts.append(f"no difference shown in {len(rows) - len(better)} of {len(rows)} pairs of models")
    return ["; ".join(parts)]


def _better(row: Any) -> tuple[str, str, float, float, float] | None:
    """The better model, the other, by how much, from, to; None where the interval holds 0."""
    if row.low > 0:
        return row.model_a, row.model_b, row.difference, row.low, row.high
    if row.high < 0:
        return row.model_b, row.model_a, -row.difference, -row.high, -row.low
    return None
