"""Table `adapters`: what each way of fine-tuning gives and costs, beside training every parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pandas as pd

from electralab.report import footnotes
from electralab.report.learning_rates import learning_rate_notes
from electralab.report.markdown import ABSENT, Section, Table, count, listing, number, scientific
from electralab.report.protocols import protocol_methods
from electralab.report.published import qlora_collapse
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Cell, Runs
from electralab.report.statistics import Difference, Summary, score_difference, summarize, wilson_interval
from electralab.report.tables.glue import row_counts
from electralab.report.tables.lora_grid import grid_methods
from electralab.report.tables.score_cells import (
    difference_text,
    majority_notes,
    majority_scores,
    marks,
    score_text,
    summary_fields,
)

KINDS = (
    *(FULL, "linear_probe", "lora", "rslora", "dora", "qlora", "adalora"),
    *("prefix", "prompt", "ia3", "loha", "lokr", "oft", "in_context"),
)
IN_CONTEXT = "in_context"
AS_PUBLISHED = "as_published"
OPTIONS = ("rank", "alpha", "targets", "storage", "virtual_tokens", "block_size", "shots")
# Columns of the CSV and the columns of `runs.csv` that fill them: the first that is filled.
MEASURED = {
    "trainable_parameters": ("metric.trainable_parameters", "parameters.trainable"),
    "head_parameters": ("metric.head_parameters", "parameters.head"),
    "base_parameters": ("metric.base_parameters", "parameters.total"),
    "adapter_bytes": ("metric.adapter_bytes",),
    "weights_bytes": ("metric.weights_bytes",),
    "train_seconds": ("metric.train_seconds",),
    "peak_rss_bytes": ("cost.peak_rss_bytes",),
    "peak_gpu_bytes": ("cost.peak_gpu_bytes",),
    "inference_seconds": ("metric.inference_seconds",),
    "inference_seconds_unmerged": ("metric.inference_seconds_unmerged",),
    "inference_seconds_merged": ("metric.inference_seconds_merged",),
    "merge_error": ("metric.merge_error",),
}
COLUMNS = (
    *("row", "model", "task", "method", "kind", "recipe", "metric", "seeds"),
    *("median", "mean", "low", "high", "worst", "best"),
    *(
        "over_rows_low",
        "over_rows_high",
        "reference",
        "paired_seeds",
        "difference",
        "difference_low",
        "difference_high",
    ),
    *("degenerate_runs", "majority_rate", "at_or_below_majority"),
    *("learning_rates", "epochs", "train_rows", "validation_rows", *OPTIONS),
    *("trainable_parameters", "head_parameters", "adapter_parameters", "base_parameters", "trainable_share"),
    *("stored_bytes", "adapter_bytes", "weights_bytes", "train_seconds", "peak_rss_bytes", "peak_gpu_bytes"),
    *("inference_seconds", "inference_seconds_unmerged", "inference_seconds_merged", "merge_error"),
)


@dataclass(frozen=True)
class Entry:
    """One method on one task with one model; `score` is None where no run is finished.

    Methods of one kind and the same `options` differ in their recipe alone, or in how they are trained.
    """

    model: str
    cell: Cell
    kind: str
    options: str
    recipe: str
    score: Summary | None
    over_rows: tuple[float, float] | None  # 95 % interval of the median accuracy over rows like those scored
    reference: str | None
    difference: Difference | None
    costs: dict[str, float | None]


def adapters(results: Results) -> Table:
    """A section for every task and model, a row for every method, full fine-tuning first."""
    runs, every = results.runs, entries(results.runs)
    frame = pd.DataFrame([_columns(runs, entry) for entry in every], columns=list(COLUMNS))
    if not every:
        about = "No adapter, linear probe or prompt was run in this experiment: there is nothing to compare."
        return Table("Adapters", about, frame, [], footnotes.unfinished(runs))
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in every:
        groups.setdefault((entry.cell.task, entry.model), []).append(entry)
    sections = [_section(runs, task, model, own) for (task, model), own in groups.items()]
    return Table("Adapters", _about(runs, every), frame, sections, _notes(results, every))


def entries(runs: Runs) -> list[Entry]:
    """Every method of the tasks and models that have more than full fine-tuning.

    Those of grids, and those that stand beside themselves with other learning rates, have tables of their own.
    """
    of_grids, of_protocols = grid_methods(runs), protocol_methods(runs)
    asked = set(zip(runs.frame["model"], runs.frame["task"], runs.frame["method"]))
    found = []
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for model in runs.finetuned_models:
            methods = [m for m in runs.kinds if (model, task, m) in asked and m not in of_grids]
            others = [m for m in methods if (model, task, m) not in of_protocols]
            if any(runs.kinds[method] != FULL for method in others):
                methods = others
            if any(runs.kinds[method] != FULL for method in methods):
                full = _reference(runs, task, model, methods)
                ordered = sorted(methods, key=lambda method: method_order(runs, method))
                found += [_entry(runs, model, Cell(task, method), full) for method in ordered]
    return found


def _reference(runs: Runs, task: str, model: str, methods: Sequence[str]) -> Cell | None:
    """What the others are compared with: the method called `full`, or the first that trains everything."""
    full = [m for m in methods if runs.kinds[m] == FULL and runs.by_seed(Cell(task, m), model)]
    return Cell(task, FULL if FULL in full else full[0]) if full else None


def method_order(runs: Runs, method: str) -> tuple[int, str, bool]:
    """Methods by kind; two recipes with the same options side by side, the fixed one first."""
    kind = runs.kinds[method]
    place = KINDS.index(kind) if kind in KINDS else len(KINDS)
    return place, _options(runs, method), runs.setting(method, "recipe") == AS_PUBLISHED


def _options(runs: Runs, method: str) -> str:
    """A text that sorts methods of one kind by their options."""
    values = [runs.setting(method, name) for name in (*OPTIONS, "initial_rank", "target_rank")]
    return " ".join(f"{float(value):012.4f}" if isinstance(value, Real) else str(value or "-") for value in values)


def _entry(runs: Runs, model: str, cell: Cell, full: Cell | None) -> Entry:
    by_seed = runs.by_seed(cell, model)
    compared = full if full != cell else None
    difference = score_difference(by_seed, runs.by_seed(compared, model), None) if compared else None
    return Entry(
        model,
        cell,
        runs.kinds[cell.method],
        _options(runs, cell.method),
        str(runs.setting(cell.method, "recipe") or ""),
        summarize(list(by_seed.values())) if by_seed else None,
        _over_rows(runs, model, cell),
        compared.method if compared else None,
        difference,
        {name: runs.typical(cell, model, *columns) for name, columns in MEASURED.items()},
    )


def _over_rows(runs: Runs, model: str, cell: Cell) -> tuple[float, float] | None:
    """Wilson's interval of an accuracy; None for other metrics."""
    accuracy, rows = runs.typical(cell, model, "metric.score"), runs.typical(cell, model, "metric.validation_rows")
    if runs.metric(cell.task) != "accuracy" or accuracy is None or not rows:
        return None
    return wilson_interval(accuracy, int(rows))


