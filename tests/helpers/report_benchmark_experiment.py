"""A constructed benchmark of MiniLM and its chains, and the runs that it times. The numbers are invented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from report_compressed_experiment import DENSE, EMBEDDINGS, sizes
from report_experiment import MINILM, Builder, provenance

from electralab.benchmark.record import BenchmarkRecord, Cell, VariantRecord
from electralab.config import DynamicInt8, Half, Lora, Merge, OpenvinoInt8, Prune, Remove, StaticInt8, TrimVocabulary
from electralab.files import write_json

TASK = "movie_sentiment"
ROUNDS = 21
EMPTY = 11_000_000
BATCHES, LENGTHS, THREADS = (1, 8, 32), (32, 128), (1, 2)
ROWS, LONGEST = 128, 128
TOKENS = {"padded": ROWS * LONGEST, "in_order": 6_400, "sorted": 4_100, "alone": 3_500}  # computed
TEXT = 3_500  # tokens of text; a trimmed vocabulary cuts it into more


class Chain(NamedTuple):
    """A chain: its last link's settings, its score, the bytes of its files."""

    name: str
    settings: Any
    score: float
    known: dict[str, Any]


FP32, INT8 = sizes(4 * EMBEDDINGS, 4 * DENSE), sizes(EMBEDDINGS, DENSE)
CHAINS = (
    Chain("full", None, 0.82, FP32),
    Chain("full+half", Half(), 0.82, sizes(2 * EMBEDDINGS, 2 * DENSE)),
    Chain("full+int8", DynamicInt8(), 0.818, INT8),
    Chain("full+openvino", OpenvinoInt8(), 0.819, INT8),
    Chain("full+static", StaticInt8(), 0.70, INT8),
    Chain("full+masked", Prune(sparsity=0.5), 0.815, FP32),
    Chain("full+thin", Remove(layers=[1, 3, 5]), 0.76, sizes(4 * EMBEDDINGS, 2 * DENSE)),
    Chain("full+trim", TrimVocabulary(), 0.813, sizes(2 * EMBEDDINGS, 4 * DENSE)),
    Chain("full+trim+int8", DynamicInt8(), 0.81, sizes(EMBEDDINGS / 2, DENSE)),
    Chain("lora", Lora(), 0.81, {"known_cost": {"bytes_on_disk": 600_000}}),
    Chain("lora+merge", Merge(), 0.81, FP32),
)
# Times as fast as `full@own`, and resident megabytes with one row.
SPEED: dict[str, tuple[float, float]] = {
    "full@own": (1.0, 456),
    "full@eager": (0.91, 470),
    "full@sdpa": (0.97, 468),
    "full@compiled": (1.05, 612),
    "full+int8@onnxruntime": (3.0, 103),
    "full+openvino@openvino": (3.4, 212),
    "full+masked@own": (1.05, 458),  # as the baseline, which is the compiled one
    "full+thin@own": (1.95, 420),
    "full+trim+int8@onnxruntime": (3.05, 96),
    "lora@sdpa": (0.8, 490),
    "lora+merge@own": (1.0, 456),
}
NOT_TIMED = {
    "full@cuda_graph": ("skipped", "not run: needs CUDA"),
    "full+static@onnxruntime": ("failed", "not timed: it answers 9 of 200 rows otherwise than the record of its run"),
}
NO_ROOM = "lora@sdpa"  # fails at the largest workload


