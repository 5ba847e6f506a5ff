"""Tables `adapters` and `lora_grid`, on constructed runs."""

from __future__ import annotations

from statistics import fmean, median
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_adapters_experiment import adapters_and_prompts
from report_experiment import MINILM, Builder, collected
from report_made import Made
from scipy import stats
from two_way import half_by_hand, right_answers

from electralab.config import (
    AdaLora,
    FullFinetuning,
    InContext,
    LinearProbe,
    Lora,
    Prefix,
    Qlora,
)
from electralab.errors import UserError
from electralab.report.make import make_figure
from electralab.report.statistics.comparisons import Arm

# --- the table `adapters` -----------------------------------------------------------------------------------------


def test_score_and_paired_difference_by_hand(study: Builder) -> None:
    made = Made(study, "adapters")
    row = made.row(task="movie_sentiment", method="lora")
    own, full = [0.79, 0.795, 0.786], [0.80, 0.81, 0.792]
    assert (row["median"], row["mean"], row["n"]) == pytest.approx((median(own), fmean(own), 3))
    assert (row["low"], row["high"]) == pytest.approx(stats.t.interval(0.95, 2, fmean(own), stats.sem(own)))
    half = half_by_hand(right_answers("minilm", "lora", own), right_answers("minilm", "full", full))
    mean = fmean(own) - fmean(full)
    assert (row["reference"], row["paired_seeds"]) == ("full", 3)
    assert row["difference"] == pytest.approx(mean)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((mean - half, mean + half))
    assert made.cells("lora")["Minus full"] == f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}] n=3"


def test_lora_against_full_is_the_row_of_comparisons(study: Builder) -> None:
    made = Made(study, "adapters")
    for task in ("movie_sentiment", "boolq"):
        compared = collected(study).runs.difference(task, Arm("minilm", "lora"), Arm("minilm", "full"))
        assert compared is not None
        row = made.row(task=task, method="lora")
        shown = [row[name] for name in ("paired_seeds", "difference", "difference_low", "difference_high")]
        assert shown == [compared.seeds, compared.mean, compared.low, compared.high]
        assert f"`lora` {compared.mean:+.3f} [{compared.low:+.3f}, {compared.high:+.3f}]" in made.note(f"**{task}, ")


def test_differences_pair_only_common_seeds(builder: Builder) -> None:
    for seed, score in ((0, 0.8), (1, 0.9)):
        builder.finetune("minilm", "boolq", seed, score, hub=MINILM)
    for seed, score in ((1, 0.88), (2, 0.5)):
        builder.adapter("minilm", "boolq", seed, score, Lora(), hub=MINILM)
    made = Made(builder, "adapters")
    row = made.row(method="lora")
    assert (row["paired_seeds"], row["n"]) == (1, 2)
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
    scores, costs = made.cells("lora", "boolq"), made.cells("lora", "boolq, minilm: size")
    assert [scores[name] for name in ("Trained parameters", "Without the head", "% of all")] == [
        *("12,386", "12,000", "1.24"),
    ]
    assert list(costs.values())[1:4] == ["4.0", "50.0", "31.0"]
    assert list(costs.values())[5:] == ["600", "0.400", "0.500", "0.400"]
    assert row["merge_error"] == 2e-7


@pytest.mark.parametrize(("head", "size"), [("linear", 258.0), ("huggingface", 258.0), ("huggingface", 16_770.0)])
def test_other_heads_are_said_and_a_like_one_is_not(builder: Builder, head: str, size: float) -> None:
    """Of a BERT, the adapters' linear layer behind the pooler has as many parameters as ours without it."""
    settings = FullFinetuning(head=head)
    builder.finetune("tiny-g25", "boolq", 0, 0.8, settings=settings, head_parameters=size)
    for method, own in ((Lora(), 16_770.0 if head == "huggingface" else 258.0), (LinearProbe(), 258.0)):
        builder.adapter("tiny-g25", "boolq", 0, 0.79, method, head_parameters=own)
    said = Made(builder, "adapters").note("Heads differ")
    if size == 16_770:
        assert said == ""
    else:
        lora = "16,770" if head == "huggingface" else "258"
        assert f"boolq, tiny g25 (parameters): `full` 258, `linear_probe` 258 and `lora` {lora}." in said


