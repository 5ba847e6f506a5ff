"""Tables `downstream` and `vs_published` and the figure `downstream`, on constructed runs."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_experiment import MINILM, Builder, collected
from report_made import Made, check_files
from report_made import drawn as figure_of
from scipy import stats

from electralab.config import FullFinetuning
from electralab.errors import UserError
from electralab.report.figures.style import house_style
from electralab.report.make import make_figure, make_table

EIGHT = {
    **{"cola": 0.30, "sst2": 0.85, "mrpc": 0.80, "stsb": 0.82},
    **{"qqp": 0.81, "mnli": 0.60, "qnli": 0.78, "rte": 0.58},
}
SMALL = "google/electra-small-discriminator"


def test_a_cell_is_the_mean_with_its_interval(builder: Builder) -> None:
    builder.glue("minilm", {"sst2": 0.85}, hub=MINILM)
    made = Made(builder, "downstream")
    values = [0.85, 0.86, 0.842]
    row = made.row(model="minilm", task_id="sst2")
    assert (row["median"], row["mean"]) == pytest.approx((median(values), fmean(values)))
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    assert (row["low"], row["high"], row["minimum"], row["maximum"]) == pytest.approx((low, high, 0.842, 0.86))
    assert f"{fmean(values):.3f} [{low:.3f}, {high:.3f}] n=3" in made.line("minilm")
    assert made.text.startswith("# Downstream tasks\n") and "## GLUE\n" in made.text


def test_one_seed_has_no_interval_and_says_so(builder: Builder) -> None:
    builder.glue("minilm", {"sst2": 0.85}, seeds=(0,), hub=MINILM)
    made = Made(builder, "downstream")
    assert "0.850 (n=1)" in made.line("minilm")
    assert "one seed has no interval" in made.text
    assert pd.isna(made.row(model="minilm", task_id="sst2")["low"])


def test_averages_by_hand_and_only_where_every_task_is_there(builder: Builder) -> None:
    builder.glue("minilm", EIGHT, hub=MINILM)
    builder.glue("bert", EIGHT | {"wnli": 0.5}, hub="bert-base-uncased")
    builder.glue("other", {name: score for name, score in EIGHT.items() if name != "rte"} | {"wnli": 0.5}, hub="x/y")
    made = Made(builder, "downstream")
    eight = made.row(model="minilm", task_id="glue8")
    # MNLI's matched accuracy is the same for all seeds in the fixture; the seven others wobble together.
    by_seed = [(sum(EIGHT.values()) + 7 * wobble) / 8 for wobble in (0, 0.01, -0.008)]
    assert (eight["mean"], eight["minimum"], eight["maximum"]) == pytest.approx(
        (fmean(by_seed), min(by_seed), max(by_seed))
    )
    nine = made.row(model="bert", task_id="glue9")
    assert nine["mean"] == pytest.approx((sum(EIGHT.values()) + 0.5 + 8 * 0.002 / 3) / 9)
    assert set(made.frame.loc[made.frame["task_id"].isin(("glue8", "glue9")), "model"]) == {"minilm", "bert"}
    assert set(made.frame.loc[made.frame["task_id"] == "glue9", "model"]) == {"bert"}
    assert "`glue8` is the paper's, without wnli" in made.note("averages")


def test_a_second_copy_of_a_task_takes_the_average_with_a_word(builder: Builder) -> None:
    builder.glue("minilm", EIGHT, hub=MINILM)
    assert not Made(builder, "downstream").note("No average")
    builder.finetune("minilm", "hub_sst2", 0, 0.6, glue="sst2", hub=MINILM)
    made = Made(builder, "downstream")
    assert made.frame[made.frame["task_id"] == "glue8"].empty
    assert made.note("No average", "minilm: ", "`sst2` with `full`", "`hub_sst2` with `full`")


def test_a_task_of_the_hub_is_called_by_its_name_in_glue_unless_it_has_a_twin(builder: Builder) -> None:
    builder.finetune("minilm", "hub_rte", 0, 0.6, glue="rte", hub=MINILM)
    assert "| rte |" in Made(builder, "downstream").section("GLUE")
    builder.finetune("minilm", "rte", 0, 0.6, glue="rte", hub=MINILM)
    assert {"hub_rte", "rte"} <= {cell.strip() for cell in Made(builder, "downstream").section("GLUE").split("|")}


def test_a_set_may_need_several_methods_and_says_so(builder: Builder) -> None:
    few = {"sst2", "qqp", "mnli", "qnli"}
    builder.glue("minilm", {k: v for k, v in EIGHT.items() if k not in few}, hub=MINILM)
    builder.glue("minilm", {k: v for k, v in EIGHT.items() if k in few}, hub=MINILM, method="sample")
    row = Made(builder, "downstream").row(task_id="glue8")
    assert row["method"] == "several methods"
    assert row["mean"] == pytest.approx((sum(EIGHT.values()) + 7 * 0.002 / 3) / 8)


def test_mnli_is_matched_mismatched_and_ax(builder: Builder) -> None:
    both = FullFinetuning(recipe="rc2020")
    known = {"matched.accuracy": 0.60, "mismatched.accuracy": 0.64, "ax.mcc": 0.10}
    builder.finetune("minilm", "mnli", 0, 0.62, glue="mnli", hub=MINILM, settings=both, **known)
    made = Made(builder, "downstream")
    found = {row["task_id"]: row["median"] for row in made.frame.to_dict("records")}
    assert found == {"mnli": 0.60, "mnli_mismatched": 0.64, "mnli_both": 0.62, "ax": 0.10}
    assert "mnli, AX (MCC)" in made.text


def test_second_metrics_stand_in_a_grid_of_their_own(builder: Builder) -> None:
    builder.finetune("minilm", "mrpc", 0, 0.80, glue="mrpc", hub=MINILM, f1=0.86)
    builder.finetune("minilm", "stsb", 0, 0.82, glue="stsb", hub=MINILM, pearson=0.83)
    made = Made(builder, "downstream")
    assert made.row(task_id="mrpc", metric="f1")["median"] == 0.86
    assert made.row(task_id="stsb", metric="pearson")["median"] == 0.83
    assert "F1" not in made.section("GLUE\n") and "mrpc (F1)" in made.section("GLUE's second metrics")
    assert "stsb (Spearman)" in made.section("GLUE\n") and "majority" not in made.section("GLUE's second")


def test_degenerate_runs_are_flagged_in_the_cell_and_below(builder: Builder) -> None:
    for seed in (0, 1, 2):
        builder.finetune("minilm", "rte", seed, 0.58, glue="rte", hub=MINILM, degenerate=seed == 0)
        builder.finetune("minilm", "sst2", seed, 0.80, glue="sst2", hub=MINILM)
    made = Made(builder, "downstream")
    assert made.text.split("**Read")[0].count("†") == 1
    assert made.note("† runs that predict one class only", "rte: minilm `full` 1 of 3.")
    assert made.row(task_id="rte")["degenerate_runs"] == 1


def test_wnlis_majority_trap_is_named(builder: Builder) -> None:
    builder.glue("minilm", {"wnli": 0.5, "rte": 0.5, "sst2": 0.9}, hub=MINILM)
    made = Made(builder, "downstream")
    assert made.text.split("**Read")[0].count("‡") == 2
    note = made.note("‡ by mean accuracy no better", "wnli (0.550): minilm `full`", "rte (0.550)")
    assert "majority trap" in note
    assert bool(made.row(task_id="wnli")["at_or_below_majority"])


def test_row_counts_and_notes_of_the_records_are_said(builder: Builder) -> None:
    rows = {"official_train_rows": 392_702.0, "official_validation_rows": 9815.0, "train_rows": 4000.0}
    notes = ("MiniLM's training text holds MNLI pairs",)
    for seed in (0, 1):
        own = (*notes, f"learning rate of seed {seed}")
        builder.finetune("minilm", "mnli", seed, 0.6, glue="mnli", hub=MINILM, rows=9815, notes=own, **rows)
    made = Made(builder, "downstream")
    note = made.note("mnli: trained on a sample of 4,000 rows where the official split has 392,702")
    assert note and "scored" not in note
    assert made.note("mnli: MiniLM's training text holds MNLI pairs")
    assert "learning rate of seed" not in made.text
    builder.finetune("other", "mnli", 0, 0.6, glue="mnli", hub="x/y")
    assert Made(builder, "downstream").note("mnli, minilm: MiniLM's training text holds MNLI pairs")


def test_other_tasks_are_never_called_glue(builder: Builder) -> None:
    builder.whole_experiment((0.25,))
    made = Made(builder, "downstream")
    assert made.text.startswith("# Downstream tasks\n")
    assert "GLUE" not in made.text
    for row in ("tiny g25", "tiny_plain g25 (control)", "random initialisation", "TF-IDF", "majority class"):
        assert made.line(row)
    builder.glue("minilm", {"sst2": 0.9}, hub=MINILM)
    made = Made(builder, "downstream")
    assert "boolq" not in made.section("GLUE\n") and "boolq" in made.section("Other tasks")
    assert "sst2" not in made.section("Other tasks").split("**Read")[0]


def test_failed_runs_are_listed(builder: Builder) -> None:
    builder.glue("minilm", {"sst2": 0.9}, seeds=(0, 1), hub=MINILM)
    builder.finetune("minilm", "sst2", 2, 0.0, glue="sst2", hub=MINILM, status="failed")
    made = Made(builder, "downstream")
    assert "| minilm on sst2 | full | 2 | failed | out of memory |" in made.section("Runs without a result")
    assert made.row(task_id="sst2")["n"] == 2


def test_snapshots_are_rows_of_their_own_and_of_no_size(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "boolq", 0, 0.7)
    builder.finetune("tiny-g25-at6.25", "boolq", 0, 0.6, snapshot=0.0625)
    assert "0.600" in Made(builder, "downstream").line("tiny g25 at 6.25 %")
    assert list(Made(builder, "generator_size").frame["row"].unique()) == ["tiny g25", "majority class"]


def test_differences_of_the_bootstrap_are_said(builder: Builder) -> None:
    gold = np.random.default_rng(0).integers(2, size=500)
    for model, right in (("a", 0.9), ("b", 0.7), ("c", 0.7)):
        given = np.where(np.random.default_rng(ord(model)).random(500) < right, gold, 1 - gold)
        for seed in (0, 1):
            known = {"glue": "sst2", "hub": f"x/{model}", "predictions": (gold, given)}
            builder.finetune(model, "sst2", seed, right, **known)
    note = Made(builder, "downstream").note("**sst2:**")
    assert "A better than c by 0." in note and "a better than b by 0." in note
    assert "no difference shown in 1 of 3 pairs of models" in note


def test_one_seed_gives_no_verdict_between_models(builder: Builder) -> None:
    gold = np.random.default_rng(0).integers(2, size=500)
    for model, given in (("a", gold), ("b", 1 - gold)):
        builder.finetune(model, "sst2", 0, 0.5, glue="sst2", hub=f"x/{model}", predictions=(gold, given))
    note = Made(builder, "downstream").note("**sst2:**")
    assert "better" not in note and "No difference" not in note and "a 0.500 (n=1)" in note


@pytest.mark.parametrize("table", ["downstream", "vs_published"])
def test_nothing_finished_still_gives_a_table(builder: Builder, table: str) -> None:
    builder.finetune("minilm", "sst2", 0, 0.9, glue="sst2", hub=MINILM, status="failed")
    assert "| minilm on sst2 | full | 0 | failed |" in Made(builder, table).text
    results = collected(builder)
    with pytest.raises(UserError, match="no finished fine-tuning"):
        make_figure("downstream", results, results.folder / "f")


# --- the figure -------------------------------------------------------------------------------------------------


def minilm_alone(builder: Builder) -> None:
    builder.glue("minilm", EIGHT | {"wnli": 0.5}, hub=MINILM)


def drawn(builder: Builder, make: Callable[[Builder], None]) -> Figure:
    make(builder)
    with house_style():
        return figure_of("downstream", collected(builder))


def test_figure_draws_means_and_published_values(builder: Builder) -> None:
    panel = drawn(builder, minilm_alone).axes[0]
    labels = [text.get_text() for text in panel.get_yticklabels()]
    assert labels[0] == "cola (MCC)" and labels[-1] == "wnli" and len(labels) == 10
    means = [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert means[:2] == pytest.approx([0.30 + 0.002 / 3, 0.85 + 0.002 / 3])
    rates = {line.get_xdata()[0] for line in panel.lines if line.get_label() == "majority class"}
    assert rates == {0.0, 0.55}
    diamonds = [line.get_xdata()[0] for line in panel.lines if line.get_label() == "ELECTRA-Small-OWT, published"]
    assert diamonds == [0.568, 0.883, 0.874, 0.868, 0.883, 0.789, 0.879, 0.685]


def test_figure_hollows_degenerate_runs(builder: Builder) -> None:
    def make(builder: Builder) -> None:
        builder.finetune("minilm", "rte", 0, 0.5, glue="rte", hub=MINILM, degenerate=True)
        builder.finetune("minilm", "sst2", 0, 0.9, glue="sst2", hub=MINILM)

    lines = drawn(builder, make).axes[0].lines
    faces = {
        line.get_xdata()[0]: line.get_markerfacecolor()
        for line in lines
        if line.get_marker() == "o" and len(line.get_xdata())
    }
    assert faces[0.5] == "white" and faces[0.9] != "white"


def test_no_pretraining_at_all_is_an_experiment(builder: Builder) -> None:
    minilm_alone(builder)
    results = collected(builder)
    assert results.detail("curves").empty
    for table in ("downstream", "vs_published"):
        make_table(table, results, results.folder / table)
    check_files("downstream", results)
    with pytest.raises(UserError, match="no pretraining run"):
        make_table("pretraining", results, results.folder / "t")