def without_head(entry: Entry) -> float | None:
    """Trained parameters that are not the head's."""
    trained, head = entry.costs["trainable_parameters"], entry.costs["head_parameters"]
    return None if trained is None or head is None else trained - head


def trainable_share(entry: Entry) -> float | None:
    """Trained parameters, the head's included, over all parameters of the model."""
    trained, base = entry.costs["trainable_parameters"], entry.costs["base_parameters"]
    return None if trained is None or not base else trained / base


def stored_bytes(frozen: float | None, trained: float | None, kind: str) -> float | None:
    """Bytes of the frozen weights as they are stored, and of what is trained, in fp32. None: not known."""
    if trained is None or (frozen is None and kind != FULL):
        return None
    return (frozen or 0.0) + 4 * trained


def _stored(entry: Entry) -> float | None:
    return stored_bytes(entry.costs["weights_bytes"], entry.costs["trainable_parameters"], entry.kind)


def _columns(runs: Runs, entry: Entry) -> dict[str, Any]:
    model, cell, difference = entry.model, entry.cell, entry.difference
    row: dict[str, Any] = {"row": runs.title(model), "model": model, "task": cell.task, "method": cell.method}
    row |= {"kind": entry.kind, "recipe": entry.recipe, "metric": runs.metric(cell.task)}
    row |= summary_fields(entry.score) | {"reference": entry.reference}
    row |= dict(zip(("over_rows_low", "over_rows_high"), entry.over_rows or (None, None)))
    if difference:
        row |= {"paired_seeds": difference.n, "difference": difference.mean}
        row |= {"difference_low": difference.low, "difference_high": difference.high}
    row |= {
        "degenerate_runs": runs.degenerate_runs(cell, model),
        "majority_rate": runs.typical(cell, model, "metric.majority_rate"),
        "at_or_below_majority": runs.at_majority(cell, model),
    }
    row |= {name: runs.setting(cell.method, name) for name in ("learning_rates", *OPTIONS)}
    row |= {name: runs.typical(cell, model, f"metric.{name}") for name in ("epochs", "train_rows", "validation_rows")}
    row |= entry.costs
    derived = {"adapter_parameters": without_head(entry), "trainable_share": trainable_share(entry)}
    return row | derived | {"stored_bytes": _stored(entry)}


