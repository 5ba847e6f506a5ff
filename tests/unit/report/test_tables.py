"""Tables say what constructed runs imply, and no more."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from report_experiment import PUBLISHED, SHAPE, SIZES, Builder, collected, pretraining_metrics
from report_made import Made
from scipy import stats

from electralab.catalogue import TABLES

OF_PRETRAINING = [name for name, item in TABLES.items() if "pretraining" in item.needs]


@pytest.fixture
def whole(builder: Builder) -> Builder:
    builder.whole_experiment()
    return builder


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_a_table_is_a_title_a_paragraph_and_a_grid(whole: Builder, name: str) -> None:
    made = Made(whole, name)
    lines = made.text.splitlines()
    assert lines[0].startswith("# ")
    for words in ("seeds 0 and 1", "torch 2.13.0", "cpu", "constructed", "position_aware_init and unigram_warmup"):
        assert words in lines[2]
    grids = [block for block in made.text.split("\n\n") if block.startswith("| ")]
    for grid in grids:
        assert len({row.count(" | ") for row in grid.splitlines()}) == 1
    assert grids


def test_pretraining_means_and_pooled_interval(whole: Builder) -> None:
    frame = Made(whole, "pretraining").frame.set_index(["model", "metric"])
    seeds = {size: [pretraining_metrics(size, seed)["rtd_auc"] for seed in (0, 1)] for size in SIZES}
    variance = np.mean([np.var(values, ddof=1) for values in seeds.values()])
    half = stats.t.ppf(0.975, df=5) * np.sqrt(variance / 2)
    for size, values in seeds.items():
        of = frame.loc[f"tiny-g{size * 100:g}"]
        row = of.loc["rtd_auc"]
        assert row["mean"] == pytest.approx(np.mean(values))
        assert (row["low"], row["high"]) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
        means = of["mean"]
        assert means["mlm_gain"] == pytest.approx(means["unigram_cross_entropy"] - means["mlm_loss"])


def test_pretraining_shows_the_control_as_such(whole: Builder) -> None:
    made = Made(whole, "pretraining")
    control = made.row(model="tiny_plain-g25", metric="rtd_auc")
    assert bool(control["control"]) and pd.isna(control["extensions"]) and pd.isna(control["low"])
    assert "n=1: no interval" in made.line("control without the extensions, 25 %")
    assert "control without the extensions" in made.note("Not learnt")


def test_no_control_is_named_where_nothing_is_extended(builder: Builder) -> None:
    builder.pretrain(0.25, 0, control=True)
    made = Made(builder, "pretraining")
    assert "control" not in made.text
    assert "without extensions" in made.text.splitlines()[2]


def test_overlapping_sizes_are_not_ordered(builder: Builder) -> None:
    for size, values in {0.125: (0.80, 0.81), 0.25: (0.74, 0.75), 0.5: (0.745, 0.755)}.items():
        for seed, value in enumerate(values):
            builder.pretrain(size, seed, rtd_auc=value)
    note = Made(builder, "pretraining").note("own generator, these sizes cannot be ordered")
    assert note.endswith("overlap: 25 % and 50 %.")


def test_separated_sizes_get_no_such_note(builder: Builder) -> None:
    for size, value in {0.125: 0.80, 0.25: 0.70, 0.5: 0.60}.items():
        for seed in (0, 1):
            builder.pretrain(size, seed, rtd_auc=value + 0.001 * seed)
    made = Made(builder, "pretraining")
    assert not made.note("ordered", "own generator")
    assert made.note("ordered", "unigram replacements")


def test_single_seeds_cannot_be_ordered(builder: Builder) -> None:
    builder.pretrain(0.125, 0)
    builder.pretrain(0.25, 0)
    note = Made(builder, "pretraining").note("ordered", "MLM loss")
    assert "12.5 % and 25 %" in note and "one seed" in note


def test_loss_above_the_base_rate_entropy_is_said(builder: Builder) -> None:
    builder.pretrain(0.25, 0, rtd_loss=0.43, rtd_base_entropy=0.42)
    builder.pretrain(0.5, 0, rtd_loss=0.35, rtd_base_entropy=0.42)
    note = Made(builder, "pretraining").note("not below the base-rate entropy")
    assert "25 %" in note and "50 %" not in note


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_failed_runs_are_listed_and_in_no_mean(whole: Builder, name: str) -> None:
    whole.pretrain(0.25, 7, status="failed", curve=False)
    whole.finetune("tiny-g25", "boolq", 7, 0.0, status="failed")
    made = Made(whole, name)
    assert made.note("Failed run: pretrain tiny-g25", "seed 7", "NaN at step 300")
    assert made.note("Failed run: finetune tiny-g25 on boolq", "out of memory")
    if name == "pretraining":
        assert made.row(model="tiny-g25", metric="rtd_auc")["n"] == 2


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_all_failed_still_gives_a_table_that_says_so(builder: Builder, name: str) -> None:
    builder.pretrain(0.25, 0, status="failed", curve=False)
    text = Made(builder, name).text
    assert "No finished pretrainings." in text and "Failed run: pretrain tiny-g25" in text


def test_where_pretraining_helped_and_where_not(whole: Builder) -> None:
    made = Made(whole, "generator_size")
    sentiment = made.note("movie_sentiment: pretraining did not help at this scale")
    assert "100 % (-0.011" in sentiment
    probe = made.note("word_order (synthetic):", "pretraining helped at 12.5 % (+0.1")
    assert "control without the extensions, 25 % (+0.011" in probe
    assert made.note("movie_sentiment: TF-IDF + logistic regression (0.800) is above")
    assert not made.note("word_order", "TF-IDF + logistic regression (", "above")


def test_worse_than_random_initialisation_is_said(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    for seed in (0, 1, 2):
        builder.finetune("tiny-g25", "boolq", seed, 0.55 + 0.001 * seed)
        builder.finetune("tiny_random", "boolq", seed, 0.75, untrained=True)
    note = Made(builder, "generator_size").note("boolq: pretraining did not help at this scale")
    assert "lower than random initialisation at 25 % (-0.199" in note


def test_missing_control_is_said(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "boolq", 0, 0.9)
    made = Made(builder, "generator_size")
    assert made.note("boolq: no finished control from random initialisation")
    assert "helped" not in made.text
    assert "random initialisation (never pretrained)" not in made.text


def test_control_of_another_method_does_not_count(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    for seed in (0, 1):
        builder.finetune("tiny-g25", "boolq", seed, 0.9)
        builder.finetune("tiny_random", "boolq", seed, 0.5, untrained=True, method="tuned")
    made = Made(builder, "generator_size")
    assert made.note("boolq, full: no finished control")
    assert {"full", "tuned"} <= set(made.frame["method"])


def test_control_of_another_shape_does_not_count(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    wider = SHAPE.model_copy(update={"hidden_size": 256})
    for seed in (0, 1):
        builder.finetune("tiny-g25", "boolq", seed, 0.9)
        builder.finetune("another_random", "boolq", seed, 0.1, untrained=True, shape=wider)
    assert Made(builder, "generator_size").note("boolq: no finished control")
    for seed in (0, 1):
        builder.finetune("tiny_random", "boolq", seed, 0.5, untrained=True)
    assert "helped at 25 % (+0.400" in Made(builder, "generator_size").note("**boolq:**")


def test_one_common_seed_gives_no_verdict(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "boolq", 0, 0.9)
    builder.finetune("tiny_random", "boolq", 0, 0.5, untrained=True)
    assert "one common seed, no verdict at 25 % (+0.400)" in Made(builder, "generator_size").note("**boolq:**")


def test_degenerate_runs_are_marked(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.pretrain(0.5, 0)
    for seed in (0, 1, 2):
        builder.finetune("tiny-g25", "boolq", seed, 0.55, degenerate=seed < 2)
        builder.finetune("tiny-g50", "boolq", seed, 0.60 + 0.01 * seed)
    made = Made(builder, "generator_size")
    assert "†" in made.line("25 %") and "†" not in made.line("50 %")
    assert made.note("† boolq, 25 %: 2 of 3 runs predict one class only")


def test_controls_and_baselines_stand_at_the_bottom(whole: Builder) -> None:
    made = Made(whole, "generator_size")
    frame = made.frame
    rows = list(dict.fromkeys(frame["row"]))
    assert rows[:5] == ["12.5 %", "25 %", "50 %", "75 %", "100 %"]
    assert [row.split()[0] for row in rows[5:]] == ["control", "random", "TF-IDF", "majority"]
    assert made.row(row="majority class", task="boolq")["mean"] == 0.55


def test_a_table_without_finetuning_says_so(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    made = Made(builder, "generator_size")
    assert "Nothing was fine-tuned" in made.text
    assert set(made.frame["row"]) == {"25 %"}
    assert "no score" in Made(builder, "efficiency").text


def test_efficiency_recomputes_from_the_records(whole: Builder) -> None:
    made = Made(whole, "efficiency")
    row = made.frame.set_index("model").loc["tiny-g50"]
    assert row["petaflop_s_days.electra_paper"] == pytest.approx(4.5e13 / 1e15 / 86_400)
    seeds = [np.mean([base + wobble + 0.004 for base in (0.70, 0.62, 0.60)]) for wobble in (0.0, 0.01, -0.008)]
    assert row["mean"] == pytest.approx(np.mean(seeds))
    assert (row["low"], row["high"]) == pytest.approx(stats.t.interval(0.95, 2, np.mean(seeds), stats.sem(seeds)))
    assert row["score_tasks"] == "movie_sentiment;policy_qa;boolq"
    assert made.note("No score with `full` for control without the extensions, 25 %")


def test_efficiency_needs_every_task_of_the_set(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.pretrain(0.5, 0)
    for seed in (0, 1):
        for model in ("tiny-g25", "tiny-g50"):
            builder.finetune(model, "boolq", seed, 0.6)
        builder.finetune("tiny-g25", "policy_qa", seed, 0.8)
    made = Made(builder, "efficiency")
    frame = made.frame.set_index("model")
    assert frame.loc["tiny-g25", "mean"] == pytest.approx(0.7)
    assert pd.isna(frame.loc["tiny-g50", "mean"])
    assert "50 %" in made.note("No score")


def test_several_sweeps_are_told_apart(builder: Builder) -> None:
    for name in ("tiny", "wide"):
        builder.pretrain(0.25, 0, name=name)
    assert list(dict.fromkeys(Made(builder, "pretraining").frame["row"])) == ["tiny, 25 %", "wide, 25 %"]


def test_no_torch(whole: Builder) -> None:
    """In a fresh interpreter, since other tests of the session import it."""
    import subprocess

    program = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path;"
        "from electralab.report.make import make_figure, make_table; from electralab.report.results import Results;"
        "results = Results(Path(sys.argv[1]), Path(sys.argv[2])); stem = results.folder / 't';"
        "make_table('downstream', results, stem); make_figure('downstream', results, stem)"
    )
    folder = collected(whole).folder
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(PUBLISHED)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
