"""Table `latency`: how many times faster every variant answers than the baseline, beside what it scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from electralab.benchmark.ratios import Ratio
from electralab.report.benchmarks import (
    Timing,
    Turns,
    gated,
    measured,
    not_timed,
    numbers,
    threads_text,
    times_cell,
    times_text,
    timings,
    turns,
    workload_head,
)
from electralab.report.grid import Column, Section, Table, difference_columns, frame, grids, summary_columns
from electralab.report.results import Results
from electralab.report.runs import METRICS, Cell, Runs
from electralab.report.statistics.comparisons import Arm
from electralab.report.statistics.differences import Difference, difference_text
from electralab.report.statistics.intervals import Summary, summarize
from electralab.report.tables.score_cells import difference_cell, score_text
from electralab.report.text import listing, named, number

SCENARIO = "latency"


class Scored(NamedTuple):
    """A variant, what its chain scores over seeds, and the difference to the baseline's chain."""

    variant: str
    chain: str
    score: Summary | None
    minus_baseline: Difference | None


def table(results: Results) -> Table:
    """A section for every benchmark and number of threads.

    Raises:
        UserError: the experiment has no benchmark.
    """
    runs, every = results.finetuned, timings(results)
    own = turns(every, SCENARIO)
    return Table(
        "Latency",
        measured(own) if own else "Nothing was timed.",
        _csv(results, runs, every),
        [*(part for one in own for part in _sections(runs, one)), *not_timed(every, SCENARIO)],
        _notes(own) if own else [],
        [line for one in own for line in _answers(runs, one)],
    )


# --- grids ----------------------------------------------------------------------------------------------------------


def scored(runs: Runs, timing: Timing, baseline_chain: str | None) -> Scored:
    """What is known of the score of a variant's chain."""
    task, model, chain = timing.task, timing.model, timing.method
    values = list(runs.by_seed(Cell(task, chain), model).values())
    difference = None
    if baseline_chain and chain != baseline_chain:
        difference = runs.difference(task, Arm(model, chain), Arm(model, baseline_chain))
    return Scored(timing.variant, chain, summarize(values) if values else None, difference)


def _all_scored(runs: Runs, own: Turns) -> list[Scored]:
    return [scored(runs, timing, own.baseline_chain) for timing in own.variants.values()]


def _sections(runs: Runs, own: Turns) -> list[Section]:
    def at(workload: str) -> Callable[[Scored], Timing | None]:
        return lambda row: own.at(row.variant, workload)

    name: Column[Scored] = Column("", lambda row: row.variant, "Variant")
    columns: list[Column[Scored]] = [
        *(Column("", at(one.workload), workload_head(one), times_cell) for one in own.workloads),
        Column("", lambda row: row.score, f"Score ({METRICS[runs.metric(own.first.task)]})", score_text),
        Column("", lambda row: row.minus_baseline, f"Minus {own.baseline_chain}", difference_cell),
    ]
    return grids(own.title(runs), _all_scored(runs, own), name, columns)


def _csv(results: Results, runs: Runs, every: Sequence[Timing]) -> pd.DataFrame:
    rows = numbers(results, SCENARIO)
    baselines = {one.first.benchmark: one.baseline_chain for one in turns(every, SCENARIO)}
    shown = [scored(runs, every[place], baselines.get(every[place].benchmark)) for place in map(int, rows.index)]
    columns: list[Column[Scored]] = [
        *summary_columns(lambda row: row.score),
        *difference_columns("minus_baseline", lambda row: row.minus_baseline),
    ]
    return pd.concat([rows.reset_index(drop=True), frame(shown, columns)], axis=1)


# --- sentences ------------------------------------------------------------------------------------------------------


def _answers(runs: Runs, own: Turns) -> list[str]:
    """The fastest without a shown loss of score, by batch; then what is not faster, and what loses."""
    found = {row.variant: row for row in _all_scored(runs, own)}
    sizes = sorted({one.batch_size for one in own.timings if one.batch_size})
    lines = [
        f"**{own.title(runs)}, batch {size}:** {_fastest(own, size, found)}."
        for size in dict.fromkeys((sizes[0], sizes[-1]))
    ]
    parts = [*_not_faster(own), *_losing(found)]
    return [*lines, f"**{own.title(runs)}:** {'; '.join(parts)}."] if parts else lines


def _fastest(own: Turns, size: int, found: dict[str, Scored]) -> str:
    said: dict[str, list[str]] = {}
    for workload in own.workloads:
        if workload.batch_size == size:
            ready = [one for one in own.timings if one.workload == workload.workload and one.seconds]
            kept = [one for one in ready if not _loses(found[one.variant])]
            if kept:
                best = min(kept, key=lambda one: one.seconds.median if one.seconds else 0.0)
                times = "the baseline" if best.faster is None else f"{times_text(best.faster)} times as fast"
                said.setdefault(best.variant, []).append(f"{workload.length} tokens: {times}")
    parts = [f"`{variant}` ({', '.join(times)}{_doubt(found[variant])})" for variant, times in said.items()]
    return f"fastest without a shown loss of score {'; '.join(parts)}" if parts else "nothing was timed"


def _loses(row: Scored) -> bool:
    return row.minus_baseline is not None and row.minus_baseline.verdict == "lower"


def _doubt(row: Scored) -> str:
    unknown = row.minus_baseline is not None and row.minus_baseline.verdict == "unknown"
    return "; one common seed gives no verdict on its score" if unknown else ""


def _not_faster(own: Turns) -> list[str]:
    """Chains that, by their best backend, are not shown to be faster in half of the workloads or more."""
    best: dict[str, dict[str, Ratio]] = {}
    for one in own.timings:
        if one.faster and one.method != own.baseline_chain:
            by_workload = best.setdefault(one.method, {})
            by_workload[one.workload] = max(by_workload.get(one.workload, one.faster), one.faster)
    said = []
    for chain, by_workload in best.items():
        unclear = [times for times in by_workload.values() if times.low <= 1]
        if 2 * len(unclear) >= len(by_workload):
            medians = [times.median for times in by_workload.values()]
            span = f"{number(min(medians), 2)} to {number(max(medians), 2)} times as fast"
            said.append(f"`{chain}` ({len(unclear)} of {len(by_workload)} workloads; {span})")
    return [f"not shown to be faster: {listing(said)}"] if said else []


def _losing(found: dict[str, Scored]) -> list[str]:
    losing = {row.chain: row.minus_baseline for row in found.values() if _loses(row)}
    said = [f"`{chain}` ({difference_text(difference)})" for chain, difference in losing.items()]
    return [f"shown to lose score: {listing(said)}"] if said else []


def _notes(own: Sequence[Turns]) -> list[str]:
    backends = named(list(dict.fromkeys(timing.backend for one in own for timing in one.timings)))
    seeds = listing([str(seed) for seed in sorted({one.first.seed for one in own})])
    several = len({one.first.threads for one in own}) > 1
    threads = f" Ratios of {threads_text(own[-1].first.threads)} are held to a baseline on as many." if several else ""
    return [
        f"{gated(own)} Backends: {backends}.{threads}",
        "A column is a workload: rows at once × tokens of each, nothing padded. Above 1 is faster; an interval that "
        "holds 1 shows no difference. A time in milliseconds is of this machine alone: compare ratios.",
        f"Timed are runs of seed {seeds}. Scores: mean over all seeds with its 95 % interval (Student t); the "
        "difference is paired over the seeds and rows that both chains have. One seed gives no verdict.",
    ]
