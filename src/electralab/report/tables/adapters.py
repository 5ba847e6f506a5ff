"""Table `adapters`: what each way of fine-tuning gives and costs, beside training every parameter."""

from __future__ import annotations

from collections.abc import Sequence

from electralab.report import footnotes
from electralab.report.entries import (
    AS_PUBLISHED,
    IN_CONTEXT,
    MEASURED,
    OPTIONS,
    Entry,
    cost,
    entries,
    grouped,
)
from electralab.report.grid import Column, Section, Table, frame, section, summary_columns
from electralab.report.learning_rates import learning_rate_notes
from electralab.report.protocols import protocol_methods
from electralab.report.published import qlora_collapse
from electralab.report.rank_alpha import grid_methods
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Runs
from electralab.report.tables.downstream import row_counts
from electralab.report.tables.score_cells import difference_text, majority_notes, majority_scores, marks, score_text
from electralab.report.text import count, divided, listing, number, percentage


def table(results: Results) -> Table:
    """A section for every task and model, a row for every method, full fine-tuning first.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs, every = results.runs, entries(results.runs)
    if runs.finetunings.empty:
        raise results.nothing("fine-tuning run")
    numbers = frame(every, _csv(runs))
    if not every:
        about = "No adapter, linear probe or prompt was run in this experiment: there is nothing to compare."
        return Table("Adapters", about, numbers, [], footnotes.unfinished(runs))
    sections = [part for place, own in grouped(every).items() for part in _sections(runs, *place, own)]
    return Table("Adapters", _about(runs, every), numbers, sections, _notes(results, every))


def _csv(runs: Runs) -> list[Column[Entry]]:
    def rows(name: str) -> Column[Entry]:
        return Column(name, lambda entry: runs.typical(entry.cell, entry.model, f"metric.{name}"))

    def setting(name: str) -> Column[Entry]:
        return Column(name, lambda entry: runs.setting(entry.cell.method, name))

    return [
        Column("row", lambda entry: runs.title(entry.model)),
        Column("model", lambda entry: entry.model),
        Column("task", lambda entry: entry.cell.task),
        Column("method", lambda entry: entry.cell.method),
        Column("kind", lambda entry: entry.kind),
        Column("recipe", lambda entry: entry.recipe),
        Column("metric", lambda entry: runs.metric(entry.cell.task)),
        *summary_columns(lambda entry: entry.score),
        Column("over_rows_low", lambda entry: entry.over_rows and entry.over_rows[0]),
        Column("over_rows_high", lambda entry: entry.over_rows and entry.over_rows[1]),
        Column("reference", lambda entry: entry.reference),
        Column("paired_seeds", lambda entry: entry.difference and entry.difference.n),
        Column("difference", lambda entry: entry.difference and entry.difference.mean),
        Column("difference_low", lambda entry: entry.difference and entry.difference.low),
        Column("difference_high", lambda entry: entry.difference and entry.difference.high),
        Column("degenerate_runs", lambda entry: runs.degenerate_runs(entry.cell, entry.model)),
        rows("majority_rate"),
        Column("at_or_below_majority", lambda entry: runs.at_majority(entry.cell, entry.model)),
        *map(setting, ("learning_rates", *OPTIONS)),
        *map(rows, ("epochs", "train_rows", "validation_rows")),
        *(Column(name, cost(name)) for name in MEASURED),
        Column("adapter_parameters", lambda entry: entry.without_head),
        Column("trainable_share", lambda entry: entry.trainable_share),
        Column("stored_bytes", lambda entry: entry.stored_bytes),
    ]


def _about(runs: Runs, every: Sequence[Entry]) -> str:
    rows = runs.rows_of(entry.arm for entry in every)
    return (
        f"{footnotes.measured(rows, 'fine-tunings')} Validation scores: the mean over seeds, in brackets its 95 % "
        "interval (Student t), and the number of seeds n; one seed gives no interval. "
        "`Rows`: how many were scored. `Minus full`: mean of the differences to full fine-tuning on the seeds that "
        "both have, with its interval over these seeds. Counts, bytes, seconds and memory are medians over seeds. "
        "Training: seconds of all learning rates that a run tries. Inference: seconds "
        "per 100 validation rows, as the recipe deploys the model, and with the adapter beside and folded into the "
        "weights. A dash: not measured, or not possible."
    )


def _sections(runs: Runs, task: str, model: str, own: Sequence[Entry]) -> list[Section]:
    scores = section(f"{task}, {runs.title(model)} ({METRICS[runs.metric(task)]})", own, _score_columns(runs))
    for majority in majority_scores(runs, task, model, [entry.cell for entry in own]):
        scores = scores.plus({"Method": majority.name, "Score": number(majority.score), "Rows": count(majority.rows)})
    return [scores, section(f"{task}, {runs.title(model)}: size and cost", own, COST)]


METHOD: Column[Entry] = Column("", lambda entry: entry.cell.method, "Method")


def _score_columns(runs: Runs) -> list[Column[Entry]]:
    return [
        METHOD,
        Column("", lambda entry: _recipe(runs, entry), "Recipe", left=True),
        Column("", lambda entry: f"{score_text(entry.score)}{marks(runs, entry.cell, entry.model)}", "Score"),
        Column("", lambda entry: entry.difference, "Minus full", difference_text),
        Column("", lambda entry: runs.typical(entry.cell, entry.model, "metric.validation_rows"), "Rows", count),
        Column("", cost("trainable_parameters"), "Trained parameters", count),
        Column("", lambda entry: entry.without_head, "Without the head", count),
        Column("", lambda entry: entry.trainable_share, "% of all", percentage),
    ]


COST: list[Column[Entry]] = [
    METHOD,
    Column("", lambda entry: entry.stored_bytes, "Weights (MB)", divided(1e6, 1)),
    Column("", cost("adapter_bytes"), "Adapter (kB)", divided(1e3, 1)),
    Column("", cost("train_seconds"), "Training (s)", lambda seconds: number(seconds, 1)),
    Column("", cost("cpu_seconds"), "CPU (s)", lambda seconds: number(seconds, 1)),
    Column("", lambda entry: _peak(entry), "Peak memory (MB)"),
    Column("", cost("inference_seconds"), "Inference (s)", number),
    Column("", cost("inference_seconds_unmerged"), "Adapter beside (s)", number),
    Column("", cost("inference_seconds_merged"), "Merged (s)", number),
]


def _peak(entry: Entry) -> str:
    gpu = entry.costs["peak_gpu_bytes"]
    return divided(1e6, 0)(gpu or entry.costs["peak_rss_bytes"]) + (" (GPU)" if gpu else "")


def _recipe(runs: Runs, entry: Entry) -> str:
    if entry.kind == IN_CONTEXT:
        return f"{runs.setting(entry.cell.method, 'shots'):g} examples"
    return "as published" if entry.recipe == AS_PUBLISHED else entry.recipe


def _notes(results: Results, every: Sequence[Entry]) -> list[str]:
    runs, arms = results.runs, [entry.arm for entry in every]
    cells = list(dict.fromkeys(entry.cell for entry in every))
    used = {entry.model for entry in every}
    notes = [
        f"`{model}` was not pretrained here: `{origin}`." for model, origin in runs.origins.items() if model in used
    ]
    several = {entry.reference for entry in every} - {None, FULL}
    if several:
        notes.append(f"`Minus full` is against {listing(sorted(f'`{name}`' for name in several if name))}.")
    notes += learning_rate_notes(runs, arms) + _as_published(runs, every) + _collapse(results, every)
    notes += footnotes.degenerate(runs, arms, runs.title) + majority_notes(runs, arms)
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
    return notes + row_counts(runs, cells) + footnotes.sampling(runs, arms) + footnotes.unfinished(runs)


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
    checkpointed = [method for method in methods if runs.setting(method, "gradient_checkpointing") is True]
    beside = [method for method in methods if runs.setting(method, "merge_for_inference") is False]
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
