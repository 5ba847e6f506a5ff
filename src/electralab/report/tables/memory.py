"""Table `memory`: what every variant of a benchmark takes on disk, in its process and on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from electralab.report.benchmarks import Timing, Turns, not_timed, timings, turns, workload_head
from electralab.report.grid import Column, Section, Table, frame, grids, section
from electralab.report.model_bytes import SIZES, model_bytes
from electralab.report.results import Results
from electralab.report.runs import Cell, Runs
from electralab.report.text import ABSENT, listing, megabytes


class Held(NamedTuple):
    """A variant and the bytes of its weights."""

    variant: str
    bytes: float | None


def table(results: Results) -> Table:
    """A section for every benchmark and number of threads: batches of one length, or else rows of the task.

    Raises:
        UserError: the experiment has no benchmark.
    """
    runs, every = results.finetuned, timings(results)
    own = turns(every, "latency") or turns(every, "task_lengths")
    return Table(
        "Memory",
        "" if own else "No workload was timed.",
        frame(every, _csv(runs)),
        [*(part for one in own for part in _sections(runs, one)), *not_timed(every)],
        _notes(own) if own else [],
        [line for one in own[:1] for line in _answer(runs, one)],
    )


def _held(runs: Runs, own: Turns) -> list[Held]:
    return [Held(variant, _bytes(runs, timing)) for variant, timing in own.variants.items()]


def _bytes(runs: Runs, timing: Timing) -> float | None:
    return model_bytes(runs, Cell(timing.task, timing.method), timing.model)


def _sections(runs: Runs, own: Turns) -> list[Section]:
    def at(workload: str) -> Callable[[Held], Timing | None]:
        return lambda row: own.at(row.variant, workload)

    name: Column[Held] = Column("", lambda row: row.variant, "Variant")
    disk: Column[Held] = Column("", lambda row: row.bytes, "Files", megabytes)
    rows = _held(runs, own)
    peaks = [Column("", at(one.workload), workload_head(one), _peak) for one in own.workloads]
    found = grids(f"{own.title(runs)}: MB of the process", rows, name, [disk, *peaks])
    if any(timing.peak_gpu_bytes for timing in own.timings):
        gpu = [Column("", at(one.workload), workload_head(one), _gpu_peak) for one in own.workloads]
        found.append(section(f"{own.title(runs)}: MB on the GPU", rows, [name, *gpu]))
    return found


def _peak(timing: Timing | None) -> str:
    if timing is None or not timing.peak_rss_bytes:
        return ABSENT
    peak, empty = timing.peak_rss_bytes, timing.empty_process_bytes
    return f"{peak / 1e6:,.0f} ({(peak - empty) / 1e6:,.0f})"


def _gpu_peak(timing: Timing | None) -> str:
    return ABSENT if timing is None or not timing.peak_gpu_bytes else f"{timing.peak_gpu_bytes / 1e6:,.0f}"


def _csv(runs: Runs) -> list[Column[Timing]]:
    copied = (
        *("benchmark", "model", "task", "seed", "method", "backend", "scenario", "workload", "threads"),
        *("batch_size", "length", "status", "reason", "peak_rss_bytes", "empty_process_bytes", "peak_gpu_bytes"),
    )

    def read(name: str) -> Callable[[Timing], object]:
        return lambda timing: getattr(timing, name)

    return [*(Column(name, read(name)) for name in copied), Column("bytes", lambda timing: _bytes(runs, timing))]


# --- sentences ------------------------------------------------------------------------------------------------------


def _answer(runs: Runs, own: Turns) -> list[str]:
    """Who takes least in the first workload, beside the baseline's chain."""
    here = own.workloads[0]
    known = [one for one in own.timings if one.workload == here.workload and one.peak_rss_bytes]
    if not known:
        return ["No peak of a process is known: this system does not let one begin anew."]
    least, most = (choose(known, key=lambda one: one.peak_rss_bytes or 0) for choose in (min, max))
    return [
        f"**{own.title(runs)}, {workload_head(here)}:** the process takes from {_peak(least)} MB "
        f"(`{least.variant}`) to {_peak(most)} MB (`{most.variant}`)."
    ]


def _notes(own: Sequence[Turns]) -> list[str]:
    empty = listing(sorted({f"{timing.empty_process_bytes / 1e6:.0f}" for one in own for timing in one.timings}))
    return [
        "MB of the process: the most resident memory while it answers the workload once more, warmed up, libraries "
        f"included; in brackets above a process of this interpreter that imports nothing ({empty} MB).",
        f"Files: {SIZES}",
    ]
