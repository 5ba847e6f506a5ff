"""Table `efficiency`: what a score cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from electralab.report import footnotes
from electralab.report.markdown import (
    ABSENT,
    Section,
    Table,
    count,
    listing,
    scientific,
    summary_columns,
    with_interval,
)
from electralab.report.runs import METRICS, UNTRAINED, Cell, Runs
from electralab.report.statistics import Summary, summarize

PETAFLOP_S_DAY = 1e15 * 86_400
FLOPS = ("electra_paper", "matmul_3x")


def efficiency(runs: Runs) -> Table:
    """What a score cost: parameters, time, hardware, FLOPs in two named conventions."""
    methods = _score_sets(runs)
    rows, cost, score_text = [], [], []
    for model in runs.models:
        own = runs.pretrained[runs.pretrained["model"] == model]
        row = _cost_columns(runs, model, own)
        cost.append(_cost_text(row))
        for method, tasks in methods.items() or [("", [])]:
            summary = _mean_score(runs, model, method, tasks)
            scored = row | _scored(row, method, tasks, summary)
            rows.append(scored)
            if method:
                score_text.append(
                    [
                        row["row"],
                        method,
                        with_interval(summary),
                        *(scientific(scored[f"petaflop_s_days_per_score.{name}"]) for name in FLOPS),
                    ]
                )
    for model in runs.random_models:
        for method, tasks in methods.items():
            summary = _mean_score(runs, model, method, tasks)
            free = {"row": UNTRAINED, "model": model, "control": True}
            rows.append(free | _scored(free, method, tasks, summary))
            score_text.append([UNTRAINED, method, with_interval(summary), ABSENT, ABSENT])
    cost_heads = [
        "Generator size",
        "Discriminator parameters",
        "Discriminator backbone",
        "Generator parameters",
        "Together (tied once)",
        "Tokens",
        "Wall time",
        "Hardware",
        *(f"{unit} ({name})" for unit in ("FLOPs", "pfs-days") for name in FLOPS),
    ]
    score_heads = ["Generator size", "Method", "Score", *(f"pfs-days per score ({name})" for name in FLOPS)]
    sections = [Section("Cost of one pretraining", cost_heads, cost)]
    if score_text:
        sections.append(Section("Score", score_heads, score_text))
    return Table(
        "Efficiency",
        f"{footnotes.measured(runs.pretrained, 'pretrainings')} {footnotes.extensions(runs)} Cost is of one "
        "pretraining (mean over seeds) without fine-tuning. FLOPs are counted, not measured, in two conventions: "
        "`electra_paper` (that of google-research/electra) and `matmul_3x` (matrix products only, backward twice "
        "forward). One petaflop/s-day (pfs-day) is 8.64e19 FLOPs. " + _score_about(runs, methods),
        pd.DataFrame(rows),
        sections,
        [*_efficiency_notes(runs, methods), *footnotes.unfinished(runs)],
    )


def _score_sets(runs: Runs) -> dict[str, list[str]]:
    """The human-labelled tasks behind the score, by method: a mean never mixes methods or synthetic labels."""
    found: dict[str, list[str]] = {}
    for cell in runs.pretrained_cells:
        if not runs.is_synthetic(cell.task):
            found.setdefault(cell.method, []).append(cell.task)
    return found


def _mean_score(runs: Runs, model: str, method: str, tasks: list[str]) -> Summary | None:
    """Mean score over the tasks for each seed that finished all of them, summarised over seeds."""
    by_task = [runs.by_seed(Cell(task, method), model) for task in tasks]
    seeds = set.intersection(*map(set, by_task)) if by_task else set()
    values = [sum(of[seed] for of in by_task) / len(by_task) for seed in sorted(seeds)]
    return summarize(values) if values else None


def _cost_columns(runs: Runs, model: str, own: pd.DataFrame) -> dict[str, Any]:
    first = own.iloc[0]
    row: dict[str, Any] = {"row": runs.label(model), "model": model, "control": runs.is_control(model)}
    row |= {name: first[name] for name in ("generator_size", "extensions", "recipe")} | {"seeds": len(own)}
    for name in ("discriminator", "discriminator_backbone", "generator", "total"):
        row[f"parameters.{name}"] = first.get(f"parameters.{name}")
    for name in ("tokens", "wall_seconds", "cpu_seconds", "gpu_seconds", "peak_rss_bytes", "peak_gpu_bytes"):
        row[name] = own[f"cost.{name}"].mean()
    row["device"], row["hardware"] = first["provenance.device"], first["provenance.machine"]
    row["threads"] = first["provenance.threads"]
    for name in FLOPS:
        flops = own[f"flops.{name}"].mean() if f"flops.{name}" in own else None
        row[f"flops.{name}"] = flops
        row[f"petaflop_s_days.{name}"] = None if flops is None else flops / PETAFLOP_S_DAY
    return row


def _cost_text(row: dict[str, Any]) -> list[str]:
    return [
        row["row"],
        *(
            count(row[f"parameters.{name}"])
            for name in ("discriminator", "discriminator_backbone", "generator", "total")
        ),
        count(row["tokens"]),
        duration(row["wall_seconds"]),
        f"{row['device']}, threads: {row['threads']}",
        *(scientific(row[f"{unit}.{name}"]) for unit in ("flops", "petaflop_s_days") for name in FLOPS),
    ]


def _scored(row: dict[str, Any], method: str, tasks: list[str], summary: Summary | None) -> dict[str, Any]:
    columns: dict[str, Any] = {"method": method, "score_tasks": ";".join(tasks)}
    columns |= summary_columns({"score": summary}) if summary else {}
    for name in FLOPS:
        days = row.get(f"petaflop_s_days.{name}")
        columns[f"petaflop_s_days_per_score.{name}"] = days / summary.mean if summary and days is not None else None
    return columns


def _score_about(runs: Runs, methods: Mapping[str, list[str]]) -> str:
    if not methods:
        return "No human-labelled task was fine-tuned in this experiment, so there is no score."
    named = {task: _with_metric(task, runs.metric(task)) for tasks in methods.values() for task in tasks}
    sets = "; ".join(f"`{method}`: {listing([named[task] for task in tasks])}" for method, tasks in methods.items())
    return (
        "The score is the mean of the validation scores (accuracy, or the metric named) over the human-labelled tasks "
        "fine-tuned with a method "
        f"({sets}), with the 95 % interval over fine-tuning seeds (Student t, each model by itself); "
        "synthetic tasks are not in it."
    )


def _with_metric(task: str, metric: str) -> str:
    return task if metric == "accuracy" else f"{task} ({METRICS[metric]})"


def _efficiency_notes(runs: Runs, methods: Mapping[str, list[str]]) -> list[str]:
    notes = []
    for method, tasks in methods.items():
        without = [m for m in [*runs.models, *runs.random_models] if _mean_score(runs, m, method, tasks) is None]
        if without:
            names = listing([runs.label(m) if m in runs.models else m for m in without])
            notes.append(f"No score with `{method}` for {names}: no seed finished all of {listing(tasks)}.")
    if methods:
        notes.append(
            "pfs-days per score divide by the whole score; what random initialisation reaches for free is in it."
        )
    machines = dict.fromkeys(runs.pretrained["provenance.machine"].dropna())
    notes.append(f"Wall time depends on the machine and its load; hardware: {listing(list(machines))}.")
    return notes


def duration(seconds: float) -> str:
    """95 -> `95 s`, 400 -> `6.7 min`, 400000 -> `4.6 d`."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if size == 1 else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"
