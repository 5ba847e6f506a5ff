"""Table `generator_size`: generator size against what it buys, controls at the bottom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from electralab.names import parse_model
from electralab.report import footnotes
from electralab.report.grid import Column, Section, Table, frame, summary_columns
from electralab.report.results import Results
from electralab.report.runs import COMPARED, METRICS, Cell, Runs
from electralab.report.statistics import Summary, summarize
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
    runs = results.whole
    if runs.pretrainings.empty:
        raise results.nothing("pretraining run")
    lines = _lines(runs)
    measured = [Measured(line, quantity) for line in lines for quantity in line.of]
    return Table(
        "Generator size",
        f"{footnotes.measured(runs.pretrained, 'pretrainings')} {footnotes.extensions(runs)} {_finetuning_about(runs)}",
        frame(measured, _csv(runs)),
        [_section(runs, lines)],
        [*_downstream_notes(runs), *_size_notes(runs), *footnotes.unfinished(runs)],
    )


def _lines(runs: Runs) -> list[Line]:
    summaries: dict[Quantity, dict[str, Summary]] = {metric: runs.summaries(metric) for metric in COMPARED}
    summaries |= {cell: runs.scores(cell) for cell in runs.pretrained_cells}
    # A sweep whose pretraining failed can still have fine-tuned models of an earlier run: list both.
    models = list(dict.fromkeys([*runs.models, *(model for found in summaries.values() for model in found)]))
    lines = [
        Line(runs.label(model), model, {quantity: of[model] for quantity, of in summaries.items() if model in of})
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
        lines.append(_without_model("majority class", rates))
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


def _section(runs: Runs, lines: list[Line]) -> Section:
    quantities: list[Quantity] = [*COMPARED, *runs.pretrained_cells]
    heads = ["MLM loss (nat)", "AUC, own generator", "AUC, unigram replacements"]
    heads += [runs.cell_label(cell) for cell in runs.pretrained_cells]
    rows = [[line.label, *(_text(runs, line, quantity) for quantity in quantities)] for line in lines]
    return Section("", ["Generator size", *heads], rows)


def _text(runs: Runs, line: Line, quantity: Quantity) -> str:
    summary = line.of.get(quantity)
    if summary is None:
        return ABSENT
    if not line.model:
        return number(summary.mean)
    return with_interval(summary) + (" †" if _degenerate(runs, quantity, line.model) else "")


def _finetuning_about(runs: Runs) -> str:
    if not runs.pretrained_cells:
        return "Nothing was fine-tuned in this experiment."
    rows = runs.finetuned[(runs.finetuned["downloaded"] == "") & runs.finetuned["snapshot"].isna()]
    seeds = listing([str(seed) for seed in sorted(rows["seed"].unique())])
    return (
        f"Scores are validation accuracy (another metric where the heading names one) of {len(rows)} fine-tunings, "
        f"mean over seeds {seeds} with the 95 % interval over them (Student t, scatter pooled over the sizes of a "
        "sweep; the untrained control has its own). "
        "The discriminator of each size comes from one pretraining seed: the scatter of pretraining is not in the "
        "intervals of the scores, and a difference between sizes may be one between pretraining seeds."
    )


def _downstream_notes(runs: Runs) -> list[str]:
    notes = [note for cell in runs.pretrained_cells for note in footnotes.bought(runs, cell)]
    if any(footnotes.differences(runs, cell) for cell in runs.pretrained_cells):
        notes.append(
            "Those differences are paired by seed; their 95 % intervals cover fine-tuning seeds and, for accuracies, "
            "validation examples, and are not corrected for the number of comparisons."
        )
    notes += [note for cell in runs.pretrained_cells for note in footnotes.against_baselines(runs, cell)]
    synthetic = sorted({cell.task for cell in runs.pretrained_cells if runs.is_synthetic(cell.task)})
    if synthetic:
        notes.append(f"{listing(synthetic)}: synthetic, its labels are made by a program; no person judged them.")
    return notes + _own_notes(runs)


def _own_notes(runs: Runs) -> list[str]:
    cells = runs.pretrained_cells
    arms = [(cell, model) for cell in cells for model in dict.fromkeys(runs.cell_rows(cell)["model"])]
    notes = footnotes.degenerate(runs, arms, lambda model: runs.label(model) if model in runs.models else model)
    return notes + footnotes.methods(runs, cells) + footnotes.sampling(runs, arms)


def _size_notes(runs: Runs) -> list[str]:
    notes = []
    for sweep in runs.sweeps:
        for metric, what in COMPARED.items():
            notes += footnotes.ordering(runs, sweep, what, runs.summaries(metric))
        for cell in runs.pretrained_cells:
            what = f"{METRICS[runs.metric(cell.task)]} on {runs.cell_name(cell)}"
            notes += footnotes.ordering(runs, sweep, what, runs.scores(cell))
    return notes + footnotes.detection(runs)
