"""Table `generator_size`: generator size against what it buys, controls at the bottom."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import NamedTuple

from electralab.names import parse_model
from electralab.report import answers, footnotes
from electralab.report.grid import Column, Table, frame, grids, section, summary_columns
from electralab.report.results import Results
from electralab.report.runs import COMPARED, MAJORITY, Cell, Runs
from electralab.report.statistics.intervals import Summary, summarize
from electralab.report.text import ABSENT, listing, number, with_interval

Quantity = str | Cell  # a metric of pretraining, or a task fine-tuned with a method


class Line(NamedTuple):
    """A row of the page: a model with what is known of it; a baseline has no model and one value a task."""

    label: str
    model: str
    of: Mapping[Quantity, Summary]


class Measured(NamedTuple):
    """A row of the CSV: one number of a line."""

    line: Line
    quantity: Quantity


def table(results: Results) -> Table:
    """Generator size against what it buys: pretraining metrics and downstream scores, controls at the bottom.

    Raises:
        UserError: the experiment has no pretraining.
    """
    runs = results.pretrained
    lines = _lines(runs)
    measured = [Measured(line, quantity) for line in lines for quantity in line.of]
    cells = runs.pretrained_cells
    pretrained = [line for line in lines if any(metric in line.of for metric in COMPARED)]
    sections = [section("Pretraining", pretrained, PRETRAINING)] if pretrained else []
    if cells:
        sections += grids("Fine-tuned", lines, MODEL, [_score_column(runs, cell) for cell in cells])
    return Table(
        "Generator size",
        f"{footnotes.measured(runs.pretrained, 'pretrainings')}{_finetuning_about(runs)}",
        frame(measured, _csv(runs)),
        [*sections, *footnotes.failed(runs)],
        _notes(runs),
        [*answers.learnt(runs), *(answers.task_answer(runs, cell) for cell in cells)],
    )


def _lines(runs: Runs) -> list[Line]:
    summaries: dict[Quantity, dict[str, Summary]] = {metric: runs.summaries(metric) for metric in COMPARED}
    summaries |= {cell: runs.scores(cell) for cell in runs.pretrained_cells}
    # A sweep whose pretraining failed can still have fine-tuned models of an earlier run: list both.
    models = list(dict.fromkeys([*runs.models, *(model for found in summaries.values() for model in found)]))
    lines = [
        Line(runs.title(model), model, {quantity: of[model] for quantity, of in summaries.items() if model in of})
        for model in models
    ]
    cells = runs.pretrained_cells
    for model in runs.random_models:
        scores = {cell: runs.random_score(cell, model) for cell in cells}
        lines.append(Line(runs.title(model), model, {cell: score for cell, score in scores.items() if score}))
    for method, name in runs.baselines().items():
        values = {cell: runs.baseline_score(cell.task, method) for cell in cells}
        lines.append(_without_model(name, values))
    if cells:
        rates = {cell: runs.majority_score(cell.task, runs.metric(cell.task)) for cell in cells}
        lines.append(_without_model(MAJORITY, rates))
    return lines


def _without_model(name: str, values: Mapping[Cell, float | None]) -> Line:
    return Line(name, "", {cell: summarize([value]) for cell, value in values.items() if value is not None})


def _csv(runs: Runs) -> list[Column[Measured]]:
    def is_control(row: Measured) -> bool:
        return row.line.model in ("", *runs.random_models) or runs.is_control(row.line.model)

    return [
        Column("row", lambda row: row.line.label),
        Column("model", lambda row: row.line.model),
        Column("control", is_control),
        Column("generator_size", lambda row: _size(runs, row.line.model)),
        Column("task", lambda row: row.quantity.task if isinstance(row.quantity, Cell) else ""),
        Column("method", lambda row: row.quantity.method if isinstance(row.quantity, Cell) else ""),
        Column("metric", lambda row: _metric(runs, row.quantity)),
        *summary_columns(lambda row: row.line.of[row.quantity]),
        Column("degenerate_runs", lambda row: _degenerate(runs, row.quantity, row.line.model)),
    ]


def _metric(runs: Runs, quantity: Quantity) -> str:
    return runs.metric(quantity.task) if isinstance(quantity, Cell) else quantity


def _size(runs: Runs, model: str) -> float | None:
    return None if model in ("", *runs.random_models) else parse_model(model).size / 100


def _degenerate(runs: Runs, quantity: Quantity, model: str) -> int | None:
    return runs.degenerate_runs(quantity, model) if isinstance(quantity, Cell) and model else None


MODEL: Column[Line] = Column("", lambda line: line.label, "Model")
PRETRAINING: list[Column[Line]] = [
    MODEL,
    Column("", lambda line: line.of.get("mlm_loss"), "MLM loss (nat)", with_interval),
    Column("", lambda line: line.of.get("rtd_auc"), "AUC, own generator", with_interval),
    Column("", lambda line: line.of.get("rtd_auc_unigram"), "AUC, unigram replacements", with_interval),
]


def _score_column(runs: Runs, cell: Cell) -> Column[Line]:
    def text(line: Line) -> str:
        summary = line.of.get(cell)
        if summary is None:
            return ABSENT
        mark = footnotes.mark(runs, (cell, line.model)) if line.model else ""
        return with_interval(summary) + mark if line.model else number(summary.mean)

    return Column("", text, runs.cell_label(cell))


def _finetuning_about(runs: Runs) -> str:
    if not runs.pretrained_cells:
        return " Nothing was fine-tuned in this experiment."
    rows = runs.finetuned[(runs.finetuned["downloaded"] == "") & runs.finetuned["snapshot"].isna()]
    seeds = listing([str(seed) for seed in sorted(rows["seed"].unique())])
    return (
        f" Scores: validation accuracy (another metric where the heading names one) of {len(rows)} fine-tunings, mean "
        f"over seeds {seeds} with its 95 % interval (Student t, each model by itself).{footnotes.overlap(rows)}"
    )


def _notes(runs: Runs) -> list[str]:
    cells = runs.pretrained_cells
    notes = [footnotes.extensions(runs)]
    if any(answers.differences(runs, cell) for cell in cells):
        notes.append(
            "Differences are paired by seed and by row; their 95 % intervals cover fine-tuning seeds and validation "
            "rows, and are not corrected for the number of comparisons. The discriminator of each size "
            "comes from one pretraining seed, and that scatter is in no interval of a score."
        )
    orders = (answers.ordered_sizes(runs, sweep) + answers.ordered_scores(runs, sweep, cells) for sweep in runs.sweeps)
    notes += footnotes.together(chain.from_iterable(orders))
    arms = [(cell, model) for cell in cells for model in dict.fromkeys(runs.cell_rows(cell)["model"])]
    return [*notes, *footnotes.marked(runs, arms), *footnotes.origins(runs, (), cells)]
