"""Tables say what constructed runs imply, and no more."""

from __future__ import annotations

import re
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from report_experiment import PUBLISHED, SHAPE, SIZES, Builder, collected, pretraining_metrics
from report_made import Made
from scipy import stats

from electralab.catalogue import TABLES
from electralab.names import NO_MODEL
from electralab.records import read_record, write_record
from electralab.report.statistics.comparisons import Arm

PAIRED = r"tiny g[\d.]+ [+-][\d.]+ \[[^]]+\]"  # a difference with its interval
OF_PRETRAINING = [name for name, item in TABLES.items() if "pretraining" in item.needs]


@pytest.fixture
def whole(builder: Builder) -> Builder:
    builder.whole_experiment()
    return builder


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_a_table_is_a_title_what_held_and_narrow_grids(whole: Builder, name: str) -> None:
    made = Made(whole, name)
    lines = made.text.splitlines()
    assert lines[0].startswith("# ") and lines[2].startswith("- ")
    for words in ("seeds 0 and 1", "torch 2.13.0", "cpu", "constructed"):
        assert words in lines[-1]
    assert made.note("position_aware_init and unigram_warmup", "`tiny_plain`")
    grids = [block for block in made.text.split("\n\n") if block.startswith("| ")]
    for grid in grids:
        assert len({row.count(" | ") for row in grid.splitlines()}) == 1
        assert grid.splitlines()[0].count(" | ") < 9
    assert grids


def test_pretraining_means_and_their_own_interval(whole: Builder) -> None:
    frame = Made(whole, "pretraining").frame.set_index(["model", "metric"])
    for size in SIZES:
        values = [pretraining_metrics(size, seed)["rtd_auc"] for seed in (0, 1)]
        of = frame.loc[f"tiny-g{size * 100:g}"]
        row = of.loc["rtd_auc"]
        assert row["mean"] == pytest.approx(np.mean(values))
        expected = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
        assert (row["low"], row["high"]) == pytest.approx(expected)
        means = of["mean"]
        assert means["mlm_gain"] == pytest.approx(means["unigram_cross_entropy"] - means["mlm_loss"])


def test_pretraining_shows_the_control_as_such(whole: Builder) -> None:
    made = Made(whole, "pretraining")
    control = made.row(model="tiny_plain-g25", metric="rtd_auc")
    assert bool(control["control"]) and pd.isna(control["extensions"]) and pd.isna(control["low"])
    assert "5.450 (n=1)" in made.line("tiny_plain g25 (control)")
    assert "by tiny_plain g25 (control)" in made.note("not learnt, with an AUC of at most 0.55")


def test_no_control_is_named_where_nothing_is_extended(builder: Builder) -> None:
    builder.pretrain(0.25, 0, control=True)
    made = Made(builder, "pretraining")
    assert "control" not in made.text
    assert made.note("without extensions")


def sizes_with_auc(builder: Builder, values: dict[float, tuple[float, ...]]) -> list[str]:
    """What is said of the order by RTD AUC on the own generator, and by the others."""
    for size, of_seeds in values.items():
        for seed, value in enumerate(of_seeds):
            builder.pretrain(size, seed, rtd_auc=value)
    return Made(builder, "pretraining").note("Sizes of `tiny`, by paired differences").rstrip(".").split("; ")


def test_sizes_are_ordered_by_paired_differences(builder: Builder) -> None:
    """50 % is above 25 % with both seeds though their intervals overlap; 12.5 % is not steady enough."""
    values = {0.125: (0.80, 0.70), 0.25: (0.74, 0.76), 0.5: (0.745, 0.7651)}
    shown = {pair: stats.ttest_rel(*(values[size] for size in pair)).pvalue < 0.05 for pair in combinations(values, 2)}
    assert shown == {(0.125, 0.25): False, (0.125, 0.5): False, (0.25, 0.5): True}
    own = [part for part in sizes_with_auc(builder, values) if "own generator" in part]
    assert own == ["by RTD AUC on the own generator, 1 of 3 pairs can be ordered: tiny g50 above tiny g25"]


def test_sizes_that_all_differ_are_a_chain(builder: Builder) -> None:
    said = sizes_with_auc(builder, {0.125: (0.80, 0.8001), 0.25: (0.70, 0.7003), 0.5: (0.60, 0.6005)})
    assert "by RTD AUC on the own generator, every two can be ordered: tiny g12.5 > tiny g25 > tiny g50" in said


def test_sizes_of_which_no_pair_differs_are_not_ordered(builder: Builder) -> None:
    said = sizes_with_auc(builder, {0.125: (0.80, 0.70), 0.25: (0.74, 0.76)})
    assert (
        "by RTD AUC on the own generator, no two of tiny g12.5 and tiny g25 can be ordered: "
        "no paired difference is shown" in said
    )


