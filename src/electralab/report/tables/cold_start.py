"""Table `cold_start`: seconds from the start of a process to its first answer, and the memory until then."""

from __future__ import annotations

from collections.abc import Sequence

from electralab.report.benchmarks import Timing, Turns, measured, not_timed, numbers, times_cell, timings, turns
from electralab.report.grid import Column, Table, section
from electralab.report.results import Results
from electralab.report.runs import Runs
from electralab.report.text import ABSENT, listing, number

SCENARIO = "cold_start"
COLUMNS: list[Column[Timing]] = [
    Column("", lambda one: one.variant, "Variant"),
    Column("", lambda one: one.seconds, "Seconds", lambda seconds: number(seconds.median, 2) if seconds else ABSENT),
    Column("", lambda one: (one.seconds_minimum, one.seconds_maximum), "From, to", lambda ends: _span(*ends)),
    Column("", lambda one: one, "Times faster", lambda one: "baseline" if one.is_baseline else times_cell(one)),
    Column("", lambda one: one.peak_rss_bytes, "Peak MB", lambda peak: f"{peak / 1e6:,.0f}" if peak else ABSENT),
]


def table(results: Results) -> Table:
    """A section for every benchmark and number of threads.

    Raises:
        UserError: the experiment has no benchmark.
    """
    runs, every = results.finetuned, timings(results)
    own = turns(every, SCENARIO)
    return Table(
        "Cold start",
        measured(own) if own else "No first answer was timed.",
        numbers(results, SCENARIO),
        [*(section(one.title(runs), one.timings, COLUMNS) for one in own), *not_timed(every, SCENARIO)],
        _notes(own) if own else [],
        [_answer(runs, one) for one in own],
    )


def _span(least: float | None, most: float | None) -> str:
    return ABSENT if least is None or most is None else f"{number(least, 2)} – {number(most, 2)}"


def _answer(runs: Runs, own: Turns) -> str:
    ready = [one for one in own.timings if one.seconds]
    if not ready:
        return f"**{own.title(runs)}:** nothing answered."
    first, last = (choose(ready, key=lambda one: one.seconds.median if one.seconds else 0.0) for choose in (min, max))
    said = [f"`{one.variant}` {number(one.seconds and one.seconds.median, 2)} s" for one in (first, last)]
    return f"**{own.title(runs)}:** soonest {said[0]}, last {said[1]}."


def _notes(own: Sequence[Turns]) -> list[str]:
    starts = listing(sorted({str(one.rounds) for group in own for one in group.timings if one.rounds}))
    return [
        f"Seconds: the median of {starts} starts, each of a new process: the interpreter, libraries, weights, one row. "
        "Files were mostly in the memory of the system by then, so the disk takes little part. Peak MB: the most of "
        "any start, libraries included.",
    ]
