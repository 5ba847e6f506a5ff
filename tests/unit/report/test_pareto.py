"""The Pareto front against brute force and by its properties; its table and figure on constructed runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_benchmark_experiment import TASK, runs_to_time, write_benchmark
from report_experiment import MINILM, Builder, collected
from report_made import Made, drawn

from electralab.errors import UserError
from electralab.report.candidates import candidates, single_streams, tradeoffs, workload_text
from electralab.report.pareto import Point, beaten_by, dominates, front, knee, places
from electralab.report.results import Results

NUMBERS = st.integers(1, 8).map(float)


@st.composite
def points(draw: st.DrawFn, least: int = 1) -> list[Point]:
    found = []
    for _ in range(draw(st.integers(least, 12))):
        cost, score, half = draw(NUMBERS), draw(NUMBERS) / 10, draw(st.none() | st.floats(0, 0.3))
        ends = (None, None) if half is None else (score - half, score + half)
        found.append(Point(cost, score, *ends))
    return found


@given(points())
def test_the_front_is_that_of_brute_force(every: list[Point]) -> None:
    expected = {n for n, point in enumerate(every) if not any(dominates(other, point) for other in every)}
    found = front(every)
    assert set(found) == expected and len(found) == len(expected)
    assert [every[number].cost for number in found] == sorted(every[number].cost for number in found)


@given(points())
def test_no_point_of_the_front_is_dominated_and_every_other_is(every: list[Point]) -> None:
    best = front(every)
    for number, point in enumerate(every):
        assert any(dominates(every[other], point) for other in best) == (number not in best)


@given(points(), NUMBERS, st.integers(1, 8))
def test_a_dominated_point_changes_nothing(every: list[Point], more: float, less: float) -> None:
    worst = every[front(every)[0]]
    dominated = Point(worst.cost + more, worst.score - less / 10, None, None)
    assert front([*every, dominated]) == front(every)
    assert places([*every, dominated])[:-1] == places(every)
    assert knee([*every, dominated]) == knee(every)


@given(points())
def test_below_is_only_what_an_interval_of_the_front_lies_wholly_above(every: list[Point]) -> None:
    found, best = places(every), front(every)
    assert [n for n, place in enumerate(found) if place == "front"] == sorted(best)
    for point, place in zip(every, found):
        cheaper = [every[number] for number in best if every[number].cost <= point.cost]
        overlaps = all(o.low is None or point.high is None or o.low <= point.high for o in cheaper)
        if place != "front":
            assert (place == "close") == overlaps


@given(points())
def test_what_is_below_names_who_shows_it(every: list[Point]) -> None:
    for point, place, by in zip(every, places(every), beaten_by(every)):
        assert (by is not None) == (place == "below")
        if by is not None:
            assert every[by].cost <= point.cost and (every[by].low or 0) > (point.high or 0)


@given(points(), st.floats(0.001, 1000))
def test_units_of_cost_move_nothing(every: list[Point], unit: float) -> None:
    scaled = [point._replace(cost=unit * point.cost) for point in every]
    assert front(scaled) == front(every) and places(scaled) == places(every)


def test_the_knee_is_furthest_from_the_chord() -> None:
    every = [
        Point(cost, score, None, None) for cost, score in ((1, 0.5), (10, 0.8), (31.6, 0.9), (100, 1.0), (50, 0.1))
    ]
    # Chord in log cost from (0, .5) to (2, 1): at 1 it is .75, at 1.5 it is .875.
    assert knee(every) == 1
    straight = [Point(10.0**n, 0.5 + 0.1 * n, None, None) for n in range(4)]
    assert knee(straight) is None
    assert knee(every[:1]) is None and knee(every[:2]) is None
    hollow = [Point(1, 0.5, None, None), Point(math.sqrt(1000), 0.6, None, None), Point(100, 1.0, None, None)]
    assert knee(hollow) is None  # below the chord: more cost buys more and more


# --- of an experiment -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    builder = Builder(tmp_path_factory.mktemp("pareto") / "artifacts")
    runs_to_time(builder)
    return builder


@pytest.fixture(scope="module")
def results(study: Builder) -> Results:
    return collected(study, benchmarks=[write_benchmark(study)])


@pytest.fixture(scope="module")
def made(study: Builder) -> Made:
    return Made(study, "pareto", benchmarks=[write_benchmark(study)])


def test_every_run_is_a_point_of_size_and_timed_ones_of_the_others(results: Results) -> None:
    size, latency, memory = tradeoffs(results)
    assert {one.method for one in size.candidates} == {one.method for one in candidates(results)}
    assert {"tfidf", "full+half", "full+static"} <= {one.method for one in size.candidates}
    timed = {one.method for one in latency.candidates}
    assert timed == {one.method for one in memory.candidates}
    assert timed.isdisjoint({"tfidf", "full+half", "full+static"})  # not asked for, or not timed
    assert len(timed) == len(latency.candidates)  # one backend stands for a chain


def test_of_the_backends_of_a_chain_the_cheapest_stands(results: Results) -> None:
    _, latency, memory = tradeoffs(results)
    by_axis = {
        trade.axis.name: next(one for one in trade.candidates if one.method == "full") for trade in (latency, memory)
    }
    assert by_axis["latency"].timing and by_axis["latency"].timing.backend == "compiled"
    assert by_axis["memory"].timing and by_axis["memory"].timing.backend == "own"


def test_latency_is_of_the_smallest_batch_the_shortest_rows_and_fewest_threads(results: Results) -> None:
    assert {workload_text(one).partition(", Linux")[0] for one in single_streams(results)} == {
        "1 row of 32 tokens, 1 thread"
    }


def test_table_says_where_models_stand(made: Made) -> None:
    row = made.row(against="size", method="tfidf")
    assert (row["cost"], row["place"]) == (pytest.approx(4 * 18569 / 1e6), "front")
    assert made.row(against="size", method="full+static")["place"] == "below"
    assert made.row(against="size", method="full")["place"] == "close"
    assert made.row(against="size", method="full+openvino")["is_knee"]
    heading = f"{TASK}: accuracy against files of weights (MB)"
    assert made.cells("minilm full+openvino", heading)["Front"] == "front, knee"
    assert made.cells("minilm full |", heading)["Front"] == "not shown to be below"
    # A place on the front that rests on a difference which is not shown is named as such.
    assert "(not shown to score higher than a cheaper one: `minilm full+openvino` and `minilm full+half`)" in made.text
    minus = made.row(against="size", method="full+half")
    assert minus["minus_front"] == pytest.approx(0.001) and minus["minus_front_verdict"] == "unclear"


def test_sizes_are_of_all_weights_that_answering_needs(results: Results) -> None:
    sizes = {one.method: one.bytes for one in candidates(results)}
    assert sizes["lora"] == 90.3e6 + 600_000  # the adapter's file, and the frozen model under it


def test_figure_marks_the_front_and_the_knee(results: Results) -> None:
    panel = drawn("pareto", results).axes[0]
    rings = [line for line in panel.lines if line.get_markersize() == 12]
    (size, *_) = tradeoffs(results)
    assert size.knee is not None
    at = size.cost(size.candidates[size.knee]), size.candidates[size.knee].score.mean
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in rings] == [pytest.approx(at)]
    crosses = [line for line in panel.lines if line.get_marker() == "x"]
    assert len(crosses) == size.places.count("below")  # type: ignore[attr-defined]


def test_two_devices_do_not_share_a_front(tmp_path: Path, study: Builder) -> None:
    one = write_benchmark(study)
    text = one.read_text().replace('"gpu": null', '"gpu": "NVIDIA H100"').replace('"name": "chains"', '"name": "gpu"')
    other = tmp_path / "benchmark.json"
    other.write_text(text)
    found = tradeoffs(collected(study, benchmarks=[one, other]))
    assert [(trade.axis.name, "H100" in trade.where) for trade in found] == [
        *(("size", False), ("latency", False), ("latency", True), ("memory", False), ("memory", True))
    ]


def test_without_a_benchmark_sizes_are_left(study: Builder) -> None:
    made = Made(study, "pareto")
    assert set(made.frame["against"]) == {"size"} and "Latency and memory are of" not in made.text


def test_a_synthetic_task_is_called_so(builder: Builder) -> None:
    for method, size in (("full", 2_000_000), ("small", 1_000_000)):
        told = {"method": method, "hub": MINILM, "known_cost": {"bytes_on_disk": size}}
        builder.finetune("minilm", "word_order", 0, 0.6, synthetic=True, **told)
    assert "## word_order (synthetic): accuracy against files of weights (MB)" in Made(builder, "pareto").text
    assert drawn("pareto", collected(builder)).axes[0].get_title() == "word_order (synthetic)"


def test_one_model_has_no_front(builder: Builder) -> None:
    builder.finetune("minilm", TASK, 0, 0.8, hub=MINILM, known_cost={"bytes_on_disk": 1_000_000})
    assert "Fewer than two models" in Made(builder, "pareto").text
    with pytest.raises(UserError, match="has no pair of models of one task"):
        drawn("pareto", collected(builder))
