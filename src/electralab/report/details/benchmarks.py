"""`benchmarks.csv`: a row for every variant in every workload; what did not run has its reason and no numbers.

Seconds are of one answer to the whole workload; the least and the most are of rounds. `faster` is how many times
faster than the fastest fp32 backend of PyTorch in the same comparison (`baseline`), the median over rounds with its
95 % interval; `cpu_faster` the same of CPU time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from electralab.benchmark.answers import comparisons
from electralab.benchmark.ratios import ratio
from electralab.benchmark.record import BenchmarkRecord, Cell, VariantRecord, read_benchmark
from electralab.report.sources import Sources

PERCENTILES = ("p50", "p90", "p95", "p99")
COLUMNS = (
    *("benchmark", "model", "task", "seed", "method", "backend", "kernel", "scenario", "workload", "threads"),
    *("batch_size", "length", "arrangement", "status", "reason", "rounds", "rows", "tokens", "padded_tokens"),
    *(f"seconds_{name}{end}" for name in PERCENTILES for end in ("", "_low", "_high")),
    *("seconds_minimum", "seconds_maximum", "cpu_seconds", "baseline", "is_baseline"),
    *(f"{name}{end}" for name in ("faster", "cpu_faster") for end in ("", "_low", "_high")),
    *("peak_rss_bytes", "empty_process_bytes", "peak_gpu_bytes", "joules", "energy", "bytes_on_disk"),
    *("gate", "gate_rows", "device", "gpu", "machine", "load_before", "load_after"),
)


def rows(sources: Sources) -> pd.DataFrame:
    """The cells of every benchmark, and the variants that were not timed.

    Raises:
        UserError: a record is missing or damaged.
    """
    found = [row for path in sources.benchmarks for row in _rows(read_benchmark(path))]
    return pd.DataFrame(found, columns=list(COLUMNS))


def _rows(record: BenchmarkRecord) -> Iterator[dict[str, Any]]:
    variants = {variant.name: variant for variant in record.variants}
    for cells, baseline in comparisons(record):
        for cell in cells:
            yield _about(record, variants[cell.variant]) | _measured(cell) | _beside(cell, baseline)
    timed = {cell.variant for cell in record.cells}
    for name, variant in variants.items():
        if name not in timed:
            yield _about(record, variant) | {"status": variant.status, "reason": variant.reason}


def _about(record: BenchmarkRecord, variant: VariantRecord) -> dict[str, Any]:
    told = record.provenance
    return {
        "benchmark": record.name,
        **{"model": record.model, "task": record.task, "seed": record.seed},
        **{"method": variant.chain, "backend": variant.backend, "kernel": variant.kernel},
        **{"bytes_on_disk": variant.bytes_on_disk, "gate": variant.gate, "gate_rows": variant.gate_rows},
        **{"empty_process_bytes": record.empty_process_bytes, "energy": record.energy},
        **{"device": told.device, "gpu": told.gpu, "machine": told.machine},
        **{"load_before": record.before.get("load_average"), "load_after": record.after.get("load_average")},
    }


def _measured(cell: Cell) -> dict[str, Any]:
    seconds = {
        f"seconds_{name}{end}": value
        for name, values in cell.percentiles.items()
        for end, value in zip(("", "_low", "_high"), values)
    }
    if not seconds and cell.wall:  # first answers, too few for more than their median
        seconds["seconds_p50"] = float(np.median(cell.wall))
    if cell.wall:
        seconds |= {"seconds_minimum": min(cell.wall), "seconds_maximum": max(cell.wall)}
    named = {"scenario", "workload", "threads", "batch_size", "length", "arrangement", "status", "reason", "rows"}
    named |= {"tokens", "padded_tokens", "peak_rss_bytes", "peak_gpu_bytes", "joules"}
    cpu = float(np.median(cell.cpu)) if cell.cpu else None
    return cell.model_dump(include=named) | seconds | {"rounds": len(cell.wall), "cpu_seconds": cpu}


def _beside(cell: Cell, baseline: Cell | None) -> dict[str, Any]:
    if baseline is None:
        return {}
    found: dict[str, Any] = {"baseline": baseline.variant, "is_baseline": cell is baseline}
    if cell.status != "ok" or cell is baseline:
        return found
    for name, kind in (("faster", "wall"), ("cpu_faster", "cpu")):
        before, now = (np.array(getattr(held, kind)) for held in (baseline, cell))
        if len(before) and len(now):
            times = ratio(before, now)
            found |= {name: times.median, f"{name}_low": times.low, f"{name}_high": times.high}
    return found
