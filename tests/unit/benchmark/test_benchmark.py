"""A benchmark of small models, every part for real: processes, backends, the gate, the record."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from chains import fetched, run_chain
from finetune_task import write_task

from electralab.benchmark.answers import comparisons, in_a_line, in_lines, times_faster
from electralab.benchmark.folders import of_folders
from electralab.benchmark.measuring import Subject
from electralab.benchmark.process import Process
from electralab.benchmark.record import BenchmarkRecord, read_benchmark
from electralab.benchmark.run import run_benchmark
from electralab.cli import main
from electralab.config import Benchmark
from electralab.data.tasks import read_task
from electralab.errors import RunFailed, Unsuitable, UserError
from electralab.files import locked
from electralab.names import artifact_in

FULL = {"kind": "full", "learning_rates": [1e-2], "epochs": 2, "batch_size": 16, "max_length": 32}
CHAINS = ("full", "full+int8")
SHORT = {"rounds": 3, "most_rounds": 3, "minutes": 0.1}
SCENARIOS = [
    {"kind": "latency", "batch_sizes": [1, 4], "lengths": [8]},
    {"kind": "task_lengths", "rows": 6, "batch_size": 4, "longest": 16},
]
BACKENDS = ["own", "eager", "sdpa_math", "cuda_graph"]
GRAPH = {"chain": ["full", "int8"], "backends": ["onnxruntime"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    task = write_task(root / "words")
    run_chain(root, task, fetched(root, "encoder"), full=FULL, int8={"kind": "dynamic_int8"})
    return root


def subject(runs: Path) -> Subject:
    artifacts = {chain: Path(artifact_in(str(runs / chain))) for chain in CHAINS}
    return Subject(artifacts, read_task(next((runs / "words").rglob("manifest.json"))))


def settings(**more: Any) -> Benchmark:
    variants = [{"chain": ["full"], "backends": BACKENDS}, GRAPH]
    told = {"model": "toy", "task": "toy", "variants": variants, "scenarios": SCENARIOS, **SHORT, **more}
    return Benchmark.model_validate(told)


@pytest.fixture(scope="module")
def record(runs: Path) -> BenchmarkRecord:
    out = runs / "benchmark.json"
    run_benchmark("toy", settings(), subject(runs), "cpu", out)
    return read_benchmark(out)


def test_every_variant_is_timed_or_says_why_not(record: BenchmarkRecord) -> None:
    found = {variant.name: variant for variant in record.variants}
    assert found["full@cuda_graph"].reason == "not run: needs CUDA"
    timed = {name for name, variant in found.items() if variant.status == "ok"}
    assert timed == {"full@own", "full@eager", "full@sdpa_math", "full+int8@onnxruntime"}
    assert {found[name].gate for name in timed} == {1.0}
    assert {cell.variant for cell in record.cells} == timed
    assert all(cell.status == "ok" and min(cell.wall) > 0 for cell in record.cells)


def test_the_kernel_is_the_one_that_ran(record: BenchmarkRecord) -> None:
    kernels = {variant.backend: variant.kernel for variant in record.variants if variant.chain == "full"}
    assert kernels["eager"] == "eager"
    assert "attention_math" in kernels["sdpa_math"]
    assert "flash_attention" in kernels["own"]  # which PyTorch chooses


def test_padding_is_counted(record: BenchmarkRecord) -> None:
    counts = {
        cell.arrangement: (cell.tokens, cell.padded_tokens)
        for cell in record.cells
        if cell.scenario == "task_lengths" and cell.variant == "full@own"
    }
    assert len({tokens for tokens, _ in counts.values()}) == 1
    assert counts["padded"][1] == 6 * 16
    assert counts["alone"][0] == counts["alone"][1]
    assert counts["alone"][1] <= counts["sorted"][1] <= counts["in_order"][1] <= counts["padded"][1]


def test_ratios_are_held_to_the_fastest_of_torch(record: BenchmarkRecord) -> None:
    for cells, baseline in comparisons(record):
        assert baseline is not None
        torch = [cell for cell in cells if cell.variant in ("full@own", "full@eager")]
        assert all(sorted(baseline.wall)[1] <= sorted(cell.wall)[len(cell.wall) // 2] for cell in torch)
        assert times_faster(baseline, baseline) is None
    assert "1 not run" in in_a_line(record)
    assert any("not run: needs CUDA" in line for line in in_lines(record))


def test_a_cold_start_has_its_memory(runs: Path, tmp_path: Path) -> None:
    cold = [{"kind": "cold_start", "starts": 1}]
    asked = settings(variants=[{"chain": ["full"], "backends": ["own"]}, GRAPH], scenarios=cold)
    found = run_benchmark("toy", asked, subject(runs), "cpu", tmp_path / "benchmark.json")
    torch, graph = (cell.peak_rss_bytes or 0 for cell in found.cells)
    assert 0 < found.empty_process_bytes < graph < torch / 2  # no PyTorch in it


def test_what_answers_otherwise_than_its_record_is_not_timed(runs: Path, tmp_path: Path) -> None:
    path = runs / "full+int8" / "predictions.csv"
    before = path.read_text()
    rows = list(csv.DictReader(before.splitlines()))
    other = {row["prediction"] for row in rows} | {row["label"] for row in rows}
    for row in rows[:5]:
        row["prediction"] = next(label for label in sorted(other) if label != row["prediction"])
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    try:
        asked = settings(variants=[GRAPH], scenarios=SCENARIOS[:1])
        found = run_benchmark("toy", asked, subject(runs), "cpu", tmp_path / "benchmark.json")
    finally:
        path.write_text(before)
    (wrong,) = found.variants
    assert wrong.status == "failed"
    assert wrong.reason is not None and "5 of" in wrong.reason
    assert not found.cells


def test_a_process_that_is_gone_says_so(runs: Path) -> None:
    process = Process("full", 1)
    try:
        with pytest.raises(Unsuitable, match="needs CUDA"):
            process.ask(
                "open", manifest=str(subject(runs).artifacts["full"]), backend="cuda_graph", threads=1, device="cpu"
            )
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(RunFailed, match="status -9"):
            process.ask("peak")
    finally:
        process.close()


def test_two_at_once_are_refused(runs: Path, tmp_path: Path) -> None:
    from electralab.benchmark.run import lock_of

    with locked(lock_of("cpu"), wait=False), pytest.raises(UserError, match="another benchmark runs on cpu"):
        run_benchmark("toy", settings(), subject(runs), "cpu", tmp_path / "benchmark.json")


def test_folders_by_hand(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(runs / "full+int8"), str(runs / "full+int8")]
    more = ["--batch-sizes", "1", "--lengths", "8", "--out", str(tmp_path / "benchmark.json")]
    found, _ = of_folders([runs / "full", runs / "full"], [], 1, [1], [8])
    assert [variant.chain for variant in found.variants] == [["full"], ["full", "again"]]
    assert main(["benchmark", "--model", *folders, *more]) == 0
    said = capsys.readouterr().out
    assert "full+int8@onnxruntime" in said and "the baseline" in said
    assert main(["benchmark", "--model", str(tmp_path), *more]) == 1
    assert "holds nothing that a run left" in capsys.readouterr().err
