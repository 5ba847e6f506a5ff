"""What is asked of every variant at once, from the scenarios of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from electralab.config import Benchmark, Latency, TaskLengths
from electralab.data.example import Example

Texts = list[list[str | None]]


class Workload(NamedTuple):
    """One comparison; a worker makes its batches by `do`, told `told`."""

    scenario: str
    name: str
    do: str
    told: dict[str, Any]
    rows: int
    batch_size: int
    length: int | None = None
    arrangement: str | None = None


def workloads(settings: Benchmark, rows: Sequence[Example]) -> Iterator[Workload]:
    """In the order of the scenarios; a process that starts cold is no workload.

    Args:
        settings: of the benchmark.
        rows: of the task, for scenarios that read them; as many as there are.
    """
    for scenario in settings.scenarios:
        if isinstance(scenario, Latency):
            for length in scenario.lengths:
                for size in scenario.batch_sizes:
                    told: dict[str, Any] = {"batch_size": size, "length": length}
                    yield Workload("latency", f"b{size}-s{length}", "fixed", told, size, size, length)
        elif isinstance(scenario, TaskLengths):
            texts = as_texts(rows[: scenario.rows])
            for arrangement in scenario.arrangements:
                size = 1 if arrangement == "alone" else scenario.batch_size
                told = {"texts": texts, "batch_size": size, "arrangement": arrangement, "longest": scenario.longest}
                yield Workload("task_lengths", arrangement, "texts", told, len(texts), size, arrangement=arrangement)


def as_texts(rows: Sequence[Example]) -> Texts:
    """Rows as a worker is told them."""
    return [[row.text, row.pair] for row in rows]
