"""`benchmarks.csv` as tables and figures see it: who took turns with whom, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from statistics import fmean
from typing import Any

import pandas as pd

from electralab.benchmark.ratios import Ratio
from electralab.report.grid import Column, Section, section
from electralab.report.results import Results
from electralab.report.runs import Runs
from electralab.report.text import ABSENT, listing, named, number

ARRANGEMENTS = {"padded": "Padded", "in_order": "In order", "sorted": "Sorted", "alone": "Alone"}
TEXTS = ("scenario", "workload", "arrangement", "reason", "baseline")  # empty, never missing


@dataclass(frozen=True)
class Timing:
    """A variant in a workload; of one that was not timed at all `workload` is empty. Names are those of the CSV.

    `seconds` is the median of one answer to the whole workload; both intervals are of 95 %, None where there are none.
    """

    benchmark: str
    model: str
    task: str
    seed: int
    method: str
    backend: str
    scenario: str
    workload: str
    threads: int | None
    batch_size: int | None
    length: int | None
    arrangement: str
    status: str
    reason: str
    rounds: int | None
    rows: int | None
    tokens: int | None
    padded_tokens: int | None
    seconds: Ratio | None
    seconds_minimum: float | None
    seconds_maximum: float | None
    faster: Ratio | None
    baseline: str
    is_baseline: bool
    peak_rss_bytes: int | None
    peak_gpu_bytes: int | None
    empty_process_bytes: int
    device: str
    gpu: str | None
    machine: str
    load_before: float | None
    load_after: float | None

    @property
    def variant(self) -> str:
        """A chain by a backend, as the command line names it."""
        return f"{self.method}@{self.backend}"

    @property
    def where(self) -> str:
        """What computed it."""
        return self.gpu or self.machine

    @property
    def milliseconds_a_row(self) -> Ratio | None:
        """Of the workload's rows together, divided by their number."""
        if self.seconds is None or not self.rows:
            return None
        return Ratio(*(1e3 * value / self.rows for value in self.seconds))


@dataclass(frozen=True)
class Turns:
    """What one benchmark compares on a number of threads, in the workloads of one scenario."""

    timings: Sequence[Timing]  # at least one

    @property
    def first(self) -> Timing:
        """Whose benchmark, model, task and threads are those of all."""
        return self.timings[0]

    @property
    def variants(self) -> dict[str, Timing]:
        """By name, in the order of the config, with a timing of each."""
        found: dict[str, Timing] = {}
        for timing in self.timings:
            found.setdefault(timing.variant, timing)
        return found

    @property
    def workloads(self) -> list[Timing]:
        """A timing of each, in the order of the config."""
        found: dict[str, Timing] = {}
        for timing in self.timings:
            found.setdefault(timing.workload, timing)
        return list(found.values())

    @property
    def baseline_chain(self) -> str | None:
        """The chain that others are held to; None where it was not timed."""
        return next((one.baseline.rpartition("@")[0] for one in self.timings if one.baseline), None)

    def at(self, variant: str, workload: str) -> Timing | None:
        """A variant in a workload."""
        return self._by_place.get((variant, workload))

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], Timing]:
        return {(timing.variant, timing.workload): timing for timing in self.timings}

    def title(self, runs: Runs) -> str:
        """The heading of a grid."""
        one = self.first
        return f"{one.benchmark}: {runs.title(one.model)} on {one.task}, {threads_text(one.threads)}"

    def fastest_backends(self, most: int) -> list[str]:
        """Of every chain its fastest variant, those that ran in most workloads first; in the order of the config.

        Args:
            most: so many chains: the baseline's, and those that are fastest.
        """
        slowness = {variant: self._slowness(variant) for variant in self.variants}
        chains = {variant: one.method for variant, one in self.variants.items()}
        best: dict[str, str] = {}
        for variant in sorted(self.variants, key=slowness.__getitem__):
            if any(one.seconds for one in self.timings if one.variant == variant):
                best.setdefault(chains[variant], variant)
        kept = sorted(best, key=lambda chain: chain != self.baseline_chain)[:most]  # stable: the fastest stay first
        return [
            variant for variant in self.variants if best.get(chains[variant]) == variant and chains[variant] in kept
        ]

    def _slowness(self, variant: str) -> tuple[int, float]:
        """In how many workloads it did not run, and how many times slower than the fastest it was (geometric mean)."""
        least: dict[str, float] = {}
        own: dict[str, float] = {}
        for one in self.timings:
            if one.seconds:
                least[one.workload] = min(least.get(one.workload, math.inf), one.seconds.median)
                if one.variant == variant:
                    own[one.workload] = one.seconds.median
        slower = [math.log(seconds / least[workload]) for workload, seconds in own.items()]
        return len(self.workloads) - len(own), fmean(slower) if slower else math.inf


