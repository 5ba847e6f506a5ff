"""Table `padding`: rows of a task a second, and how many tokens are computed for them, by how rows are put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from electralab.report.benchmarks import (
    Timing,
    Turns,
    measured,
    not_timed,
    numbers,
    timings,
    turns,
    workload_head,
)
from electralab.report.grid import Column, Section, Table, grids, section
from electralab.report.results import Results
from electralab.report.runs import Runs
from electralab.report.text import ABSENT, count, listing, number

SCENARIO = "task_lengths"


class Counted(NamedTuple):
    """Chains with a tokenizer of the same answers."""

    chains: str
    at: dict[str, Timing]  # by workload


def table(results: Results) -> Table:
    """Rows a second for every benchmark and number of threads; tokens once for every benchmark.

    Raises:
        UserError: the experiment has no benchmark.
    """
    runs, every = results.finetuned, timings(results)
    own = turns(every, SCENARIO)
    of_benchmark = {one.first.benchmark: one for one in reversed(own)}
    return Table(
        "Padding",
        measured(own) if own else "Rows of no task were timed.",
        numbers(results, SCENARIO),
        [
            *(part for one in own for part in _speeds(runs, one)),
            *(_tokens(one) for one in reversed(of_benchmark.values())),
            *not_timed(every, SCENARIO),
        ],
        _notes() if own else [],
        [_answer(runs, one) for one in own],
    )


def _speeds(runs: Runs, own: Turns) -> list[Section]:
    def at(workload: str) -> Callable[[str], Timing | None]:
        return lambda variant: own.at(variant, workload)

    name: Column[str] = Column("", str, "Variant")
    columns: list[Column[str]] = [
        Column("", at(one.workload), workload_head(one), _rows_a_second) for one in own.workloads
    ]
    return grids(f"{own.title(runs)}: rows a second", list(own.variants), name, columns)


def _speed(timing: Timing | None, seconds: float | None = None) -> float | None:
    if timing is None or timing.seconds is None or not timing.rows:
        return None
    return timing.rows / (timing.seconds.median if seconds is None else seconds)


def _rows_a_second(timing: Timing | None) -> str:
    speed = _speed(timing)
    if timing is None or timing.seconds is None or speed is None:
        return ABSENT if timing is None else timing.status
    low, high = _speed(timing, timing.seconds.high), _speed(timing, timing.seconds.low)
    digits = 0 if speed >= 100 else 1
    return f"{speed:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def _tokens(own: Turns) -> Section:
    """A row for each way to count the tokens: a trimmed vocabulary cuts texts otherwise."""
    found: dict[tuple[int | None, ...], dict[str, dict[str, Timing]]] = {}
    for variant in own.variants:
        at = {one.workload: one for one in own.timings if one.variant == variant and one.tokens}
        if at:
            found.setdefault(tuple(one.tokens for one in at.values()), {})[next(iter(at.values())).method] = at
    rows = [Counted(listing(list(chains)), next(iter(chains.values()))) for chains in found.values()]
    if len(rows) == 1:
        rows = [rows[0]._replace(chains="all")]

    def at_workload(workload: str) -> Callable[[Counted], Timing | None]:
        return lambda row: row.at.get(workload)

    columns: list[Column[Counted]] = [
        Column("", lambda row: row.chains, "Chains"),
        *(Column("", at_workload(one.workload), workload_head(one), _computed) for one in own.workloads),
    ]
    return section(f"{own.first.benchmark}: tokens computed", rows, columns)


def _computed(timing: Timing | None) -> str:
    if timing is None or not timing.padded_tokens:
        return ABSENT
    return f"{count(timing.padded_tokens)} ({number(100 * _padding(timing), 0)} % padding)"


def _padding(timing: Timing) -> float:
    return 1 - (timing.tokens or 0) / timing.padded_tokens if timing.padded_tokens else 0.0


def _answer(runs: Runs, own: Turns) -> str:
    """For the fastest variant of all: which arrangement answers most rows a second."""
    ready = [one for one in own.timings if one.seconds]
    if not ready:
        return f"**{own.title(runs)}:** nothing was timed."
    best = max(ready, key=lambda one: _speed(one) or 0.0)
    others = [one for one in ready if one.variant == best.variant and one is not best]
    said = [f"{workload_head(one).lower()} {_rows_a_second(one)}" for one in others]
    beside = f"; the same {', '.join(said)}" if said else ""
    return (
        f"**{own.title(runs)}:** most rows a second with `{best.variant}`, {workload_head(best).lower()}: "
        f"{_rows_a_second(best)}{beside}."
    )


def _notes() -> list[str]:
    return [
        "Padded: all rows to one length. In order: batches of rows as they come, to the longest of each. Sorted: the "
        "same, rows of like length together. Alone: a row at a time, nothing padded. Padding is computed as text is.",
        "Rows a second: the rows of the workload by the median time of all of them, in brackets the 95 % interval of "
        "that median. Variants of one column took turns; columns did not: small differences between columns may be "
        "the machine's.",
    ]
