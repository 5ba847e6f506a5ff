"""Sentences below a grid: what its marks mean, what its numbers rest on, which runs it lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from electralab.names import NO_MODEL
from electralab.report.flatten import NOTE_SEPARATOR
from electralab.report.grid import Column, Section, section
from electralab.report.runs import Arm, Cell, Runs
from electralab.report.statistics.differences import Difference
from electralab.report.statistics.influence import CORRELATIONS
from electralab.report.statistics.intervals import wilson_interval
from electralab.report.text import count, listing, number

WNLI_TRAP = (
    "WNLI's validation rows reuse sentences of its training rows with the opposite label, so a model that learns the "
    "training rows scores below the most frequent label: its majority trap"
)
TRAINED = "metric.train_rows"


def together(sentences: Iterable[str]) -> list[str]:
    """One note of several sentences, none where there is nothing to say: more than six notes are read by nobody."""
    text = " ".join(sentences)
    return [text] if text else []


def measured(rows: pd.DataFrame, what: str) -> str:
    """How the numbers were measured: runs, seeds, machine, versions, code."""
    if rows.empty:
        return f"No finished {what}."
    versions = [
        f"{name} {_distinct(rows, f'provenance.versions.{name}')}"
        for name in ("python", "torch", "transformers", "tokenizers")
        if _distinct(rows, f"provenance.versions.{name}")
    ]
    commit = _distinct(rows, "provenance.git_commit", 12)
    dirty = "provenance.git_dirty" in rows and rows["provenance.git_dirty"].eq(True).any()
    code = f"source {_distinct(rows, 'provenance.source_hash')}"
    if commit:
        code += f", commit {commit}{' with uncommitted changes' if dirty else ''}"
    seeds = listing([str(seed) for seed in sorted(rows["seed"].unique())])
    device, threads, machine = (_distinct(rows, f"provenance.{name}") for name in ("device", "threads", "machine"))
    return (
        f"{len(rows)} {what} of `{_distinct(rows, 'preset')}`, seeds {seeds}, on {device}, threads a run {threads} "
        f"({machine}; load average at most {rows['provenance.load_average'].max():.1f}); {', '.join(versions)}; {code}."
        f"{overlap(rows)}"
    )


def overlap(rows: pd.DataFrame) -> str:
    """Which tasks of these runs are scored on rows that are also training rows, as a sentence behind others."""
    if "metric.overlap_rows" not in rows:
        return ""
    found = rows.loc[rows["metric.overlap_rows"] > 0, ["task", "metric.overlap_rows", "metric.validation_rows"]]
    parts = [f"{task} {own:,.0f} of {of:,.0f}" for task, own, of in found.drop_duplicates().itertuples(index=False)]
    return f" Validation rows that are also training rows: {listing(parts)}." if parts else ""


def _distinct(rows: pd.DataFrame, column: str, length: int | None = None) -> str:
    if column not in rows:
        return ""
    return " / ".join(
        dict.fromkeys(
            f"{value:g}" if isinstance(value, float) else str(value)[:length] for value in rows[column].dropna()
        )
    )


def extensions(runs: Runs) -> str:
    """Which rows rest on departures from the paper."""
    rows = runs.pretrained
    named = {names: listing(names.split(";")) for names in dict.fromkeys(rows["extensions"]) if names}
    if not named:
        return "All pretrainings follow their recipe without extensions."
    sentences = []
    for names, text in named.items():
        models = list(dict.fromkeys(rows.loc[rows["extensions"] == names, "pretraining"]))
        sentences.append(f"`{listing(models)}` rests on extensions over the ELECTRA paper: {text}.")
    if runs.controls:
        sentences.append(f"The control without them is `{listing(sorted(runs.controls))}`.")
    return " ".join(sentences)


def failed(runs: Runs) -> list[Section]:
    """Failed and skipped runs, which are in no number, with their reasons."""
    rows = runs.frame[runs.frame["status"] != "ok"].to_dict("records")
    columns: list[Column[Any]] = [
        Column("", lambda row: " on ".join(filter(None, (_model(row), row["task"]))), "Run"),
        Column("", lambda row: row["method"] or "pretraining", "Method", left=True),
        Column("", lambda row: row["seed"], "Seed"),
        Column("", lambda row: row["status"], "Status", left=True),
        Column("", lambda row: row["reason"] or "no reason recorded", "Reason", left=True),
    ]
    return [section("Runs without a result", rows, columns)] if rows else []


def _model(row: Mapping[str, Any]) -> str:
    return "" if row["model"] == NO_MODEL else str(row["model"])


def mark(runs: Runs, arm: Arm) -> str:
    """† where a run answers with one class, ‡ where the mean is no better than the majority class."""
    text = ("†" if runs.degenerate_runs(*arm) else "") + ("‡" if runs.at_majority(*arm) else "")
    return f" {text}" if text else ""


def marked(runs: Runs, arms: Sequence[Arm]) -> list[str]:
    """What † and ‡ in the grids stand for, and where they stand."""
    constant: dict[str, dict[str, list[str]]] = {}
    at_majority: dict[str, list[str]] = {}
    for cell, model in dict.fromkeys(arms):
        hits, n = runs.degenerate_runs(cell, model), len(runs.by_seed(cell, model))
        name = f"{runs.title(model)} `{cell.method}`"
        if hits:
            what = "one value" if runs.metric(cell.task) in CORRELATIONS else "one class"
            constant.setdefault(what, {}).setdefault(cell.task, []).append(f"{name} {hits} of {n}")
        if runs.at_majority(cell, model):
            rate = number(runs.typical(cell, model, "metric.majority_rate"))
            at_majority.setdefault(f"{cell.task} ({rate})", []).append(name)
    notes = [
        f"† runs that predict {what} only, which are in the mean: {_by_task(found)}."
        for what, found in constant.items()
    ]
    if at_majority:
        trap = any(runs.glue(cell.task) == "wnli" and runs.at_majority(cell, model) for cell, model in arms)
        notes.append(
            f"‡ by mean accuracy no better than always answering the most frequent label: {_by_task(at_majority)}."
            f"{f' {WNLI_TRAP}.' if trap else ''}"
        )
    return together(notes)


def _by_task(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{task}: {listing(names)}" for task, names in found.items())


def no_difference(differences: Iterable[Difference | None]) -> str:
    """That a difference which is not shown is not 0, with how wide the intervals are."""
    halves = [(one.high - one.low) / 2 for one in differences if one and one.low is not None and one.high is not None]
    reach = f": here a half-width of {number(min(halves))} to {number(max(halves))}" if halves else ""
    return f"`No difference shown` is not `equal`: a difference smaller than its interval is not seen{reach}."


def origins(runs: Runs, models: Collection[str], cells: Sequence[Cell] = ()) -> list[str]:
    """Models that were not pretrained here, and tasks that a program labelled."""
    parts = [
        f"`{model}` was not pretrained here: `{origin}`" for model, origin in runs.origins.items() if model in models
    ]
    synthetic = sorted({cell.task for cell in cells if runs.is_synthetic(cell.task)})
    if synthetic:
        parts.append(f"{listing(synthetic)}: synthetic, labels are made by a program; no person judged them")
    return [f"{'; '.join(parts)}."] if parts else []


def row_counts(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """Where the rows are not those of the official splits."""
    alike: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        rows, parts = runs.cell_rows(cell), []
        for split, verb in (("train", "trained on"), ("validation", "scored on")):
            if f"metric.official_{split}_rows" not in rows:
                continue
            counts = rows[[f"metric.{split}_rows", f"metric.official_{split}_rows"]].dropna().drop_duplicates()
            for own, official in counts.itertuples(index=False):
                if own != official:
                    sample = "a sample of " if own < official else ""
                    parts.append(f"{verb} {sample}{own:,.0f} rows where the official split has {official:,.0f}")
        if parts:
            alike.setdefault((cell.task, listing(parts)), []).append(runs.cell_name(cell))
    said = [f"{names[0]}{_others(names[1:])}: {text}" for (_, text), names in alike.items()]
    return [f"{'; '.join(said)}."] if said else []


def different_rows(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """Methods of one task, baselines among them, that were trained on different numbers of rows."""
    said = []
    for task in dict.fromkeys(cell.task for cell in cells):
        own = [runs.cell_rows(cell) for cell in cells if cell.task == task]
        trained = pd.concat([*own, runs.baseline[runs.baseline["task"] == task]]).reindex(columns=["method", TRAINED])
        by_rows: dict[float, list[str]] = {}
        for method, rows in trained.dropna().groupby("method", sort=False):
            by_rows.setdefault(float(rows[TRAINED].median()), []).append(f"`{method}`")
        if len(by_rows) > 1:
            parts = (f"{listing(names)} {count(rows)}" for rows, names in sorted(by_rows.items(), reverse=True))
            said.append(f"{task}: {'; '.join(parts)}")
    lead = "Trained on different numbers of rows (rows that choose a learning rate are not trained on)"
    return [f"{lead}. {'. '.join(said)}."] if said else []


def _others(names: Sequence[str]) -> str:
    """Further methods of the same task: ` and 3 other methods`."""
    return f" and {len(names)} other method{'s' if len(names) > 1 else ''}" if names else ""


def of_records(runs: Runs, cells: Sequence[Cell]) -> list[str]:
    """What every run of a model on a task says about its data, each sentence once."""
    said: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        by_model = {str(model): own["notes"] for model, own in runs.cell_rows(cell).groupby("model", sort=False)}
        common = {
            model: set.intersection(*(set(text.split(NOTE_SEPARATOR)) for text in texts)) - {""}
            for model, texts in by_model.items()
        }
        for model, sentences in common.items():
            for sentence in sorted(sentences):
                of_all = all(sentence in others for others in common.values())
                who = "" if of_all else f", {runs.title(model)}"
                said.setdefault((sentence, who), {})[runs.cell_name(cell)] = None
    of_place: dict[str, list[str]] = {}
    for (sentence, who), tasks in said.items():
        of_place.setdefault(f"{listing(list(tasks))}{who}", []).append(sentence.rstrip("."))
    return [" ".join(f"{place}: {'. '.join(found)}." for place, found in of_place.items())] if said else []


def sampling(runs: Runs, arms: Sequence[Arm]) -> str:
    """How much one accuracy is worth on a validation set of this size."""
    parts = []
    for task in dict.fromkeys(cell.task for cell, _ in arms if runs.metric(cell.task) == "accuracy"):
        scored = runs.rows_of(arm for arm in arms if arm[0].task == task)
        if "metric.validation_rows" not in scored:
            continue
        counts = scored["metric.validation_rows"]
        for rows in sorted({int(value) for value in counts.dropna()}, reverse=True):
            rate = scored.loc[counts == rows, "metric.majority_rate"].median()
            low, high = wilson_interval(0.5 if pd.isna(rate) else rate, rows)
            parts.append(f"{task} {rows:,.0f} (±{number((high - low) / 2)})")
    if not parts:
        return ""
    return (
        f" Rows scored, with the 95 % half-width of one accuracy, which is in no interval over seeds: {listing(parts)}."
    )
