"""Table `adapters`: what each way of fine-tuning gives and costs, beside training every parameter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pandas as pd

from electralab.report import footnotes
from electralab.report.markdown import ABSENT, Section, Table, count, listing, number, scientific
from electralab.report.published import qlora_collapse
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Cell, Runs
from electralab.report.statistics import Difference, Summary, score_difference, summarize
from electralab.report.tables.glue import row_counts
from electralab.report.tables.lora_grid import grid_methods, majority_notes, marks, score_text, summary_fields

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
    *("reference", "paired_seeds", "difference", "difference_low", "difference_high"),
    *("degenerate_runs", "majority_rate", "at_or_below_majority"),
    *("learning_rates", "epochs", "train_rows", "validation_rows", *OPTIONS),
    *("trainable_parameters", "head_parameters", "adapter_parameters", "base_parameters", "trainable_share"),
    *("adapter_bytes", "weights_bytes", "train_seconds", "peak_rss_bytes", "peak_gpu_bytes"),
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
    """Every method of the tasks and models that have more than full fine-tuning; grids have a table of their own."""
    of_grids = grid_methods(runs)
    asked = set(zip(runs.frame["model"], runs.frame["task"], runs.frame["method"]))
    found = []
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for model in runs.finetuned_models:
            methods = [m for m in runs.kinds if (model, task, m) in asked and m not in of_grids]
            if any(runs.kinds[method] != FULL for method in methods):
                full = _reference(runs, task, model, methods)
                ordered = sorted(methods, key=lambda method: _order(runs, method))
                found += [_entry(runs, model, Cell(task, method), full) for method in ordered]
    return found


def _reference(runs: Runs, task: str, model: str, methods: Sequence[str]) -> Cell | None:
    """What the others are compared with: the method called `full`, or the first that trains everything."""
    full = [m for m in methods if runs.kinds[m] == FULL and runs.by_seed(Cell(task, m), model)]
    return Cell(task, FULL if FULL in full else full[0]) if full else None


def _order(runs: Runs, method: str) -> tuple[int, str, bool]:
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
        compared.method if compared else None,
        difference,
        {name: runs.typical(cell, model, *columns) for name, columns in MEASURED.items()},
    )


def without_head(entry: Entry) -> float | None:
    """Trained parameters that are not the head's."""
    trained, head = entry.costs["trainable_parameters"], entry.costs["head_parameters"]
    return None if trained is None or head is None else trained - head


def trainable_share(entry: Entry) -> float | None:
    """Trained parameters, the head's included, over all parameters of the model."""
    trained, base = entry.costs["trainable_parameters"], entry.costs["base_parameters"]
    return None if trained is None or not base else trained / base


def _columns(runs: Runs, entry: Entry) -> dict[str, Any]:
    model, cell, difference = entry.model, entry.cell, entry.difference
    row: dict[str, Any] = {"row": runs.title(model), "model": model, "task": cell.task, "method": cell.method}
    row |= {"kind": entry.kind, "recipe": entry.recipe, "metric": runs.metric(cell.task)}
    row |= summary_fields(entry.score) | {"reference": entry.reference}
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
    return row | {"adapter_parameters": without_head(entry), "trainable_share": trainable_share(entry)}


def _about(runs: Runs, every: Sequence[Entry]) -> str:
    methods = {entry.cell.method for entry in every}
    rows = runs.finetuned[runs.finetuned["method"].isin(methods)]
    return (
        f"{footnotes.measured(rows, 'fine-tunings')} Validation scores: the median over seeds, in brackets the 95 % "
        "interval of the mean over them (Student t), and the number of seeds n; one seed gives no interval. `Minus "
        "full`: mean of the differences to full fine-tuning on the seeds that both have, with its interval over these "
        "seeds. Counts, bytes, seconds and memory are medians over seeds. Inference: seconds per 100 validation rows, "
        "as the recipe deploys the model, and with the adapter beside and folded into the weights. `Merge error`: the "
        "largest difference of a logit between these two. A dash: not measured, or not possible."
    )


HEADS = (
    *("Method", "Recipe", "Score", "Minus full", "Trained parameters", "Without the head", "% of all"),
    *("Adapter (kB)", "Training (s)", "Peak memory (MB)", "Inference (s)", "Adapter beside (s)", "Merged (s)"),
    "Merge error",
)