def _about(runs: Runs, every: Sequence[Entry]) -> str:
    methods = {entry.cell.method for entry in every}
    rows = runs.finetuned[runs.finetuned["method"].isin(methods)]
    return (
        f"{footnotes.measured(rows, 'fine-tunings')} Validation scores: the median over seeds, in brackets the 95 % "
        "interval of the mean over them (Student t), and the number of seeds n; one seed gives no interval. "
        "`Over rows`: 95 % interval of the median accuracy over other rows like those scored (Wilson); `Rows`: how "
        "many were scored. `Minus full`: mean of the differences to full fine-tuning on the seeds that both have, with "
        "its interval over these seeds. Counts, bytes, seconds and memory are medians over seeds. Inference: seconds "
        "per 100 validation rows, as the recipe deploys the model, and with the adapter beside and folded into the "
        "weights. `Merge error`: the largest difference of a logit between these two. A dash: not measured, or not "
        "possible."
    )


HEADS = (
    *("Method", "Recipe", "Score", "Over rows", "Rows", "Minus full"),
    *("Trained parameters", "Without the head", "% of all", "Weights (MB)", "Adapter (kB)"),
    *("Training (s)", "Peak memory (MB)", "Inference (s)", "Adapter beside (s)", "Merged (s)", "Merge error"),
)


def _section(runs: Runs, task: str, model: str, own: Sequence[Entry]) -> Section:
    rows = [_text(runs, entry) for entry in own]
    for majority in majority_scores(runs, task, model, [entry.cell for entry in own]):
        scored = count(majority.rows)
        rows.append([majority.name, "", number(majority.score), "", scored, *[""] * (len(HEADS) - 5)])
    heading = f"{task}, {runs.title(model)} ({METRICS[runs.metric(task)]})"
    return Section(heading, HEADS, rows, text=("Recipe",))


def _text(runs: Runs, entry: Entry) -> list[str]:
    costs, share = entry.costs, trainable_share(entry)
    memory = costs["peak_gpu_bytes"] or costs["peak_rss_bytes"]
    score = f"{score_text(entry.score)}{marks(runs, entry.cell, entry.model)}"
    return [
        entry.cell.method,
        _recipe(runs, entry),
        score,
        ABSENT if entry.over_rows is None else f"[{number(entry.over_rows[0])}, {number(entry.over_rows[1])}]",
        count(runs.typical(entry.cell, entry.model, "metric.validation_rows")),
        difference_text(entry.difference),
        count(costs["trainable_parameters"]),
        count(without_head(entry)),
        ABSENT if share is None else f"{100 * share:.3g}",
        _divided(_stored(entry), 1e6, 1),
        _divided(costs["adapter_bytes"], 1e3, 1),
        number(costs["train_seconds"], 1),
        _divided(memory, 1e6, 0) + (" (GPU)" if costs["peak_gpu_bytes"] else ""),
        *(number(costs[f"inference_seconds{which}"]) for which in ("", "_unmerged", "_merged")),
        "0" if costs["merge_error"] == 0 else scientific(costs["merge_error"]),
    ]


def _recipe(runs: Runs, entry: Entry) -> str:
    if entry.kind == IN_CONTEXT:
        return f"{runs.setting(entry.cell.method, 'shots'):g} examples"
    return "as published" if entry.recipe == AS_PUBLISHED else entry.recipe


def _divided(value: float | None, unit: float, digits: int) -> str:
    return ABSENT if value is None else f"{value / unit:,.{digits}f}"


