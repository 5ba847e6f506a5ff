"""One benchmark from its settings to its record."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from electralab.benchmark.cold_start import empty_process_bytes
from electralab.benchmark.measuring import Measuring, Subject
from electralab.benchmark.record import BenchmarkRecord
from electralab.benchmark.trackers.machine import machine_state
from electralab.benchmark.workloads import workloads
from electralab.config import Benchmark, ColdStart
from electralab.errors import UserError
from electralab.files import locked, write_json
from electralab.progress import Progress
from electralab.records import Meter


def run_benchmark(name: str, settings: Benchmark, subject: Subject, device: str, out: Path) -> BenchmarkRecord:
    """Measure, and write the record.

    Args:
        name: of the benchmark.
        settings: what takes turns, and how long.
        subject: what is timed.
        device: `cpu`, `cuda` or `cuda:N`.
        out: the record.

    Raises:
        UserError: an artifact is missing or damaged, or another benchmark runs on this device.
    """
    rows = [] if subject.task is None else subject.task.validation
    asked = list(workloads(settings, rows))
    cold = [scenario for scenario in settings.scenarios if isinstance(scenario, ColdStart)]
    with _alone(device):
        measuring = Measuring(settings, subject, device)
        meter, before, done = Meter(device, max(settings.threads)), machine_state(), 0
        with Progress(name, len(settings.threads) * (len(asked) + len(cold)), unit="comparison") as progress:
            for threads in settings.threads:
                with ExitStack() as stack:
                    opened = measuring.open_all(threads, stack)
                    for workload in asked:
                        measuring.compare(workload, opened, threads)
                        done += 1
                        progress.update(done, f"{threads} threads, {workload.name}")
                for scenario in cold:
                    measuring.start_cold(scenario.starts, threads, rows)
                    done += 1
                    progress.update(done, f"{threads} threads, first answers")
        record = BenchmarkRecord(
            name=name,
            model=settings.model,
            task=settings.task,
            seed=settings.seed,
            settings=settings.without_defaults(),
            variants=list(measuring.variants.values()),
            cells=measuring.cells,
            energy=None if measuring.energy is None else measuring.energy.source,
            empty_process_bytes=empty_process_bytes(),
            before=before,
            after=machine_state(),
            provenance=meter.provenance(),
            wall_seconds=round(meter.wall_seconds, 1),
        )
        write_json(out, record.model_dump(mode="json"))
    return record


def lock_of(device: str) -> Path:
    """The file whose lock a benchmark holds."""
    return Path(tempfile.gettempdir()) / f"electralab-{os.getuid()}" / f"benchmark-{device.replace(':', '-')}.lock"


@contextmanager
def _alone(device: str) -> Iterator[None]:
    """Hold the device for one benchmark of this user's: two would time each other.

    Raises:
        UserError: another one runs.
    """
    try:
        lock = locked(lock_of(device), wait=False)
    except BlockingIOError:
        raise UserError(
            f"another benchmark runs on {device} of this machine, and the two would time each other: wait for it"
        ) from None
    with lock:
        yield
