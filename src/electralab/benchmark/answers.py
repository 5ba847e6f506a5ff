"""What a benchmark says in a sentence or a few lines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from electralab.benchmark.ratios import Ratio, ratio
from electralab.benchmark.record import BenchmarkRecord, Cell
from electralab.config import TORCH_BACKENDS


def comparisons(record: BenchmarkRecord) -> Iterator[tuple[list[Cell], Cell | None]]:
    """The cells that took turns with each other, and what they are held to.

    That is the fastest of PyTorch's fp32 backends of the first chain, or of its other backends where it has none of
    those: with a slow baseline everything is fast.
    """
    groups: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in record.cells:
        groups.setdefault((cell.scenario, cell.workload, cell.threads), []).append(cell)
    first = [variant for variant in record.variants if variant.chain == record.variants[0].chain]
    torch = {variant.name for variant in first if variant.backend in TORCH_BACKENDS}
    held_to = torch or {variant.name for variant in first}
    for cells in groups.values():
        candidates = [cell for cell in cells if cell.status == "ok" and cell.variant in held_to]
        yield cells, min(candidates, key=_seconds, default=None)


def times_faster(baseline: Cell | None, cell: Cell) -> Ratio | None:
    """How many times faster a cell is than the baseline of its comparison; None where one of them has no time."""
    if baseline is None or cell.status != "ok" or baseline is cell:
        return None
    return ratio(np.array(baseline.wall), np.array(cell.wall))


def in_a_line(record: BenchmarkRecord) -> str:
    """How many variants were timed, and the fastest of the first comparison."""
    timed = [variant for variant in record.variants if variant.status == "ok"]
    left = len(record.variants) - len(timed)
    said = f"{record.name}: {len(timed)} variants timed" + (f", {left} not run" if left else "")
    cells, baseline = next(comparisons(record), ([], None))
    ready = [cell for cell in cells if cell.status == "ok"]
    if not ready or baseline is None:
        return said
    best = min(ready, key=_seconds)
    found = times_faster(baseline, best)
    faster = "" if found is None else f", {found.median:.2f} x {baseline.variant} [{found.low:.2f}, {found.high:.2f}]"
    return f"{said}; fastest at {best.workload}: {best.variant}{faster}"


def in_lines(record: BenchmarkRecord) -> Iterator[str]:
    """Every cell: milliseconds, and how many times faster than the fastest fp32 variant of PyTorch."""
    for variant in record.variants:
        if variant.status != "ok":
            yield f"{variant.name}: {variant.status}: {variant.reason}"
    for cells, baseline in comparisons(record):
        yield f"{cells[0].scenario} {cells[0].workload}, {cells[0].threads} threads"
        for cell in cells:
            if cell.status != "ok":
                yield f"  {cell.variant}: {cell.reason}"
                continue
            found = times_faster(baseline, cell)
            faster = "the baseline" if cell is baseline else ""
            if found is not None:
                faster = f"{found.median:.2f} x [{found.low:.2f}, {found.high:.2f}]"
            yield f"  {cell.variant}: {1e3 * _seconds(cell):.2f} ms  {faster}".rstrip()


def _seconds(cell: Cell) -> float:
    return float(np.median(cell.wall))
