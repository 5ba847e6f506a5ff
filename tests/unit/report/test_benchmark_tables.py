"""Tables of a constructed benchmark against arithmetic on its record, and its figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import with_block
from report_benchmark_experiment import (
    EMPTY,
    NOT_TIMED,
    ROUNDS,
    ROWS,
    SPEED,
    TASK,
    TEXT,
    TOKENS,
    every_cell,
    runs_to_time,
    write_benchmark,
)
from report_compressed_experiment import DENSE, EMBEDDINGS
from report_experiment import Builder, collected
from report_made import Made, check_layout, drawn
from scipy import stats

from electralab.benchmark.record import Cell
from electralab.catalogue import FIGURES, TABLES, chosen
from electralab.config import load_experiment
from electralab.errors import UserError
from electralab.plan import Plan
from electralab.report.benchmarks import timings, turns
from electralab.report.figures.style import house_style
from electralab.report.make import make_table
from electralab.report.results import Results

ONE = f"chains: minilm on {TASK}, 1 thread"
MadeTable = Callable[..., Made]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    builder = Builder(tmp_path_factory.mktemp("benchmark") / "artifacts")
    runs_to_time(builder)
    return builder


@pytest.fixture(scope="module")
def made(study: Builder) -> MadeTable:
    path = write_benchmark(study)
    return lambda name: Made(study, name, benchmarks=[path])


@pytest.fixture(scope="module")
def latency(made: MadeTable) -> Made:
    return made("latency")


def cell(variant: str, workload: str, threads: int = 1) -> Cell:
    return next(one for one in every_cell() if (one.variant, one.workload, one.threads) == (variant, workload, threads))


def seconds(variant: str, workload: str, threads: int = 1) -> np.ndarray:
    return np.array(cell(variant, workload, threads).wall)


def only(builder: Builder, folder: Path, cells: list[Cell], name: str = "latency") -> Made:
    """A table of a benchmark with these cells."""
    return Made(builder, name, benchmarks=[write_benchmark(builder, folder.name, cells=cells)])


# --- latency --------------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_over_rounds(latency: Made) -> None:
    ratios = seconds("full@compiled", "b1-s32") / seconds("full+int8@onnxruntime", "b1-s32")
    row = latency.row(workload="b1-s32", threads=1, method="full+int8", backend="onnxruntime")
    assert row["faster"] == pytest.approx(np.median(ratios)) and len(ratios) == ROUNDS
    resampled = stats.bootstrap((ratios,), np.median, method="percentile", rng=1, n_resamples=2000).confidence_interval
    assert (row["faster_low"], row["faster_high"]) == pytest.approx(tuple(resampled), abs=0.03)
    shown = latency.cells("full+int8@onnxruntime", ONE)["1 × 32"]
    assert shown == f"{row['faster']:.2f} [{row['faster_low']:.2f}, {row['faster_high']:.2f}]"


def test_the_baseline_has_its_milliseconds(latency: Made) -> None:
    shown = latency.cells("full@compiled", ONE)
    for head, workload in (("1 × 32", "b1-s32"), ("32 × 128", "b32-s128")):
        expected = 1e3 * np.median(seconds("full@compiled", workload))
        assert shown[head].endswith(" ms")
        assert float(shown[head].removesuffix(" ms").replace(",", "")) == pytest.approx(expected, rel=0.01)
    assert latency.note("fastest there of PyTorch's fp32 backends", "`full@compiled`")


def test_scores_stand_beside_with_their_paired_difference(study: Builder, latency: Made) -> None:
    values = [0.76 + wobble for wobble in (0.0, 0.01, -0.008)]
    shown = latency.cells("full+thin@own", ONE)
    score = shown["Score (accuracy)"]
    assert score.startswith(f"{np.mean(values):.3f} [") and score.endswith("n=3")
    assert shown["Minus full"].startswith("-0.060 [")
    row = latency.row(workload="b1-s32", threads=1, method="full+thin", backend="own")
    comparisons = collected(study).detail("comparisons")
    pair = comparisons[(comparisons["method_a"] == "full") & (comparisons["method_b"] == "full+thin")].iloc[0]
    assert row["minus_baseline"] == pytest.approx(-pair["difference"])
    assert (row["minus_baseline_low"], row["minus_baseline_high"]) == pytest.approx((-pair["high"], -pair["low"]))
    assert latency.cells("full@eager", ONE)["Minus full"] == "–"


def test_a_section_for_every_number_of_threads(latency: Made) -> None:
    for threads in ("1 thread", "2 threads"):
        section = latency.section(f"chains: minilm on {TASK}, {threads}")
        assert sum(line.startswith(("| full", "| lora")) for line in section.splitlines()) == len(SPEED)


def test_what_was_not_timed_is_a_row_with_its_reason(latency: Made) -> None:
    section = latency.section("Not timed")
    for name, (status, reason) in NOT_TIMED.items():
        assert f"| {name} | chains | all | {status} | {reason} |" in section
    assert section.count("| lora@sdpa | chains | 32 × 128, ") == 2
    assert latency.cells("lora@sdpa", ONE)["32 × 128"] == "failed"
    assert set(latency.frame["status"]) == {"ok", "failed", "skipped"}


def test_the_answer_names_the_fastest_that_loses_nothing(latency: Made) -> None:
    for batch in (1, 32):
        assert "fastest without a shown loss of score `full+openvino@openvino`" in latency.note(
            f"{ONE}, batch {batch}:"
        )
    rest = latency.note(f"{ONE}:**")
    assert "not shown to be faster: `full+masked` (6 of 6 workloads" in rest
    assert "shown to lose score: `full+thin` (-0.060 [" in rest
    assert "`full+int8`" not in rest


def test_a_faster_model_that_loses_score_is_not_the_answer(tmp_path: Path, study: Builder) -> None:
    cells = [one for one in every_cell() if one.workload == "b1-s32" and one.threads == 1]
    for one in cells:
        if one.variant == "full+thin@own":
            one.wall = [second / 100 for second in one.wall]
            one.percentiles = {name: (a / 100, b / 100, c / 100) for name, (a, b, c) in one.percentiles.items()}
    assert "loss of score `full+openvino@openvino`" in only(study, tmp_path, cells).note(
        f"{tmp_path.name}:", "batch 1:"
    )


def test_one_seed_gives_no_verdict(builder: Builder) -> None:
    runs_to_time(builder, seeds=(0,))
    made = Made(builder, "latency", benchmarks=[write_benchmark(builder)])
    said = made.note(f"{ONE}, batch 1:")
    assert "one common seed gives no verdict on its score" in said
    assert "lose score" not in made.note(f"{ONE}:**")


def test_the_csv_has_cpu_time_and_the_page_has_not(latency: Made) -> None:
    assert latency.row(workload="b1-s32", threads=2, method="full+int8", backend="onnxruntime")["cpu_faster"] > 2
    assert "CPU time" not in latency.text


def test_how_it_was_measured_in_two_sentences(latency: Made) -> None:
    said = latency.text.partition("**How this was measured.**")[2]
    assert "order drawn anew in each of 21 rounds" in said and "load average of the machine 0.4 to 1.1" in said
    assert said.count(". ") <= 2


def test_without_a_baseline_times_stand_alone(tmp_path: Path, study: Builder) -> None:
    cells = [one for one in every_cell() if one.variant.startswith("full+int8") and one.workload == "b1-s32"]
    made = only(study, tmp_path, cells)
    assert made.cells("full+int8@onnxruntime", tmp_path.name)["1 × 32"].endswith(" ms")


def test_no_benchmark_is_one_line(study: Builder) -> None:
    results = collected(study)
    for name in ("latency", "memory", "cold_start", "padding"):
        with pytest.raises(UserError, match="has no benchmark: there is nothing to show"):
            make_table(name, results, results.folder / "tables" / name)


# --- memory, first answers, padding ---------------------------------------------------------------------------------


def test_memory_is_that_of_the_process_and_above_an_empty_one(made: MadeTable) -> None:
    memory = made("memory")
    peak = cell("full+int8@onnxruntime", "b32-s128").peak_rss_bytes or 0
    shown = memory.cells("full+int8@onnxruntime", ONE)
    assert shown["32 × 128"] == f"{peak / 1e6:.0f} ({(peak - EMPTY) / 1e6:.0f})"
    assert shown["Files"] == f"{(EMBEDDINGS + DENSE + 800_000) / 1e6:.1f}"
    assert memory.cells("lora@sdpa", ONE)["Files"] == "90.9"  # the frozen weights and the adapter
    assert "MB on the GPU" not in memory.text
    assert memory.note("96 (85) MB (`full+trim+int8@onnxruntime`) to 612 (601) MB (`full@compiled`)")


def test_memory_of_a_gpu_is_a_grid_of_its_own(tmp_path: Path, study: Builder) -> None:
    cells = [one.model_copy(update={"peak_gpu_bytes": 300_000_000}) for one in every_cell() if one.threads == 1]
    made = only(study, tmp_path, cells, "memory")
    heading = f"{tmp_path.name}: minilm on {TASK}, 1 thread: MB on the GPU"
    assert made.cells("full@own", heading)["1 × 32"] == "300"


def test_a_peak_that_is_not_known_is_a_dash(tmp_path: Path, study: Builder) -> None:
    cells = [one.model_copy(update={"peak_rss_bytes": None}) for one in every_cell()]
    made = only(study, tmp_path, cells, "memory")
    assert made.cells("full@own", tmp_path.name)["1 × 32"] == "–"
    assert made.note("No peak of a process is known")


def test_first_answers_have_their_median_and_span(made: MadeTable) -> None:
    cold = made("cold_start")
    wall = seconds("full+int8@onnxruntime", "first answer")
    shown = cold.cells("full+int8@onnxruntime", ONE)
    assert shown["Seconds"] == f"{np.median(wall):.2f}"
    assert shown["From, to"] == f"{wall.min():.2f} – {wall.max():.2f}"
    assert shown["Peak MB"] == "103"
    times = np.median(seconds("full@own", "first answer") / wall)
    assert shown["Times faster"].startswith(f"{times:.2f} [")
    assert cold.cells("full@own", ONE)["Times faster"] == "baseline"
    assert cold.note("median of 9 starts")


def test_padding_is_counted_and_rows_a_second_are_rows_over_seconds(made: MadeTable) -> None:
    padding = made("padding")
    shown = padding.cells("full@own", f"{ONE}: rows a second")
    for head, workload in (("Padded", "padded"), ("In order", "in_order"), ("Sorted", "sorted"), ("Alone", "alone")):
        speed = ROWS / np.median(seconds("full@own", workload))
        assert float(shown[head].partition(" ")[0]) == pytest.approx(speed, rel=0.01)
    tokens = padding.cells("full, ", "chains: tokens computed")
    assert tokens["Padded"] == f"{TOKENS['padded']:,} ({100 * (1 - TEXT / TOKENS['padded']):.0f} % padding)"
    assert tokens["Alone"] == f"{TEXT:,} (0 % padding)"
    assert padding.cells("full+trim+int8", "chains: tokens computed")["Alone"].startswith(f"{TEXT * 1.02:,.0f} (0 %")
    assert "most rows a second with `full+openvino@openvino`, sorted" in padding.note(f"{ONE}:**")


def test_one_tokenizer_is_one_line(tmp_path: Path, study: Builder) -> None:
    cells = [one for one in every_cell() if "trim" not in one.variant]
    assert only(study, tmp_path, cells, "padding").cells("all", f"{tmp_path.name}: tokens")["Alone"].startswith("3,500")


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(study: Builder) -> Results:
    return collected(study, benchmarks=[write_benchmark(study)])


@pytest.mark.parametrize("name", ["latency", "length", "pareto"])
def test_nothing_is_clipped_and_nothing_overlaps(results: Results, name: str) -> None:
    with house_style():
        check_layout(drawn(name, results))


def test_lines_are_milliseconds_a_row_of_the_fastest_backend(results: Results) -> None:
    panels = drawn("latency", results).axes
    assert [panel.get_title() for panel in panels] == [
        f"chains: {length} tokens, {threads}" for threads in ("1 thread", "2 threads") for length in (32, 128)
    ]
    lines = {container.get_label(): container.lines[0] for container in panels[0].containers}
    assert {"full@compiled", "full+int8@onnxruntime", "lora@sdpa"} <= set(lines)
    assert "full@eager" not in lines and len(lines) <= 8
    expected = [1e3 * np.median(seconds("full+int8@onnxruntime", f"b{size}-s32")) / size for size in (1, 8, 32)]
    assert list(lines["full+int8@onnxruntime"].get_xdata()) == [1, 8, 32]
    assert list(lines["full+int8@onnxruntime"].get_ydata()) == pytest.approx(expected)


def test_lengths_run_across_at_both_ends_of_the_batches(results: Results) -> None:
    panels = drawn("length", results).axes
    assert len(panels) == 4
    lines = {container.get_label(): container.lines[0] for container in panels[1].containers}
    expected = [1e3 * np.median(seconds("full+thin@own", f"b32-s{length}")) / 32 for length in (32, 128)]
    assert list(lines["full+thin@own"].get_xdata()) == [32, 128]
    assert list(lines["full+thin@own"].get_ydata()) == pytest.approx(expected)


def test_of_many_chains_the_baseline_and_the_fastest_are_drawn(results: Results) -> None:
    (own, _) = turns(timings(results), "latency")
    assert own.fastest_backends(3) == ["full@compiled", "full+openvino@openvino", "full+trim+int8@onnxruntime"]
    assert own.fastest_backends(1) == ["full@compiled"]


# --- which experiments have them ------------------------------------------------------------------------------------


def test_tables_are_those_of_the_scenarios() -> None:
    values = with_block({"tuned": {"kind": "full"}}, methods=["tuned"], seeds=[0])
    variants = [{"chain": ["tuned"], "backends": ["own"]}]
    told = {"model": "minilm", "task": TASK, "variants": variants}
    kinds = {}
    for scenario in ("latency", "task_lengths", "cold_start"):
        values["benchmarks"] = {"timed": told | {"scenarios": [{"kind": scenario}]}}
        values["run"]["benchmarks"] = ["timed"]
        kinds[scenario] = Plan(load_experiment(values)).kinds
    assert {"latency", "memory", "pareto"} <= set(chosen(TABLES, kinds["latency"]))
    assert {"latency", "length", "pareto"} <= set(chosen(FIGURES, kinds["latency"]))
    assert "cold_start" in chosen(TABLES, kinds["cold_start"])
    assert "latency" not in chosen(TABLES, kinds["cold_start"])
    assert "padding" in chosen(TABLES, kinds["task_lengths"]) and "padding" not in chosen(TABLES, kinds["latency"])
    values["run"]["benchmarks"] = []
    assert "memory" not in chosen(TABLES, Plan(load_experiment(values)).kinds)


def test_details_have_the_span_of_the_rounds(results: Results) -> None:
    frame = results.detail("benchmarks")
    row = frame[(frame["scenario"] == "cold_start") & (frame["method"] == "full+openvino") & (frame["threads"] == 1)]
    wall = seconds("full+openvino@openvino", "first answer")
    found = row[["seconds_minimum", "seconds_maximum"]].iloc[0]
    assert tuple(found) == pytest.approx((wall.min(), wall.max()))
    assert pd.isna(frame.loc[frame["workload"].isna(), "seconds_minimum"]).all()