def test_single_seeds_cannot_be_ordered(builder: Builder) -> None:
    said = sizes_with_auc(builder, {0.125: (0.8,), 0.25: (0.7,)})
    assert len(said) == 3
    for part, metric in zip(said, ("MLM loss", "RTD AUC on the own generator", "RTD AUC on unigram replacements")):
        assert part.endswith(
            f"by {metric}, no two of tiny g12.5 and tiny g25 can be ordered: one common seed gives no interval"
        )


def test_loss_above_the_base_rate_entropy_is_said(builder: Builder) -> None:
    builder.pretrain(0.25, 0, rtd_loss=0.43, rtd_base_entropy=0.42)
    builder.pretrain(0.5, 0, rtd_loss=0.35, rtd_base_entropy=0.42)
    note = Made(builder, "pretraining").note("not below the base-rate entropy")
    assert "tiny g25" in note and "tiny g50" not in note


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_failed_runs_are_listed_and_in_no_mean(whole: Builder, name: str) -> None:
    whole.pretrain(0.25, 7, status="failed", curve=False)
    whole.finetune("tiny-g25", "boolq", 7, 0.0, status="failed")
    made = Made(whole, name)
    failed = made.section("Runs without a result")
    assert "| tiny-g25 | pretraining | 7 | failed | the loss became NaN at step 300 |" in failed
    assert "| tiny-g25 on boolq | full | 7 | failed | out of memory |" in failed
    if name == "pretraining":
        assert made.row(model="tiny-g25", metric="rtd_auc")["n"] == 2


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_all_failed_still_gives_a_table_that_says_so(builder: Builder, name: str) -> None:
    builder.pretrain(0.25, 0, status="failed", curve=False)
    text = Made(builder, name).text
    assert "No finished pretrainings." in text and "| tiny-g25 | pretraining | 0 | failed |" in text


def test_where_pretraining_helped_and_where_not(whole: Builder) -> None:
    made = Made(whole, "generator_size")
    sentiment = made.note("**movie_sentiment:** Pretraining did not help at this scale, at best tiny g100 -0.011")
    assert "TF-IDF + linear model 0.800 (above every model), majority class 0.550" in sentiment
    probe = made.note("**word_order (synthetic):** Pretraining helped at tiny g12.5 +0.1")
    assert "tiny_plain g25 (control) +0.011" in probe and "above every model" not in probe
    assert "Best of 7 models: tiny g12.5 0.661" in probe


def test_a_pair_has_the_same_numbers_on_every_page(whole: Builder) -> None:
    """A size against random initialisation: two tables, and `comparisons.csv`."""
    pages = [Made(whole, name) for name in ("generator_size", "downstream")]
    for task, label in (("boolq", "boolq"), ("word_order", "word_order (synthetic)")):
        d = collected(whole).runs.difference(task, Arm("tiny-g12.5", "full"), Arm("tiny_random", "full"))
        assert d is not None and d.seeds == 3 and d.rows == 1000
        numbers = f"tiny g12.5 {d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
        said = [page.note(f"**{label}:**") for page in pages]
        if d.verdict == "higher":
            assert all(numbers in sentence for sentence in said), (numbers, said)
        assert re.findall(PAIRED, said[0]) == re.findall(PAIRED, said[1]) != []


