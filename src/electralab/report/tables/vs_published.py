"""Table `vs_published`: our scores beside the published ones, and whether they may be compared."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import pandas as pd

from electralab.report import footnotes
from electralab.report.grid import Section, Table
from electralab.report.published import SMALL, SMALL_RELEASED, STUDIES, qlora_collapse
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Cell, Runs, parse_model
from electralab.report.scores import Average, averages, scores
from electralab.report.tables.published_adapters import methods_differ, nearest, same_collapse, sizes, with_kinds
from electralab.report.text import count, listing

# What a model without published numbers of its own is shown against: the paper and its authors' code.
YARDSTICKS = ("electra_paper", "google_electra")
SMALL_STEPS = 1_000_000
SMALL_SHAPE = (12, 256)  # layers, hidden size
# MNLI's validation sets, and how sources that do not report the matched one are told apart.
MNLI_VARIANTS = {
    "mnli_both": "their MNLI is matched and mismatched together",
    "mnli_unstated": "whether their MNLI is matched or mismatched is not stated",
}
OURS = ("row", "model", "task_id", "metric", "method", "recipe", "seeds", "ours")
THEIRS = ("system", "their_model", "their_method", "published", "difference", "comparable", "why")
SPLITS = {"test": "the test split", "validation sample": "a sample of the validation split"}
AS_PUBLISHED = ("split", "protocol", "source", "notes")


@dataclass(frozen=True)
class Ours:
    """One number of ours: its place in published results, the cells behind it, median and number of seeds."""

    model: str
    id: str
    metric: str
    method: str
    cells: tuple[Cell, ...]
    value: float
    seeds: int


def table(results: Results) -> Table:
    """Every score of ours with a published counterpart: value, difference, their protocol, comparable or not, why.

    A method stands beside published ones of its kind. Adapters also stand beside what is trained and stored in theirs.
    """
    runs, published = results.runs, with_kinds(results.published)
    if runs.finetunings.empty:
        raise results.nothing("fine-tuning run")
    rows = []
    for ours in our_numbers(runs):
        ids = published_ids(runs, ours.model)
        found = _matching(published, runs, ours, ids)
        rows += [_row(runs, ours, theirs, judge(runs, ours, theirs, ids)) for theirs in found.to_dict("records")]
        rows += _sizes(published, runs, ours, ids)
    frame = pd.DataFrame(rows, columns=[*OURS, *THEIRS, *AS_PUBLISHED])
    if not rows:
        return Table("Beside published results", _nothing(runs), frame, footnotes.failed(runs))
    heads = ["Task", "Method", "Ours", "Published", "Difference", "Their model", "Their method", "Source"]
    heads += ["Their protocol", "Comparable"]
    sections = [
        Section(runs.title(str(model)), heads, [_text(row) for row in own.to_dict("records")], [heads[1], *heads[5:]])
        for model, own in frame.groupby("model", sort=False)
    ]
    about = (
        f"{footnotes.measured(runs.finetuned, 'fine-tunings')} Ours are medians over n seeds (an average: the mean of "
        "the medians); the difference is ours minus theirs. `Comparable` says `yes`, `roughly` where only the seeds or "
        "the protocol differ, or `no` and why."
    )
    return Table("Beside published results", about, frame, [*sections, *footnotes.failed(runs)], _notes(results, frame))


def _notes(results: Results, frame: pd.DataFrame) -> list[str]:
    runs = results.runs
    notes = [
        "Published numbers, their sources and their units: `reference/published_results.csv` and its README.",
        f"A model without published numbers of its own stands beside ELECTRA-Small's of {listing(YARDSTICKS)}, for "
        "scale only.",
    ]
    studies = [system for system in STUDIES if (frame["system"] == system).any()]
    if studies and any(kind != FULL for kind in runs.kinds.values()):
        notes.append(
            f"Adapters stand beside {listing(studies)}: of every table there the row of the same kind with the nearest "
            "rank and alpha; where the model has no such row, other models', for scale only."
        )
    packed = (frame["system"] == "electra_pytorch_hpml") & frame["their_method"].str.startswith("QLoRA")
    collapse = qlora_collapse(results.published) if packed.any() else None
    return notes + ([collapse] if collapse else [])


def _nothing(runs: Runs) -> str:
    if not any(runs.glue(cell.task) for cell in runs.cells):
        return "No GLUE task was fine-tuned in this experiment: there is no published number to put beside its scores."
    return "No finished fine-tuning of this experiment has a published counterpart."


def our_numbers(runs: Runs) -> list[Ours]:
    """Scores of trained models, then averages; an untrained control has no published counterpart."""
    found = []
    every, of_sets = scores(runs), averages(runs)
    for model in [model for model in runs.finetuned_models if model not in runs.random_models]:
        for score in every:
            summary = score.summary(runs, model)
            if summary:
                cells, method = (score.cell,), score.cell.method
                found.append(Ours(model, score.id, score.metric, method, cells, summary.median, summary.n))
            weighted = list(runs.by_seed(score.cell, model, "f1_weighted").values())
            if score.main and weighted:  # what the study of OPT reports beside accuracy
                own = (score.cell.method, (score.cell,), median(weighted), len(weighted))
                found.append(Ours(model, score.id, "f1_weighted", *own))
        found += [_of_average(average) for average in of_sets if average.model == model]
    return found


def _of_average(average: Average) -> Ours:
    seeds = average.over_seeds.n if average.over_seeds else 0
    return Ours(average.model, average.id, "mean", average.method, average.cells, average.value, seeds)


def published_ids(runs: Runs, model: str) -> tuple[str, ...]:
    """The `model_id` of published rows about a model: its hub id, or ELECTRA-Small for one of that shape."""
    if runs.is_downloaded(model):
        return (runs.origins[model],)
    shape = [runs.pretraining_setting(model, f"discriminator.{name}") for name in ("layers", "hidden_size")]
    small = tuple(shape) == SMALL_SHAPE
    return (SMALL, SMALL_RELEASED) if small else ()


def _same_model(model_id: str, ids: Sequence[str]) -> bool:
    """Hub ids have moved under owners (`bert-base-uncased`, `google-bert/bert-base-uncased`): the last part counts."""
    return model_id.rpartition("/")[2].lower() in {one.rpartition("/")[2].lower() for one in ids}


def kind_of(runs: Runs, ours: Ours) -> str | None:
    """The kind of the methods behind a number; None where they differ."""
    kinds = {runs.kinds[cell.method] for cell in ours.cells}
    return kinds.pop() if len(kinds) == 1 else None


def _matching(published: pd.DataFrame, runs: Runs, ours: Ours, ids: Sequence[str]) -> pd.DataFrame:
    """Rows about the same model and kind of method; where there is none, those of the yardsticks."""
    kind = kind_of(runs, ours)
    task_ids = (ours.id, *MNLI_VARIANTS) if ours.id == "mnli" else (ours.id,)
    rows = published[(published["kind"] == kind) & (published["statistic"] == "score")]
    rows = rows[rows["task_id"].isin(task_ids)]
    same = rows[rows["model_id"].map(lambda model_id: _same_model(model_id, ids)).astype(bool)]
    same = same[same["metric"].isin((ours.metric, "unstated"))]
    of_studies = rows[rows["system"].isin(_studies(ours.id)) & (rows["metric"] == ours.metric)]
    if kind != FULL:
        return nearest(of_studies if same.empty else same, runs, ours.method)
    if not same.empty:
        return same
    yardsticks = rows["system"].isin(YARDSTICKS) & rows["model_id"].isin((SMALL, SMALL_RELEASED))
    finished = rows["pretraining_steps"] >= SMALL_STEPS
    found = rows[yardsticks & finished & (rows["split"] == "validation") & (rows["metric"] == ours.metric)]
    return pd.concat([found, of_studies]) if _has_adapters(runs, ours) else found


def _studies(task_id: str) -> list[str]:
    return [system for system, task in STUDIES.items() if task == task_id]


def _has_adapters(runs: Runs, ours: Ours) -> bool:
    """Whether the model has other methods than full fine-tuning on the task: they are read against it."""
    tasks = {cell.task for cell in ours.cells}
    rows = runs.finetuned
    rows = rows[(rows["model"] == ours.model) & rows["task"].isin(tasks)]
    return bool((rows["kind"] != FULL).any())


def _sizes(published: pd.DataFrame, runs: Runs, ours: Ours, ids: Sequence[str]) -> list[dict[str, Any]]:
    """What a method trains and stores beside what the studies of its task say, once a task."""
    if not _studies(ours.id) or ours.metric != runs.metric(ours.cells[0].task) or len(ours.cells) != 1:
        return []
    if not _has_adapters(runs, ours):
        return []
    systems, found = _studies(ours.id), []
    same = partial(_same_model, ids=ids)
    for size in sizes(published, runs, ours.cells[0], ours.model, systems, same):
        against, short = methods_differ(runs, ours.method, size.theirs)
        if not same(size.theirs["model_id"]):
            against.insert(0, "another model")
        short += size.reservations
        comparable = "no" if against else "roughly" if short else "yes"
        of_size = replace(ours, id=size.theirs["task_id"], metric=size.metric, value=size.ours)
        found.append(_row(runs, of_size, size.theirs, (comparable, against + short)))
    return found


def _row(runs: Runs, ours: Ours, theirs: Mapping[Hashable, Any], verdict: tuple[str, list[str]]) -> dict[str, Any]:
    comparable, why = verdict
    recipes = sorted({str(recipe) for cell in ours.cells for recipe in _own(runs, cell, ours.model)["recipe"]})
    return {
        "row": runs.title(ours.model),
        "model": ours.model,
        "task_id": ours.id,
        "metric": ours.metric,
        "method": ours.method,
        "recipe": ";".join(recipes),
        "seeds": ours.seeds,
        "ours": ours.value,
        "their_model": theirs["model"],
        "their_method": theirs["method"],
        "published": theirs["value"],
        "difference": ours.value - theirs["value"],
        "comparable": comparable,
        "why": "; ".join(why),
        **{name: theirs[name] for name in ("system", *AS_PUBLISHED)},
    }


def judge(runs: Runs, ours: Ours, theirs: Mapping[Hashable, Any], ids: Sequence[str]) -> tuple[str, list[str]]:
    """`yes`, `roughly` or `no`, with the reasons."""
    against = [] if _same_model(theirs["model_id"], ids) else ["another model"]
    if not against and not runs.is_downloaded(ours.model):
        against += _pretraining_differs(runs, ours.model, theirs)
    if theirs["split"] != "validation":
        against.append(f"theirs is on {SPLITS.get(theirs['split'], 'another split')}")
    if theirs["metric"] != ours.metric:
        against.append("their metric is not stated")
    if theirs["task_id"] != ours.id:
        against.append(MNLI_VARIANTS[theirs["task_id"]])
    against += _rows_differ(runs, ours)
    of_methods, reservations = methods_differ(runs, ours.cells[0].method, theirs)
    against += of_methods
    collapse = same_collapse(runs, ours.cells[0].method, theirs)
    if any(runs.degenerate_runs(cell, ours.model) for cell in ours.cells) and not collapse:
        against.append("ours has degenerate runs")
    if against:
        return "no", against
    short = [] if ours.seeds >= 3 else [f"ours has {ours.seeds} seed{'s' if ours.seeds != 1 else ''}"]
    short += reservations
    if collapse:
        is_too = "as is ours" if runs.at_majority(ours.cells[0], ours.model) else "ours is not"
        short.append(f"theirs is the majority class, its head packed in 4 bits and untrained; {is_too}")
    short += [] if theirs["protocol"].startswith("median") else [f"theirs: {theirs['protocol']}"]
    return ("roughly" if short else "yes"), short


def _pretraining_differs(runs: Runs, model: str, theirs: Mapping[Hashable, Any]) -> list[str]:
    corpus, steps = (runs.pretraining_setting(model, name) for name in ("corpus", "steps"))
    done = parse_model(model).done
    steps = round(steps * done / 100)
    corpus_there = str(theirs["pretraining_corpus"]) or "a corpus not stated"
    steps_there = theirs["pretraining_steps"]
    same_text = corpus_there.replace(" ", "").lower() == corpus.replace("_", "")
    if same_text and steps == steps_there:
        return []
    there = corpus_there + ("" if pd.isna(steps_there) else f", {count(steps_there)} steps")
    return [f"pretrained on `{corpus}`, {count(steps)} steps; theirs on {there}"]


def _rows_differ(runs: Runs, ours: Ours) -> list[str]:
    """Rows that are fewer than, or other than, those of the official splits."""
    found = []
    several = len(ours.cells) > 1
    for cell in ours.cells:
        prefix = f"{cell.task}: " if several else ""
        for split, verb in (("train", "trained"), ("validation", "scored")):
            own = runs.by_seed(cell, ours.model, f"{split}_rows").values()
            official = runs.by_seed(cell, ours.model, f"official_{split}_rows").values()
            if own and official and min(own) != max(official) and (split == "validation" or min(own) < max(official)):
                found.append(f"{prefix}ours is {verb} on {count(min(own))} of {count(max(official))} {split} rows")
    return found


def _own(runs: Runs, cell: Cell, model: str) -> pd.DataFrame:
    rows = runs.cell_rows(cell)
    return rows[rows["model"] == model]


def _text(row: Mapping[Hashable, Any]) -> list[str]:
    metric = METRICS.get(row["metric"], row["metric"])
    why = f": {row['why']}" if row["why"] else ""
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
        f"{row['comparable']}{why}",
    ]


def _value(metric: str, value: float, sign: str = "") -> str:
    """A score, a number of parameters, a share in percent or megabytes."""
    if metric == "trainable":
        return f"{value:{sign},.0f}"
    if metric == "trainable_share":
        return f"{100 * value:{sign}.2f} %"
    return f"{value:{sign}.1f} MB" if metric in ("gpu_memory", "size") else f"{value:{sign}.3f}"
