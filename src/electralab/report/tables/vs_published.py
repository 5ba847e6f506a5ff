"""Table `vs_published`: our scores beside the published ones, and whether they may be compared."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from electralab.report import footnotes
from electralab.report.markdown import Section, Table, count, listing, number
from electralab.report.published import SMALL, SMALL_RELEASED, full_finetunings
from electralab.report.results import Results
from electralab.report.runs import METRICS, Cell, Runs, parse_model
from electralab.report.scores import Average, averages, scores

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
THEIRS = ("system", "their_model", "published", "difference", "comparable", "why")
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


def vs_published(results: Results) -> Table:
    """Every score of ours with a published counterpart: value, difference, their protocol, comparable or not, why."""
    runs, published = results.runs, full_finetunings(results.published)
    rows = [
        _row(runs, ours, theirs, model_ids)
        for ours in our_numbers(runs)
        for model_ids in [published_ids(runs, ours.model)]
        for theirs in _matching(published, ours, model_ids).to_dict("records")
    ]
    frame = pd.DataFrame(rows, columns=[*OURS, *THEIRS, *AS_PUBLISHED])
    if not rows:
        return Table("Beside published results", _nothing(runs), frame, [], footnotes.unfinished(runs))
    heads = ["Task", "Ours", "Published", "Difference", "Their model", "Source", "Their protocol", "Comparable"]
    sections = [
        Section(runs.title(str(model)), heads, [_text(row) for row in own.to_dict("records")], text=heads[4:])
        for model, own in frame.groupby("model", sort=False)
    ]
    about = (
        f"{footnotes.measured(runs.finetuned, 'fine-tunings')} Ours are medians over n seeds (an average: the mean of "
        "the medians); the difference is ours minus theirs. `Comparable` says `yes`, `roughly` where only the seeds or "
        "the protocol differ, or `no` and why."
    )
    notes = [
        "Published numbers, their sources and their units: `reference/published_results.csv` and its README.",
        f"A model without published numbers of its own stands beside ELECTRA-Small's of {listing(YARDSTICKS)}, for "
        "scale only.",
    ]
    return Table("Beside published results", about, frame, sections, [*notes, *footnotes.unfinished(runs)])


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
        found += [_of_average(average) for average in of_sets if average.model == model]
    return found


def _of_average(average: Average) -> Ours:
    seeds = average.over_seeds.n if average.over_seeds else 0
    return Ours(average.model, average.id, "mean", average.method, average.cells, average.value, seeds)


def published_ids(runs: Runs, model: str) -> tuple[str, ...]:
    """The `model_id` of published rows about a model: its hub id, or ELECTRA-Small for one of that shape."""
    if runs.is_downloaded(model):
        return (runs.origins[model],)
    own = _pretraining(runs, model)
    small = own is not None and (own["layers"], own["hidden_size"]) == SMALL_SHAPE
    return (SMALL, SMALL_RELEASED) if small else ()


def _pretraining(runs: Runs, model: str) -> Any:
    """The row of the pretraining that a model comes from, a snapshot's included."""
    rows = runs.frame[(runs.frame["stage"] == "pretrain") & (runs.frame["model"] == model.partition("-at")[0])]
    return None if rows.empty else rows.iloc[0]


def _same_model(model_id: str, ids: Sequence[str]) -> bool:
    """Hub ids have moved under owners (`bert-base-uncased`, `google-bert/bert-base-uncased`): the last part counts."""
    return model_id.rpartition("/")[2].lower() in {one.rpartition("/")[2].lower() for one in ids}


def _matching(published: pd.DataFrame, ours: Ours, ids: Sequence[str]) -> pd.DataFrame:
    """Rows about the same model; where there is none, ELECTRA-Small's on the validation split."""
    task_ids = (ours.id, *MNLI_VARIANTS) if ours.id == "mnli" else (ours.id,)
    rows = published[published["task_id"].isin(task_ids)]
    same = rows[rows["model_id"].map(lambda model_id: _same_model(model_id, ids)).astype(bool)]
    same = same[same["metric"].isin((ours.metric, "unstated"))]
    if not same.empty:
        return same
    yardsticks = rows["system"].isin(YARDSTICKS) & rows["model_id"].isin((SMALL, SMALL_RELEASED))
    finished = rows["pretraining_steps"] >= SMALL_STEPS
    return rows[yardsticks & finished & (rows["split"] == "validation") & (rows["metric"] == ours.metric)]


def _row(runs: Runs, ours: Ours, theirs: Mapping[Hashable, Any], ids: Sequence[str]) -> dict[str, Any]:
    comparable, why = judge(runs, ours, theirs, ids)
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
        against.append("theirs is on the test split")
    if theirs["metric"] != ours.metric:
        against.append("their metric is not stated")
    if theirs["task_id"] != ours.id:
        against.append(MNLI_VARIANTS[theirs["task_id"]])
    against += _rows_differ(runs, ours)
    if any(runs.degenerate_runs(cell, ours.model) for cell in ours.cells):
        against.append("ours has degenerate runs")
    if against:
        return "no", against
    short = [] if ours.seeds >= 3 else [f"ours has {ours.seeds} seed{'s' if ours.seeds != 1 else ''}"]
    short += [] if theirs["protocol"].startswith("median") else [f"theirs: {theirs['protocol']}"]
    return ("roughly" if short else "yes"), short


def _pretraining_differs(runs: Runs, model: str, theirs: Mapping[Hashable, Any]) -> list[str]:
    own = _pretraining(runs, model)
    corpus, steps, done = str(own["corpus"]), int(own["steps"]), parse_model(model).done
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
        f"{row['task_id']} ({metric})",
        f"{number(row['ours'])} (n={row['seeds']})",
        number(row["published"]),
        f"{row['difference']:+.3f}",
        row["their_model"],
        row["system"],
        row["protocol"] or "not stated",
        f"{row['comparable']}{why}",
    ]