def test_worse_than_random_initialisation_is_said(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    for seed in (0, 1, 2):
        builder.finetune("tiny-g25", "boolq", seed, 0.55 + 0.001 * seed)
        builder.finetune("tiny_random", "boolq", seed, 0.75, untrained=True)
    note = Made(builder, "generator_size").note("**boolq:** Pretraining did not help at this scale")
    assert "lower than random initialisation at tiny g25 -0.199" in note


def test_missing_control_is_said(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "boolq", 0, 0.9)
    made = Made(builder, "generator_size")
    assert made.note("**boolq:** No finished control from random initialisation")
    assert "helped" not in made.text and "| random initialisation" not in made.text


def test_control_of_another_method_does_not_count(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    for seed in (0, 1):
        builder.finetune("tiny-g25", "boolq", seed, 0.9)
        builder.finetune("tiny_random", "boolq", seed, 0.5, untrained=True, method="tuned")
    made = Made(builder, "generator_size")
    assert made.note("**boolq, full:** No finished control")
    assert {"full", "tuned"} <= set(made.frame["method"])


def test_control_of_another_shape_does_not_count(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    wider = SHAPE.model_copy(update={"hidden_size": 256})
    for seed in (0, 1):
        builder.finetune("tiny-g25", "boolq", seed, 0.9)
        builder.finetune("another_random", "boolq", seed, 0.1, untrained=True, shape=wider)
    assert Made(builder, "generator_size").note("**boolq:** No finished control")
    for seed in (0, 1):
        builder.finetune("tiny_random", "boolq", seed, 0.5, untrained=True)
    assert "helped at tiny g25 +0.400" in Made(builder, "generator_size").note("**boolq:**")


def test_one_common_seed_gives_no_verdict(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "boolq", 0, 0.9)
    builder.finetune("tiny_random", "boolq", 0, 0.5, untrained=True)
    assert "One common seed, no verdict at tiny g25 +0.400 (each accuracy" in Made(builder, "generator_size").note(
        "**boolq:**"
    )


def test_degenerate_runs_are_marked(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.pretrain(0.5, 0)
    for seed in (0, 1, 2):
        builder.finetune("tiny-g25", "boolq", seed, 0.55, degenerate=seed < 2)
        builder.finetune("tiny-g50", "boolq", seed, 0.60 + 0.01 * seed)
    made = Made(builder, "generator_size")
    assert "†" in made.line("tiny g25", "Fine-tuned") and "†" not in made.line("tiny g50", "Fine-tuned")
    assert made.note("† runs that predict one class only", "boolq: tiny g25 `full` 2 of 3.")


def test_controls_and_baselines_stand_at_the_bottom(whole: Builder) -> None:
    made = Made(whole, "generator_size")
    frame = made.frame
    rows = list(dict.fromkeys(frame["row"]))
    assert rows[:5] == ["tiny g12.5", "tiny g25", "tiny g50", "tiny g75", "tiny g100"]
    assert [row.split()[0] for row in rows[5:]] == ["tiny_plain", "random", "TF-IDF", "majority"]
    assert made.row(row="majority class", task="boolq")["mean"] == 0.55


def test_a_table_without_finetuning_says_so(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    made = Made(builder, "generator_size")
    assert "Nothing was fine-tuned" in made.text
    assert set(made.frame["row"]) == {"tiny g25"}
    assert "no score" in Made(builder, "efficiency").text


def test_efficiency_recomputes_from_the_records(whole: Builder) -> None:
    made = Made(whole, "efficiency")
    row = made.frame.set_index("model").loc["tiny-g50"]
    assert row["petaflop_s_days.electra_paper"] == pytest.approx(4.5e13 / 1e15 / 86_400)
    seeds = [np.mean([base + wobble + 0.004 for base in (0.70, 0.62, 0.60)]) for wobble in (0.0, 0.01, -0.008)]
    assert row["mean"] == pytest.approx(np.mean(seeds))
    assert (row["low"], row["high"]) == pytest.approx(stats.t.interval(0.95, 2, np.mean(seeds), stats.sem(seeds)))
    assert row["score_tasks"] == "movie_sentiment;policy_qa;boolq"
    assert made.note("No score with `full` for tiny_plain g25 (control)")
    assert made.cells("tiny g50")["TFLOP (electra_paper)"] == "45.0"


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
    assert "tiny g50" in made.note("No score")


def test_several_sweeps_are_told_apart(builder: Builder) -> None:
    for name in ("tiny", "wide"):
        builder.pretrain(0.25, 0, name=name)
    assert list(dict.fromkeys(Made(builder, "pretraining").frame["row"])) == ["tiny g25", "wide g25"]


@pytest.mark.parametrize("name", [*OF_PRETRAINING, "downstream"])
def test_six_notes_are_enough_for_an_experiment_with_everything(builder: Builder, name: str) -> None:
    for sweep in ("tiny", "wide", "deep", "long"):
        for size, seed in ((0.25, 0), (0.25, 1), (0.5, 0), (0.5, 1)):
            builder.pretrain(size, seed, name=sweep)
        for seed, method in ((0, "full"), (1, "full"), (0, "tuned"), (0, "longer")):
            # `tiny` alone is scored with every method on both tasks; its constant answers are the majority class.
            builder.finetune(f"{sweep}-g25", "movie_sentiment", seed, 0.5, method=method, degenerate=True)
            if sweep == "tiny" or method == "full":
                builder.finetune(f"{sweep}-g25", "sts", seed, 0.0, method=method, glue="stsb", degenerate=True)
            builder.finetune(f"{sweep}-g25", "word_order", seed, 0.5, method=method, synthetic=True)
    builder.finetune("minilm", "movie_sentiment", 0, 0.8, hub="some/model", notes=("It has seen this text.",))
    Made(builder, name)  # it looks at the number of notes of every table


def test_a_page_is_the_same_in_markdown_and_html(whole: Builder) -> None:
    made = Made(whole, "generator_size")
    assert made.html.count("<tr>") == sum(line.startswith("| ") for line in made.text.splitlines()) - 2
    for cell in made.cells("tiny g25", "Fine-tuned").values():
        assert f">{cell}</td>" in made.html
    assert "<b>boolq:</b>" in made.html and "<code>tiny</code>" in made.html and "**" not in made.html
    assert "http" not in made.html and "<script" not in made.html


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


def test_a_failed_baseline_has_no_model(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    path = builder.baseline("boolq", 0.8)
    write_record(path, read_record(path).model_copy(update={"status": "failed", "reason": "no words", "metrics": {}}))
    made = Made(builder, "pretraining")
    assert "| boolq | tfidf | 0 | failed | no words |" in made.section("Runs without a result")
    assert NO_MODEL not in made.text