def runs_to_time(builder: Builder, seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """Every chain, and TF-IDF."""
    for chain in CHAINS:
        for seed in seeds:
            more = {"adapter_bytes": 6e5, "weights_bytes": 90.3e6} if chain.name == "lora" else {}
            builder.finetune(
                *("minilm", TASK, seed, chain.score + (0.0, 0.01, -0.008)[seed]),
                **{"method": chain.name, "settings": chain.settings, "hub": MINILM} | chain.known | more,
            )
    builder.baseline(TASK, 0.70)
    path = builder.records[-1]
    path.write_text(path.read_text().replace('"parameters": {}', '"parameters": {"total": 18569}'))


def write_benchmark(builder: Builder, name: str = "chains", scenarios: tuple[str, ...] = (), **more: Any) -> Path:
    """A record beside the runs; without `scenarios` it has all."""
    path = builder.folder.parent / "benchmarks" / name / "benchmark.json"
    variants = [_variant(name, "ok", None) for name in SPEED]
    variants[4:4] = [_variant(name, *why) for name, why in NOT_TIMED.items() if name.startswith("full@")]
    variants += [_variant(name, *why) for name, why in NOT_TIMED.items() if not name.startswith("full@")]
    cells = [cell for cell in every_cell() if not scenarios or cell.scenario in scenarios]
    told: dict[str, Any] = {
        **{"name": name, "model": "minilm", "task": TASK, "seed": 0, "settings": {}, "energy": None},
        **{"before": {"load_average": 0.4}, "after": {"load_average": 1.1}, "provenance": provenance()},
        **{"variants": variants, "cells": cells, "empty_process_bytes": EMPTY, "wall_seconds": 900.0},
    }
    write_json(path, BenchmarkRecord.model_validate(told | more).model_dump(mode="json"))
    return path


def every_cell() -> list[Cell]:
    """Of all scenarios."""
    return [*_latencies(), *_task_lengths(), *_cold_starts()]


def _variant(name: str, status: Any, reason: str | None) -> VariantRecord:
    chain, _, backend = name.partition("@")
    timed = status == "ok"
    return VariantRecord(
        **{"name": name, "chain": chain, "backend": backend, "status": status, "reason": reason},
        **{"kernel": backend if timed else "", "gate": 1.0 if timed else None, "gate_rows": 200 if timed else 0},
        bytes_on_disk=25_000_000,
    )


def _latencies() -> Iterator[Cell]:
    for threads in THREADS:
        for length in LENGTHS:
            for batch in BATCHES:
                milliseconds = (4 + 11 * (length / 32) ** 1.1 * batch) / threads**0.8
                told = {"scenario": "latency", "workload": f"b{batch}-s{length}", "threads": threads}
                told |= {"batch_size": batch, "length": length, "rows": batch, "tokens": batch * length}
                for name, (_, memory) in SPEED.items():
                    if name == NO_ROOM and (batch, length) == (32, 128):
                        yield Cell(variant=name, status="failed", reason="the machine's memory is full", **told)
                    else:
                        peak = int(1e6 * (memory + 0.004 * batch * length))
                        yield _timed(name, milliseconds / 1e3, told | {"padded_tokens": batch * length}, peak)


def _task_lengths() -> Iterator[Cell]:
    for threads in THREADS:
        for arrangement, computed in TOKENS.items():
            size = 1 if arrangement == "alone" else 32
            told = {"scenario": "task_lengths", "workload": arrangement, "arrangement": arrangement}
            told |= {"threads": threads, "batch_size": size, "rows": ROWS}
            for name, (_, memory) in SPEED.items():
                more = 1.02 if "trim" in name else 1.0
                tokens = {"tokens": round(TEXT * more)}
                tokens["padded_tokens"] = computed if arrangement == "padded" else round(computed * more)
                seconds = (computed * 3.4e-4 + ROWS / size * 4e-3) / threads**0.8
                yield _timed(name, seconds, told | tokens, int(1e6 * (memory + 20)))


def _cold_starts() -> Iterator[Cell]:
    for threads in THREADS:
        told = {"scenario": "cold_start", "workload": "first answer", "threads": threads, "batch_size": 1, "rows": 1}
        for name, (_, memory) in SPEED.items():
            seconds = 0.45 if "onnx" in name else 1.1 if "openvino" in name else 3.1
            wall = (seconds * _noise(name + "cold", 9, 0.1)).tolist()
            yield Cell(variant=name, wall=wall, peak_rss_bytes=int(1e6 * memory), **told)


def _timed(name: str, seconds: float, told: dict[str, Any], peak: int) -> Cell:
    """Rounds share what slows the machine down; a variant has little of its own."""
    place = f"{told['workload']} {told['threads']}"
    shared = _noise(place, ROUNDS, 0.15)
    wall = seconds / SPEED[name][0] * shared * _noise(f"{name} {place}", ROUNDS, 0.02)
    middle = float(np.median(wall))
    spread = {f"p{q}": (float(np.quantile(wall, q / 100)), middle * 0.97, middle * 1.04) for q in (50, 90, 95, 99)}
    return Cell(
        variant=name, wall=wall.tolist(), cpu=(0.99 * wall).tolist(), percentiles=spread, peak_rss_bytes=peak, **told
    )


def _noise(who: str, count: int, width: float) -> np.ndarray:
    """Factors around 1, the same for the same name."""
    return np.exp(width * np.random.default_rng(crc32(who.encode())).normal(size=count))
