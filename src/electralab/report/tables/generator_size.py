"""Table `generator_size`: generator size against what it buys, controls at the bottom."""

from __future__ import annotations

from typing import Any

import pandas as pd

from electralab.names import parse_model
from electralab.report import footnotes
from electralab.report.markdown import ABSENT, Section, Table, listing, number, summary_columns, with_interval
from electralab.report.runs import COMPARED, METRICS, UNTRAINED, Cell, Runs
from electralab.report.statistics import Summary


def generator_size(runs: Runs) -> Table:
    """Generator size against what it buys: pretraining metrics and downstream scores, controls at the bottom."""
    metrics = {metric: runs.summaries(metric) for metric in COMPARED}
    labels = [runs.cell_label(cell) for cell in runs.pretrained_cells]
    scores = {cell: runs.scores(cell) for cell in runs.pretrained_cells}
    # A sweep whose pretraining failed can still have fine-tuned models of an earlier run: list both.
    models = list(dict.fromkeys([*runs.models, *(model for found in scores.values() for model in found)]))
    rows: list[dict[str, Any]] = []
    text: list[list[str]] = []
    for model in models:
        of = {metric: found[model] for metric, found in metrics.items() if model in found}
        row: dict[str, Any] = {"row": runs.label(model), "model": model, "control": runs.is_control(model)}
        row["generator_size"] = parse_model(model).size / 100
        for cell in runs.pretrained_cells:
            row |= _score_columns(runs, cell, model, scores[cell].get(model))
        rows.append(row | summary_columns(of))
        text.append(
            [runs.label(model), *(with_interval(of.get(metric)) for metric in COMPARED)]
            + [_score(runs, cell, model, scores[cell].get(model)) for cell in runs.pretrained_cells]
        )
    for row, cells in _control_rows(runs):
        rows.append(row)
        text.append([row["row"], *[ABSENT] * len(COMPARED), *cells])
    heads = ["Generator size", "MLM loss (nat)", "AUC, own generator", "AUC, unigram replacements", *labels]
    return Table(
        "Generator size",
        f"{footnotes.measured(runs.pretrained, 'pretrainings')} {footnotes.extensions(runs)} {_finetuning_about(runs)}",
        pd.DataFrame(rows),
        [Section("", heads, text)],
        [*_downstream_notes(runs), *_size_notes(runs), *footnotes.unfinished(runs)],
    )


def _score(runs: Runs, cell: Cell, model: str, summary: Summary | None) -> str:
    mark = " †" if summary is not None and runs.degenerate_runs(cell, model) else ""
    return with_interval(summary) + mark


def _score_columns(runs: Runs, cell: Cell, model: str, summary: Summary | None) -> dict[str, Any]:
    if summary is None:
        return {}
    name = runs.cell_name(cell)
    columns: dict[str, Any] = dict(summary_columns({f"{name}.{runs.metric(cell.task)}": summary}))
    return columns | {f"{name}.seeds": summary.n, f"{name}.degenerate_runs": runs.degenerate_runs(cell, model)}


def _control_rows(runs: Runs) -> list[tuple[dict[str, Any], list[str]]]:
    """Rows without a generator: untrained models, baselines, the majority class."""
    found: list[tuple[dict[str, Any], list[str]]] = []
    untrained = runs.random_models
    for model in untrained:
        row: dict[str, Any] = {"row": UNTRAINED if len(untrained) == 1 else f"{UNTRAINED}: {model}", "model": model}
        text = []
        for cell in runs.pretrained_cells:
            summary = runs.random_score(cell, model)
            row |= _score_columns(runs, cell, model, summary)
            text.append(_score(runs, cell, model, summary))
        found.append((row | {"control": True}, text))
    cells = runs.pretrained_cells
    values = [
        *(
            (name, {cell: runs.baseline_score(cell.task, method) for cell in cells})
            for method, name in runs.baselines().items()
        ),
        ("majority class", {cell: runs.majority_score(cell.task, runs.metric(cell.task)) for cell in cells}),
    ]
    for name, of in values if cells else []:
        known = {cell: value for cell, value in of.items() if value is not None}
        columns = {f"{runs.cell_name(cell)}.{runs.metric(cell.task)}": value for cell, value in known.items()}
        found.append(({"row": name, "control": True, **columns}, [number(of[cell]) for cell in cells]))
    return found


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
    notes = footnotes.degenerate(runs, cells, lambda model: runs.label(model) if model in runs.models else model)
    return notes + footnotes.methods(runs, cells) + footnotes.sampling(runs, cells)


def _size_notes(runs: Runs) -> list[str]:
    notes = []
    for sweep in runs.sweeps:
        for metric, what in COMPARED.items():
            notes += footnotes.ordering(runs, sweep, what, runs.summaries(metric))
        for cell in runs.pretrained_cells:
            what = f"{METRICS[runs.metric(cell.task)]} on {runs.cell_name(cell)}"
            notes += footnotes.ordering(runs, sweep, what, runs.scores(cell))
    return notes + footnotes.detection(runs)
