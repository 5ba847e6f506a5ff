"""Table `vs_published`: our scores beside published ones, with protocols, and whether they may be compared."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from electralab.catalogue import TABLES
from electralab.report import footnotes
from electralab.report.compression import compressed, pruned
from electralab.report.grid import Section, Table
from electralab.report.published import published_sizes, qlora_collapse
from electralab.report.published.comparability import Verdict
from electralab.report.published.matching import YARDSTICKS, pairs
from electralab.report.published.ours import Ours
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Runs
from electralab.report.text import listing

COLUMNS = (
    *("row", "model", "task_id", "metric", "method", "recipe", "seeds", "ours"),
    *("system", "their_model", "their_method", "published", "difference", "comparable", "why"),
    *("split", "protocol", "source", "notes"),
)
HEADS = (
    *("Task", "Method", "Ours", "Published", "Difference"),
    *("Their model", "Their method", "Source", "Their protocol", "Comparable"),
)


def table(results: Results) -> Table:
    """Every score of ours with a published counterpart: value, difference, their protocol, comparable or not, why.

    A method stands beside published ones of its kind. Adapters also stand beside what is trained and stored in theirs.
    """
    runs, title = results.finetuned, TABLES["vs_published"].title
    found = list(pairs(runs, results.published))
    frame = pd.DataFrame([_row(runs, *pair) for pair in found], columns=list(COLUMNS))
    if not found:
        return Table(title, _nothing(runs), frame, footnotes.failed(runs))
    sections = [
        Section(runs.title(str(model)), HEADS, [_text(row) for row in own.to_dict("records")], ("Method", *HEADS[5:]))
        for model, own in frame.groupby("model", sort=False)
    ]
    about = (
        f"{footnotes.measured(runs.finetuned, 'fine-tunings')} ELECTRA's published scores are medians of ten runs, so "
        "ours are medians over n seeds here, and means on every other page (an average: the mean of its tasks' "
        "medians). The difference is ours minus theirs. `Comparable` says `no` where something is known to differ, "
        "`roughly` where the protocol alone does or theirs is not stated, and what it is."
    )
    return Table(title, about, frame, [*sections, *footnotes.failed(runs)], _notes(results, found))


def _nothing(runs: Runs) -> str:
    if not any(runs.glue(cell.task) for cell in runs.cells):
        return "No GLUE task was fine-tuned in this experiment: there is no published number to put beside its scores."
    return "No finished fine-tuning of this experiment has a published counterpart."


def _row(runs: Runs, ours: Ours, theirs: Mapping[Hashable, Any], verdict: Verdict) -> dict[str, Any]:
    own = {name: getattr(ours, name) for name in ("model", "metric", "method", "seeds")}
    named = {"their_model": theirs["model"], "their_method": theirs["method"], "published": theirs["value"]}
    return {
        "row": runs.title(ours.model),
        "task_id": ours.id,
        "recipe": ";".join(sorted({str(runs.setting(method, "recipe") or "") for method in ours.methods})),
        "ours": ours.value,
        "difference": ours.value - theirs["value"],
        "comparable": verdict.comparable,
        "why": verdict.why,
        **own,
        **named,
        **{name: theirs[name] for name in ("system", "split", "protocol", "source", "notes")},
    }


def _text(row: Mapping[Hashable, Any]) -> list[str]:
    metric = METRICS.get(row["metric"], row["metric"])
    return [
        f"{row['task_id']} ({metric.replace('_', ' ')})",
        row["method"],
        f"{_value(row['metric'], row['ours'])} (n={row['seeds']})",
        _value(row["metric"], row["published"]),
        _value(row["metric"], row["difference"], "+"),
        row["their_model"],
        row["their_method"],
        row["system"],
        row["protocol"] or "not stated",
        f"{row['comparable']}{': ' if row['why'] else ''}{row['why']}",
    ]


def _value(metric: str, value: float, sign: str = "") -> str:
    """A score, a number of parameters, a share in percent or megabytes."""
    if metric == "trainable":
        return f"{value:{sign},.0f}"
    if metric in ("trainable_share", "size_share"):
        return f"{100 * value:{sign}.2f} %"
    return f"{value:{sign}.1f} MB" if metric in ("gpu_memory", "size", "parameter_memory") else f"{value:{sign}.3f}"


def _notes(results: Results, found: list[tuple[Ours, Mapping[Hashable, Any], Verdict]]) -> list[str]:
    notes = [
        "Published numbers, their sources, units and set-ups: `reference/published_results.csv` and its README.",
        f"A model without published numbers of its own stands beside ELECTRA-Small's of {listing(YARDSTICKS)}, for "
        "scale only.",
    ]
    if any(not results.runs.is_downloaded(ours.model) for ours, _, _ in found):
        notes.append("Pretraining texts are compared by name, and tokenizers are not compared.")
    small, sparse = compressed(results.runs), pruned(results.runs)
    others = [(ours, theirs) for ours, theirs, _ in found if theirs["method_kind"] != FULL]
    adapters = dict.fromkeys(theirs["system"] for ours, theirs in others if ours.method not in small | sparse)
    if adapters:
        notes.append(
            f"Adapters stand beside {listing(list(adapters))}: of every table there the row of the same kind with the "
            "nearest rank and alpha; where the model has no such row, other models', for scale only."
        )
    if any(ours.method in sparse for ours, _ in others):
        notes.append(
            "Pruned models stand beside rows of the same criterion and structure with the nearest sparsity; inference "
            "times on another machine are not compared."
        )
    if any(ours.method in small for ours, _ in others):
        notes.append(published_sizes(results.published))
    untrained = any(theirs["method_kind"] == "qlora" and theirs["trained_head"] == "no" for _, theirs, _ in found)
    collapse = qlora_collapse(results.published) if untrained else None
    return notes + ([collapse] if collapse else [])