def test_other_numbers_of_training_rows_are_said(builder: Builder) -> None:
    builder.finetune("minilm", "boolq", 0, 0.8, hub=MINILM, train_rows=2700.0)
    builder.adapter("minilm", "boolq", 0, 0.79, Lora(), hub=MINILM)
    builder.finetune("minilm", "other", 0, 0.8, hub=MINILM)
    builder.adapter("minilm", "other", 0, 0.8, Lora(), hub=MINILM)
    builder.baseline("boolq", 0.6, train_rows=1200.0)
    for table in ("adapters", "downstream"):
        said = Made(builder, table).note("Trained on different numbers of rows")
        lora = "`lora` 3,000; " if table == "adapters" else ""
        assert f"boolq: {lora}`full` 2,700; `tfidf` 1,200." in said
        assert "other:" not in said


def test_what_cannot_be_merged_has_dashes(builder: Builder) -> None:
    builder.adapter(
        "minilm", "boolq", 0, 0.6, Prefix(), hub=MINILM, merge_error=np.nan, inference_seconds_merged=np.nan
    )
    costs = Made(builder, "adapters").cells("prefix", "boolq, minilm: size")
    assert list(costs.values())[-3:] == ["0.400", "0.500", "–"]


def test_gpu_memory_goes_before_that_of_the_process(builder: Builder) -> None:
    builder.adapter("minilm", "boolq", 0, 0.6, Lora(), hub=MINILM, known_cost={"peak_gpu_bytes": 70_000_000})
    assert "| 70 (GPU) |" in Made(builder, "adapters").line("lora", "boolq, minilm: size")


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
    assert made.note("† runs that predict one class only", "movie_sentiment: minilm `qlora_published` 3 of 3")
    assert made.note("‡ by mean accuracy no better", "movie_sentiment (0.550): minilm `qlora_published`")
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
    for rows, start, score in (
        *(("100", "in_context", "0.580 (n=1) ‡"), ("100", "majority class of 100 rows", "0.600")),
        ("1,000", "majority class of 1,000 rows", "0.550"),
    ):
        assert (made.cells(start)["Rows"], made.cells(start)["Score"]) == (rows, score)
    assert made.notes("scored on different numbers of rows", "`lora` 1,000 and `in_context` 100")


def test_samples_of_one_size_may_have_several_majority_rates(builder: Builder) -> None:
    for shots, rate in ((0, 0.52), (4, 0.56)):
        known = {"method": f"shots_{shots}", "hub": "x/s", "rows": 200, "majority_rate": rate}
        builder.adapter("smol", "boolq", 0, 0.6, InContext(shots=shots), **known)
    made = Made(builder, "adapters")
    for shots, rate in ((0, "0.520"), (4, "0.560")):
        assert made.cells(f"majority class of the rows of `shots_{shots}`")["Score"] == rate


def test_one_sample_for_all_has_one_majority_class(builder: Builder) -> None:
    adapters_and_prompts(builder)
    made = Made(builder, "adapters")
    assert "| majority class |  | 0.520 |" in made.section("mrpc, smollm2")
    assert "| majority class |  | 0.550 |" in made.section("mrpc, minilm")
    # A decoder without examples has one run: its uncertainty is that of the rows.
    assert "| shots_0 | 0 examples | 0.580 (n=1) | – | 200 |" in made.section("mrpc, smollm2")


def test_the_interval_over_rows_is_of_accuracies_alone(builder: Builder) -> None:
    builder.adapter("minilm", "cola", 0, 0.3, Lora(), hub=MINILM, glue="cola")
    made = Made(builder, "adapters")
    assert pd.isna(made.row(method="lora")["over_rows_low"]) and made.cells("majority class")["Score"] == "0.000"


def test_the_published_collapse_stands_beside_ours(builder: Builder) -> None:
    known = {"glue": "mrpc", "hub": MINILM, "degenerate": True, "majority_rate": 279 / 408, "f1": 558 / 687}
    builder.adapter("minilm", "mrpc", 0, 279 / 408, Qlora(recipe="as_published"), **known)
    notes = Made(builder, "adapters").notes("accuracy 0.684, F1 0.812; exactly what always answering `paraphrase`")
    assert len(notes) == 1 and "The same set-up here: qlora, minilm: accuracy 0.684, F1 0.812." in notes[0]


def test_without_the_mistake_there_is_no_word_of_the_collapse(builder: Builder) -> None:
    builder.adapter("minilm", "mrpc", 0, 0.8, Qlora(), glue="mrpc", hub=MINILM)
    assert not Made(builder, "adapters").notes("always answering")


