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
from electralab.report.statistics.differences import difference_text
from electralab.report.tables.score_cells import difference_cell, majority_scores, score_text
from electralab.report.text import count, divided, listing, named, number, percentage


def table(results: Results) -> Table:
    """A section for every task and model, a row for every method, full fine-tuning first.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    every = entries(runs)
    numbers = frame(every, _csv(runs))
    if not every:
        about = "No adapter, linear probe or prompt was run in this experiment: there is nothing to compare."
        return Table("Adapters", about, numbers, footnotes.failed(runs))
    groups = grouped(every)
    sections = [part for place, own in groups.items() for part in _sections(runs, *place, own)]
    return Table(
        "Adapters",
        _about(runs, every),
        numbers,
        [*sections, *footnotes.failed(runs)],
        _notes(results, every),
        [_answer(runs, task, model, own) for (task, model), own in groups.items()],
    )


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
        Column("paired_seeds", lambda entry: entry.difference and entry.difference.seeds),
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
        f"{footnotes.measured(rows, 'fine-tunings')} Validation scores: mean over "
        "seeds, in brackets its 95 % interval (Student t), n seeds; one seed has no interval. `Minus full`: the "
        "difference to full fine-tuning on the seeds and rows that both have; its 95 % interval covers both. Counts, "
        "bytes, seconds and memory: medians over seeds. A dash: not measured, or not possible."
        f"{footnotes.sampling(runs, [entry.arm for entry in every])}"
    )


def _answer(runs: Runs, task: str, model: str, own: Sequence[Entry]) -> str:
    """What the methods give beside full fine-tuning, in one or two sentences."""
    full = next((entry for entry in own if entry.kind == FULL and entry.score), None)
    others = [entry for entry in own if entry.kind != FULL and entry.score]
    where = f"**{task}, {runs.title(model)}:**"
    if not others:
        return f"{where} no finished run but of full fine-tuning."
    best = max(others, key=_mean)
    best_text = f"`{best.cell.method}` {score_text(best.score)}"
    if full is None:
        return f"{where} best is {best_text}."
    by_verdict: dict[str, list[str]] = {}
    for entry in others:
        if entry.difference:
            text = f"`{entry.cell.method}` {difference_text(entry.difference)}"
            by_verdict.setdefault(entry.difference.verdict, []).append(text)
    parts = [f"{said} {listing(by_verdict[verdict])}" for verdict, said in VERDICTS.items() if verdict in by_verdict]
    scores = f"full fine-tuning {score_text(full.score)}, best other method {best_text}"
    return f"{where} {scores}. Minus full: {'; '.join(parts)}."


def _mean(entry: Entry) -> float:
    assert entry.score is not None, "only finished methods are compared"
    return entry.score.mean


VERDICTS = {
    "higher": "better are",
    "unclear": "no difference shown for",
    "lower": "worse are",
    "unknown": "one common seed, no verdict for",
}


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
        Column("", lambda entry: f"{score_text(entry.score)}{footnotes.mark(runs, entry.arm)}", "Score"),
        Column("", lambda entry: entry.difference, "Minus full", difference_cell),
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
    Column("", cost("cpu_seconds"), "CPU, whole run (s)", lambda seconds: number(seconds, 1)),
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
    several = sorted({entry.reference for entry in every if entry.reference} - {FULL})
    reference = f" `Minus full` is against {named(several)}." if several else ""
    notes = [
        "`% of all` is over all parameters of the model with its head, 4-bit weights counted one by one. `Weights`: "
        "what is frozen as it is stored (4-bit weights with their scales), and what is trained in fp32. Training: "
        "seconds of all learning rates that a run tries. Peak memory, of training: that of the GPU where there is one, "
        "else of the whole process with Python and its libraries. Inference: seconds per 100 validation rows, as the "
        "recipe deploys the model, and with the adapter beside and folded into the weights. Implementations differ: "
        "full fine-tuning and the linear probe of an encoder run in this project's own, whose last layer computes the "
        "first token alone; adapters, merged ones too, in that of Transformers. So seconds of the two are no "
        f"difference of the methods.{reference}"
    ]
    notes += [" ".join(said)] if (said := _as_published(runs, every) + _collapse(results, every)) else []
    notes += [" ".join(said)] if (said := learning_rate_notes(runs, arms)) else []
    notes += footnotes.marked(runs, arms)
    elsewhere = [_of_protocols(runs), _of_grids(runs)]
    notes += [" ".join(filter(None, elsewhere))] if any(elsewhere) else []
    cells = list(dict.fromkeys(entry.cell for entry in every))
    about_rows = _other_rows(runs, every) + footnotes.row_counts(runs, cells) + footnotes.different_rows(runs, cells)
    notes += [" ".join(about_rows)] if about_rows else []
    return notes + _heads(runs, every)


def _of_protocols(runs: Runs) -> str:
    methods = sorted({method for *_, method in protocol_methods(runs)})
    return f"With one learning rate or with several, in the table `protocols`: {named(methods)}." if methods else ""


def _of_grids(runs: Runs) -> str:
    methods = sorted(set(grid_methods(runs).values()))
    return f"The methods of {named(methods)} stand in the table `lora_grid`." if methods else ""


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


def _heads(runs: Runs, every: Sequence[Entry]) -> list[str]:
    """Where full fine-tuning trains another head than the adapters beside it, which is part of `Minus full`."""
    parts = []
    for (task, model), own in grouped(every).items():
        headed = [entry for entry in own if entry.costs["head_parameters"]]
        full = [entry for entry in headed if entry.kind == FULL]
        adapted = [entry for entry in headed if entry.kind not in (FULL, "linear_probe")]
        same_size = len({entry.costs["head_parameters"] for entry in (*full, *adapted)}) == 1
        same_kind = all(runs.setting(entry.cell.method, "head") == "huggingface" for entry in full)
        if full and adapted and not (same_size and same_kind):
            sizes = (f"`{entry.cell.method}` {count(entry.costs['head_parameters'])}" for entry in headed)
            parts.append(f"{task}, {runs.title(model)} (parameters): {listing(list(sizes))}")
    if not parts:
        return []
    return [
        "Heads differ, which is part of `Minus full`. Full fine-tuning has the head that its `head` says, on the first "
        "token itself; adapters have that of Transformers, which for ELECTRA and DistilBERT is a dense layer and a "
        f"linear one, and for BERT a linear layer behind the pooler. {'; '.join(parts)}."
    ]


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