def _notes(results: Results, every: Sequence[Entry]) -> list[str]:
    runs, cells = results.runs, list(dict.fromkeys(entry.cell for entry in every))
    used = {entry.model for entry in every}
    notes = [
        f"`{model}` was not pretrained here: `{origin}`." for model, origin in runs.origins.items() if model in used
    ]
    several = {entry.reference for entry in every} - {None, FULL}
    if several:
        notes.append(f"`Minus full` is against {listing(sorted(f'`{name}`' for name in several if name))}.")
    notes += learning_rate_notes(runs, cells) + _as_published(runs, every) + _collapse(results, every)
    notes += footnotes.degenerate(runs, cells, runs.title) + majority_notes(runs, cells)
    notes += _not_above_majority(runs, every)
    if of_protocols := sorted({method for *_, method in protocol_methods(runs)}):
        named = listing([f"`{method}`" for method in of_protocols])
        notes.append(f"Run with one learning rate or with several to choose from, in the table `protocols`: {named}.")
    of_grids = sorted(set(grid_methods(runs).values()))
    if of_grids:
        notes.append(f"The methods of {listing([f'`{name}`' for name in of_grids])} stand in the table `lora_grid`.")
    notes += _other_rows(runs, every)
    notes.append(
        "`% of all` is over all parameters of the model with its head, 4-bit weights counted one by one. `Weights`: "
        "what is frozen as it is stored (4-bit weights with their scales), and what is trained in fp32. Peak memory is "
        "that of the GPU where there is one, else of the whole process with Python and its libraries."
    )
    return notes + row_counts(runs, cells) + footnotes.sampling(runs, cells) + footnotes.unfinished(runs)


def _not_above_majority(runs: Runs, every: Sequence[Entry]) -> list[str]:
    """Methods above the most frequent label by no more than the rows that they were scored on allow to say."""
    found = []
    for entry in every:
        rate = runs.typical(entry.cell, entry.model, "metric.majority_rate")
        if entry.over_rows is None or rate is None or runs.at_majority(entry.cell, entry.model):
            continue
        if entry.over_rows[0] <= rate:
            found.append(f"`{entry.cell.method}` ({entry.cell.task}, {runs.title(entry.model)})")
    if not found:
        return []
    return [f"Above the majority class, which however lies in their interval over rows: {listing(found)}."]


def _other_rows(runs: Runs, every: Sequence[Entry]) -> list[str]:
    """Methods that were scored on other numbers of validation rows than the rest: their scores do not compare."""
    notes = []
    for task, model in dict.fromkeys((entry.cell.task, entry.model) for entry in every):
        own = [entry for entry in every if (entry.cell.task, entry.model) == (task, model)]
        scored = {e.cell.method: runs.typical(e.cell, model, "metric.validation_rows") for e in own if e.score}
        if len(set(scored.values())) > 1:
            parts = [f"`{method}` {count(rows)}" for method, rows in scored.items()]
            notes.append(f"{task}, {runs.title(model)}: scored on different numbers of rows: {listing(parts)}.")
    return notes


def _as_published(runs: Runs, every: Sequence[Entry]) -> list[str]:
    """What the recipe `as_published` did in these runs."""
    methods = list(dict.fromkeys(entry.cell.method for entry in every if entry.recipe == AS_PUBLISHED))
    if not methods:
        return []
    said = []
    checkpointed = [method for method in methods if runs.setting(method, "gradient_checkpointing") in (True, "True")]
    beside = [method for method in methods if runs.setting(method, "merge_for_inference") in (False, "False")]
    packed = [method for method in methods if runs.kinds[method] == "qlora"]
    for who, what in (
        (checkpointed, "gradient checkpointing switched on"),
        (beside, "the adapter timed beside the weights instead of merged"),
        (packed, "the head caught in low-bit storage and left untrained"),
    ):
        if who:
            said.append(f"{what} ({listing([f'`{method}`' for method in who])})")
    return [
        f"`as published` repeats the mistakes of the published study: {'; '.join(said) or 'none for these methods'}."
    ]


def _collapse(results: Results, every: Sequence[Entry]) -> list[str]:
    """The published QLoRA beside ours that repeats its mistake on the same task."""
    runs = results.runs
    own = [
        f"{entry.cell.method}, {runs.title(entry.model)}: accuracy "
        f"{number(runs.typical(entry.cell, entry.model, 'metric.accuracy'))}, F1 "
        f"{number(runs.typical(entry.cell, entry.model, 'metric.f1'))}"
        for entry in every
        if entry.kind == "qlora" and entry.recipe == AS_PUBLISHED and runs.glue(entry.cell.task) == "mrpc"
    ]
    published = qlora_collapse(results.published)
    return [f"{published} The same set-up here: {'; '.join(own)}."] if own and published else []