def timings(results: Results) -> list[Timing]:
    """Every row.

    Raises:
        UserError: there is none, or the file is missing or damaged.
    """
    rows = results.detail("benchmarks").convert_dtypes().to_dict("records")
    if not rows:
        raise results.nothing("benchmark")
    return [_timing({str(name): None if pd.isna(value) else value for name, value in row.items()}) for row in rows]


def _timing(row: dict[str, Any]) -> Timing:
    told: dict[str, Any] = {field.name: row.get(field.name) for field in fields(Timing)}
    told |= {name: told[name] or "" for name in TEXTS} | {"is_baseline": bool(told["is_baseline"])}
    told["seconds"], told["faster"] = _interval(row, "seconds_p50"), _interval(row, "faster")
    return Timing(**told)


def _interval(row: dict[str, Any], name: str) -> Ratio | None:
    """First answers have a median and no interval: they are too few."""
    if row[name] is None:
        return None
    ends = (row.get(f"{name}_{end}") for end in ("low", "high"))
    return Ratio(row[name], *(row[name] if end is None else end for end in ends))


def turns(every: Iterable[Timing], scenario: str) -> list[Turns]:
    """The comparisons of a scenario, by benchmark and number of threads."""
    groups: dict[tuple[str, int | None], list[Timing]] = {}
    for timing in every:
        if timing.scenario == scenario:
            groups.setdefault((timing.benchmark, timing.threads), []).append(timing)
    return [Turns(own) for own in groups.values()]


def numbers(results: Results, scenario: str) -> pd.DataFrame:
    """The rows of a scenario and of what was not timed, for the CSV of a table."""
    frame = results.detail("benchmarks")
    return frame[(frame["scenario"] == scenario) | frame["workload"].isna()].dropna(axis="columns", how="all")


# --- words ----------------------------------------------------------------------------------------------------------


def threads_text(threads: int | None) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def workload_head(timing: Timing) -> str:
    """The head of a column: `8 x 32`, rows by tokens, or how rows of a task are arranged."""
    if timing.length is None:
        return ARRANGEMENTS.get(timing.arrangement, timing.workload)
    return f"{timing.batch_size} × {timing.length}"


def milliseconds(value: float) -> str:
    """Three digits: `4.12`, `41.2`, `1,160`."""
    return f"{value:,.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def times_text(times: Ratio) -> str:
    """`2.71 [2.65, 2.80]`."""
    digits = 1 if times.median >= 10 else 2
    return f"{number(times.median, digits)} [{number(times.low, digits)}, {number(times.high, digits)}]"


def times_cell(timing: Timing | None) -> str:
    """How many times faster; the baseline, and what has none beside it, has its milliseconds."""
    if timing is None:
        return ABSENT
    if timing.seconds is None:
        return timing.status
    if timing.faster is None:
        return f"{milliseconds(1e3 * timing.seconds.median)} ms"
    return times_text(timing.faster)


def not_timed(every: Sequence[Timing], scenario: str | None = None) -> list[Section]:
    """What was asked for, of a scenario or of all, and did not run, with its reason."""
    rows = [one for one in every if one.status != "ok" and (scenario is None or one.scenario in ("", scenario))]
    columns: list[Column[Timing]] = [
        Column("", lambda one: one.variant, "Variant"),
        Column("", lambda one: one.benchmark, "Benchmark", left=True),
        Column("", _asked, "Workload", left=True),
        Column("", lambda one: one.status, "Status", left=True),
        Column("", lambda one: one.reason or "no reason recorded", "Reason", left=True),
    ]
    return [section("Not timed", rows, columns)] if rows else []


def _asked(timing: Timing) -> str:
    return f"{workload_head(timing)}, {threads_text(timing.threads)}" if timing.workload else "all"


def measured(own: Sequence[Turns]) -> str:
    """How times were taken: turns, rounds, device, threads, load."""
    every = [timing for one in own for timing in one.timings]
    rounds = sorted({timing.rounds for timing in every if timing.rounds})
    span = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else listing([str(count) for count in rounds])
    places = list(dict.fromkeys(f"{one.device} ({one.where})" for one in every))
    threads = listing([str(count) for count in sorted({one.threads for one in every if one.threads})])
    loads = [load for one in every for load in (one.load_before, one.load_after) if load is not None]
    load = f", load average of the machine {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    return (
        f"Variants take turns, each in a process of its own, in an order drawn anew in each of {span} rounds; a ratio "
        "is that within a round, and shown is the median over rounds with its 95 % bootstrap interval. "
        f"On {listing(places)}, threads {threads}{load}."
    )


def gated(own: Sequence[Turns]) -> str:
    """What the baseline is, and that answers were checked."""
    held_to = list(dict.fromkeys(timing.baseline for one in own for timing in one.timings if timing.baseline))
    return (
        "The baseline of a column is the fastest there of PyTorch's fp32 backends of the first chain: "
        f"{named(held_to)}. A variant is timed only if it answers validation rows as the record of its run does."
    )