def test_counts_and_notes_are_of_the_runs_in_the_table(builder: Builder) -> None:
    """Another model has the same full fine-tuning with other choices and runs of one class, and no adapter."""
    two, known = FullFinetuning(learning_rates=[3e-4, 1e-3]), {"hub": MINILM}
    for seed in (0, 1, 2):
        builder.finetune("minilm", "boolq", seed, 0.8, settings=two, learning_rate=3e-4, train_seconds=10.0, **known)
        builder.adapter("minilm", "boolq", seed, 0.79, Lora(), **known)
        own = {"settings": two, "learning_rate": 1e-3, "degenerate": True}
        builder.finetune("tiny-g25", "boolq", seed, 0.55, **own)
    made = Made(builder, "adapters")
    assert set(made.frame["model"]) == {"minilm"} and "6 fine-tunings of" in made.text
    assert made.note("(chosen: 0.0003 in 3 runs)") and not made.note("†") and "tiny" not in made.text
    assert made.row(method="full")["train_seconds"] == 20.0  # of both rates
    assert "Implementations differ" in made.text


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
    assert "| minilm on boolq | prefix | 0 | failed | out of memory |" in made.section("Runs without a result")
    assert made.row(method="prefix")["n"] == 0 and pd.isna(made.row(method="prefix")["median"])
    assert "| – (n=0) | – |" in made.line("prefix")


@pytest.mark.parametrize("table", ["adapters", "lora_grid", "vs_published"])
def test_nothing_finished_still_gives_a_table(builder: Builder, table: str) -> None:
    builder.adapter("minilm", "boolq", 0, 0.0, Lora(), hub=MINILM, status="failed")
    assert "| minilm on boolq | lora | 0 | failed |" in Made(builder, table).text
    results = collected(builder)
    for figure, what in (("adapters", "run of an adapter"), ("lora_grid", "run of a grid")):
        with pytest.raises(UserError, match=f"no finished {what}"):
            make_figure(figure, results, results.folder / "f")


def test_full_finetuning_alone_is_no_comparison(builder: Builder) -> None:
    builder.finetune("minilm", "boolq", 0, 0.6, hub=MINILM)
    made = Made(builder, "adapters")
    assert made.frame.empty and "nothing to compare" in made.text


def test_tables_about_models_leave_adapters_out(study: Builder) -> None:
    made = Made(study, "downstream")
    assert set(made.frame["method"]) == {"full"} and "qlora" not in made.text


# --- the table `lora_grid` ----------------------------------------------------------------------------------------


def test_a_grid_is_ranks_by_alphas_with_empty_cells(builder: Builder) -> None:
    builder.lora_grid()
    made = Made(builder, "lora_grid")
    values = np.array([0.7, 0.71, 0.692]) + 0.04 + 0.008
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert f"| 0.749 [{low:.3f}, {high:.3f}] n=3 |" in made.line("rank 16")
    assert made.line("rank 4").endswith("n=3 |  |") and made.line("rank 64").startswith("| rank 64 |  | 0.813")
    row = made.row(rank=16, alpha=8)
    assert (row["grid"], row["median"], row["low"]) == ("sweep", pytest.approx(0.748), pytest.approx(low))
    failed = made.row(rank=4, alpha=32)
    assert failed["n"] == 0 and pd.isna(failed["median"])
    assert made.frame[(made.frame["rank"] == 64) & (made.frame["alpha"] == 8)].empty
    assert "0.000" not in made.text and made.section("Runs without a result").count("| failed |") == 3


@pytest.mark.parametrize(("kind", "scale"), [("lora", "alpha / rank"), ("rslora", "alpha / √rank")])
def test_the_scale_of_a_grid_is_that_of_its_method(builder: Builder, kind: Any, scale: str) -> None:
    for rank in (4, 8):
        settings = Lora(kind=kind, rank=rank, alpha=8)
        builder.adapter("minilm", "boolq", 0, 0.6, settings, method=f"sweep_rank{rank}_alpha8", hub=MINILM)
    assert f"- The update is scaled by {scale}." in Made(builder, "lora_grid").text


def test_the_best_cell_is_called_optimistic(builder: Builder) -> None:
    builder.lora_grid()
    note = Made(builder, "lora_grid").notes("best of 4 cells is rank 64, alpha 32 (0.813)")[0]
    assert "optimistic" in note and "By paired differences it is above 3 of the 3 others." in note


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