def _section(runs: Runs, task: str, model: str, own: Sequence[Entry]) -> Section:
    rows = [_text(runs, entry) for entry in own]
    score = majority_score(runs, task, model, own)
    if score is not None:
        rows.append(["majority class", "", number(score), *[""] * (len(HEADS) - 3)])
    heading = f"{task}, {runs.title(model)} ({METRICS[runs.metric(task)]})"
    return Section(heading, HEADS, rows, text=("Recipe",))


def majority_score(runs: Runs, task: str, model: str, own: Sequence[Entry]) -> float | None:
    """What the most frequent label scores on the rows of the trained methods; a prompt may be scored on fewer."""
    if runs.metric(task) != "accuracy":
        return runs.majority_score(task, runs.metric(task))
    ordered = sorted(own, key=lambda entry: entry.kind == IN_CONTEXT)
    rates = [runs.typical(entry.cell, model, "metric.majority_rate") for entry in ordered]
    return next((rate for rate in rates if rate is not None), None)


def _text(runs: Runs, entry: Entry) -> list[str]:
    costs, share = entry.costs, trainable_share(entry)
    memory = costs["peak_gpu_bytes"] or costs["peak_rss_bytes"]
    score = f"{score_text(entry.score)}{marks(runs, entry.cell, entry.model)}" if entry.score else f"{ABSENT} (n=0)"
    return [
        entry.cell.method,
        _recipe(runs, entry),
        score,
        _signed(entry.difference),
        count(costs["trainable_parameters"]),
        count(without_head(entry)),
        ABSENT if share is None else f"{100 * share:.3g}",
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


def _signed(difference: Difference | None) -> str:
    if difference is None:
        return ABSENT
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.3f} (n=1)"
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}] n={difference.n}"


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
    of_grids = sorted(set(grid_methods(runs).values()))
    if of_grids:
        notes.append(f"The methods of {listing([f'`{name}`' for name in of_grids])} stand in the table `lora_grid`.")
    notes += _other_rows(runs, every)
    notes.append(
        "`% of all` is over all parameters of the model with its head, 4-bit weights counted one by one. Peak memory "
        "is that of the GPU where there is one, else of the whole process with Python and its libraries."
    )
    return notes + row_counts(runs, cells) + footnotes.sampling(runs, cells) + footnotes.unfinished(runs)


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


def learning_rate_notes(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """Each method's learning rate, how it was chosen, and whether the methods had the same chances."""
    by_rates: dict[tuple[str, ...], list[str]] = {}
    for method in dict.fromkeys(cell.method for cell in cells):
        value = runs.setting(method, "learning_rates")
        if value is not None:
            rates = tuple(f"{float(rate):g}" for rate in str(value).split(";"))
            by_rates.setdefault(rates, []).append(method)
    if not by_rates:
        return []
    parts = [_rates(runs, rates, methods, cells) for rates, methods in by_rates.items()]
    notes = [f"Learning rates: {'; '.join(parts)}."]
    trained = [method for methods in by_rates.values() for method in methods]
    if len(trained) < 2:
        return notes
    if len(by_rates) == 1 and len(next(iter(by_rates))) == 1:
        return [
            *notes,
            "One learning rate for all methods, as in the published study of OPT's adapters: a method that needs "
            "another one scores below what it can do, so this is no ranking of methods.",
        ]
    budgets = {len(rates) for rates in by_rates}
    if len(budgets) == 1 and budgets != {1}:
        notes.append(
            f"Same budget for all methods: each run chose between {budgets.pop()} learning rates of its method."
        )
    elif len(budgets) > 1:
        notes.append("Methods with more learning rates to choose from had the larger budget.")
    return notes


def _rates(runs: Runs, rates: tuple[str, ...], methods: Sequence[str], cells: Sequence[Cell]) -> str:
    who = listing([f"`{method}`" for method in methods])
    if len(rates) == 1:
        return f"{rates[0]}, set in the config, for {who}"
    chosen = Counter(
        f"{rate:g}"
        for cell in cells
        if cell.method in methods
        for rate in runs.cell_rows(cell).get("metric.learning_rate", pd.Series(dtype=float)).dropna()
    )
    picked = listing([f"{rate} in {chosen[rate]} runs" for rate in rates if chosen[rate]])
    return (
        f"the best of {len(rates)} ({listing(rates)}) on a tuning part of each run's own training rows for {who} "
        f"(chosen: {picked})"
    )


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
