"""Table and figure of pruned chains, on constructed runs, against arithmetic and statistics of other code."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from report_compressed_experiment import compressed_study
from report_experiment import MINILM, Builder, collected
from report_made import Made, check_layout, drawn, runs_of
from report_pruned_experiment import ENCODER, PARAMETERS, TASK, WOBBLE, pruned_study, removed, zeros
from report_pruned_rates import whole_study
from scipy import stats
from two_way import half_by_hand, right_answers

from electralab import catalogue
from electralab.config.methods.chains import compressing_kinds
from electralab.config.methods.prune_as_you_tune import PruneAsYouTune
from electralab.config.methods.pruning import Prune, PruneFull, Recover, Remove
from electralab.errors import UserError
from electralab.report.compression import pruned, stored_smaller
from electralab.report.figures.style import house_style
from electralab.report.pruning import chain_words

TUNED = "more and more while LoRA was tuned"
SECTION = f"{TASK}, minilm ("
CHAINS = [
    *("full", "full+small", "full+heads", "full+two_of_four", "published", "full+l1_25", "full+l1_50", "full+l1_75"),
    *("full+l1_50+int8", "full+l1_75+recover", "full+rows"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    builder = Builder(tmp_path_factory.mktemp("pruned") / "artifacts")
    pruned_study(builder)
    builder.baseline(TASK, 0.72)
    return builder


@pytest.fixture(scope="module")
def made(study: Builder) -> Made:
    return Made(study, "pruning")


def test_every_link_that_makes_a_model_smaller_is_of_one_page() -> None:
    pruning = {*catalogue.PRUNING}
    assert compressing_kinds() == {*catalogue.STORED_SMALLER} | (pruning - {"prune_as_you_tune", "prune_full"})
    assert catalogue.chosen(catalogue.TABLES, {"prune"}) == ["pruning"]
    assert catalogue.chosen(catalogue.TABLES, {"half"}) == ["quantization"]
    assert "pruning" in catalogue.chosen(catalogue.FIGURES, {"prune_full"})
    assert catalogue.chosen(catalogue.FIGURES, {"remove"}) == ["pruning"]


def test_chains_stand_below_the_dense_model(made: Made) -> None:
    rows = [line.split("|")[1].strip() for line in made.section(SECTION).splitlines() if line.startswith("| ")]
    assert rows == ["Chain", ":--", *CHAINS, "majority class"]
    assert list(made.frame["method"]) == CHAINS and set(made.frame["dense"]) == {"full"}
    assert made.row(method="full+l1_75+recover")["kinds"] == "full+prune+recover"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, f"single weights, {TUNED} (agp), no teacher"),
        (
            {"teacher": ["full"], "growth": "linear"},
            f"single weights, {TUNED} (linear), with a teacher",
        ),
        (
            {"structure": "columns", "teacher_recipe": "as_published", "rank_stabilized": False},
            f"columns, {TUNED} (agp), with a teacher that nothing trained, not rank-stabilized",
        ),
    ],
)
def test_prune_as_you_tune_is_said_in_words(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    told = {"method": "payt", "settings": PruneAsYouTune(**options), "hub": MINILM, "recipe": "any"}
    builder.finetune("minilm", TASK, 0, 0.8, **(told | zeros(0.5, 70.0)))
    assert chain_words(runs_of(builder), "payt") == words
    assert Made(builder, "pruning").cells("payt")["Method"] == words


def test_methods_are_said_in_words(made: Made) -> None:
    assert {method: made.cells(method, SECTION)["Method"] for method in CHAINS} == {
        "full": "dense",
        "full+heads": "25 % of heads removed",
        "full+small": "2 layers, 25 % of neurons removed",
        "published": "global, single weights, l1, with biases and head; then fine-tuned",
        "full+two_of_four": "2:4, sparsegpt",
        "full+l1_25": "layer, single weights, l1",
        "full+l1_50": "layer, single weights, l1",
        "full+l1_75": "layer, single weights, l1",
        "full+l1_50+int8": "layer, single weights, l1; then `dynamic_int8`",
        "full+l1_75+recover": "layer, single weights, l1; then trained further, zeros kept",
        "full+rows": "rows, l2",
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Remove(layers=[0]), "1 layer removed"),
        (Remove(layers=[10, 11, 2]), "3 layers removed"),
        (Remove(neurons=0.5), "50 % of neurons removed"),
        (Prune(criterion="random", among="global"), "global, single weights, random"),
    ],
)
def test_words_of_one_link(builder: Builder, settings: object, words: str) -> None:
    told = {"hub": MINILM, "method": "full+link", "settings": settings, "recipe": "any"}
    builder.finetune("minilm", TASK, 0, 0.8, **told)
    assert chain_words(runs_of(builder), "full+link") == words


def test_numbers_by_arithmetic(made: Made) -> None:
    row = made.row(method="full+l1_50")
    values = [0.818 + wobble for wobble in WOBBLE]
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((fmean(values), low, high))
    assert (row["asked_sparsity"], row["sparsity.encoder"]) == (0.5, 0.5)
    assert row["nonzero_parameters"] == PARAMETERS - ENCODER / 2
    cells = made.cells("full+l1_50", SECTION)
    assert (cells["% zeros of encoder"], cells["% zeros of all"]) == ("50.0", f"{50 * ENCODER / PARAMETERS:.1f}")
    assert (cells["MB"], cells["MB compressed"]) == ("90.3", "72.5")
    assert cells["Agreement with parent"] == "0.970"
    assert made.cells("full |", SECTION)["% zeros of encoder"] == "–"
    assert made.row(method="full+small")["removed_layers"] == 2
    assert made.cells("full+small", SECTION)["MB"] == "64.0"


def test_differences_are_paired_with_the_dense_model(made: Made) -> None:
    def answers(method: str, score: float) -> object:
        return right_answers("minilm", method, [score + wobble for wobble in WOBBLE])

    for chain, score in (("full+l1_75+recover", 0.80), ("published", 0.81)):
        half = half_by_hand(answers(chain, score), answers("full", 0.82))
        row = made.row(method=chain)
        assert row["minus_dense"] == pytest.approx(score - 0.82)
        ends = row["minus_dense_low"], row["minus_dense_high"]
        assert ends == pytest.approx((score - 0.82 - half, score - 0.82 + half))
    assert made.cells("full+rows", SECTION)["Minus dense"].startswith("-0.160 [")
    assert made.cells("full |", SECTION)["Minus dense"] == "–"


def test_answer_names_the_sparsest_without_a_difference_and_who_loses(made: Made) -> None:
    (answer,) = made.notes("`full` 0.8")
    said = answer.partition("sparsest with no difference shown, 50.0 % of the encoder's weights zero: ")[2]
    alike = said.partition("; ")[0]
    assert [name for name in CHAINS if f"`{name}`" in alike] == ["full+two_of_four", "full+l1_50", "full+l1_50+int8"]
    of_csv = made.frame[made.frame["minus_dense_verdict"] == "unclear"]
    assert of_csv["sparsity.encoder"].max() == 0.5
    worse = answer.partition("worse: ")[2]
    assert "`full+l1_75` -0.220 [" in worse and "`full+rows` -0.160 [" in worse
    assert "better" not in answer and "verdict" not in answer
    assert "fewest parameters by removal with no difference shown: `full+heads`" in answer


def test_notes_say_what_zeros_are_of_and_save(made: Made) -> None:
    assert made.note("A zero saves neither bytes nor time", "weights of the encoder's dense layers")
    assert made.note("published study", "pruned before fine-tuning", "biases and head")
    assert made.note("`No difference shown` is not `equal`", "half-width")


def test_one_seed_has_no_verdict(builder: Builder) -> None:
    pruned_study(builder, seeds=(0,))
    made = Made(builder, "pruning")
    assert made.cells("full+l1_50 ", SECTION)["Minus dense"] == "-0.002 (n=1)"
    (answer,) = made.notes("`full` 0.8")
    assert (
        "one common seed gives no verdict; sparsest of those, 75.0 % of the encoder's weights zero: `full+l1_75` -0.220"
        in answer
    )
    assert "worse" not in answer and "no difference shown" not in answer


def test_one_that_loses_alone_has_nothing_without_a_difference(builder: Builder) -> None:
    for seed in (0, 1, 2):
        builder.finetune("minilm", TASK, seed, 0.82, hub=MINILM)
        told = {"hub": MINILM, "method": "full+prune", "settings": Prune(), "recipe": "any"}
        builder.finetune("minilm", TASK, seed, 0.56, **told, **zeros(0.5, 70.0))
    (answer,) = Made(builder, "pruning").notes("`full` 0.8")
    assert "nothing pruned or removed with no difference shown; worse: `full+prune`" in answer


def test_failed_links_are_rows(builder: Builder) -> None:
    pruned_study(builder, seeds=(0, 1))
    told = {"method": "full+broken", "settings": Prune(criterion="wanda"), "hub": MINILM, "recipe": "any"}
    builder.finetune("minilm", TASK, 0, 0.0, status="failed", **told)
    made = Made(builder, "pruning")
    cells = made.cells("full+broken", SECTION)
    assert (cells["Score"], cells["% zeros of encoder"], cells["Minus dense"]) == ("– (n=0)", "–", "–")
    assert cells["Method"] == "layer, single weights, wanda"
    assert "out of memory" in made.section("Runs without a result")


def test_only_failed_runs_and_no_dense_model(builder: Builder) -> None:
    told = {"method": "first", "settings": PruneFull(), "hub": MINILM, "recipe": "any"}
    builder.finetune("minilm", TASK, 0, 0.0, status="failed", **told)
    made = Made(builder, "pruning")
    assert made.note("no finished full fine-tuning to compare `first` with")
    builder.finetune("minilm", TASK, 0, 0.8, hub=MINILM)
    assert Made(builder, "pruning").note("no finished run of `full` and of a chain that prunes it")
    with pytest.raises(UserError, match="no finished run of a chain that prunes a model"):
        drawn("pruning", collected(builder))


def test_no_pruning_at_all(builder: Builder) -> None:
    compressed_study(builder, seeds=(0,))
    made = Made(builder, "pruning")
    assert made.frame.empty and "there is nothing to compare" in made.text
    with pytest.raises(UserError, match="chain that prunes a model"):
        drawn("pruning", collected(builder))


def test_chains_of_both_sorts_stand_on_both_pages(study: Builder) -> None:
    quantization = Made(study, "quantization")
    assert set(quantization.frame["method"]) == {"full", "full+half", "full+l1_50+int8"}
    both = quantization.row(method="full+l1_50+int8")
    assert (both["uncompressed"], both["parent"]) == ("full", "full+l1_50")
    assert both["minus_parent"] == pytest.approx(-0.003)
    runs = runs_of(study)
    assert pruned(runs) == {*CHAINS} - {"full"}
    assert stored_smaller(runs) == {"full+half", "full+l1_50+int8"}
    with house_style():
        (panel,) = drawn("quantization", collected(study)).axes
        labels = {line.get_label() for line in panel.lines}
        joins = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 0.9]
    assert {"full+half", "full+l1_50+int8"} <= labels and "full+l1_50" not in labels
    assert len(joins) == 2  # the pruned link between has no point


def test_a_link_that_prunes_after_few_bytes_says_so(builder: Builder) -> None:
    pruned_study(builder, seeds=(0,))
    told = {"method": "full+half+recover", "settings": Recover(), "hub": MINILM, "recipe": "any"}
    builder.finetune("minilm", TASK, 0, 0.8, **told, **zeros(0.0, 80.0))
    cells = Made(builder, "quantization").cells("full+half+recover", SECTION)
    assert cells["What is smaller"] == "trained further, zeros kept"
    assert Made(builder, "pruning").row(method="full+half+recover")["dense"] == "full+half"


def test_adapters_downstream_and_confusions_leave_pruned_models_out(study: Builder) -> None:
    assert set(Made(study, "downstream").frame["method"]) == {"full"}
    assert Made(study, "adapters").frame.empty


def test_figure_has_a_line_a_chain_by_when_it_prunes_and_how_much(study: Builder) -> None:
    with house_style():
        figure = drawn("pruning", collected(study))
        (panel,) = figure.axes
        labels = [label.get_text() for label in panel.get_yticklabels()]
        assert labels == [
            *("pruned before fine-tuning", "global, single weights, l1, with biases and head; then fine-tuned"),
            "pruned after fine-tuning",
            *("layer, single weights, l1", "rows, l2"),  # 25 %
            *("2:4, sparsegpt", "layer, single weights, l1", "layer, single weights, l1; then dynamic_int8"),  # 50 %
            *("layer, single weights, l1; then trained further, zeros kept", "layer, single weights, l1"),  # 75 %
            *("structures removed", "25 % of heads removed", "2 layers, 25 % of neurons removed"),
        ]
        points = {int(point.get_ydata()[0]): point for point in panel.lines if point.get_marker() == "o"}
        scores = {1: 0.81, 3: 0.82, 4: 0.66, 5: 0.819, 6: 0.818, 7: 0.815, 8: 0.80, 9: 0.60, 11: 0.819, 12: 0.80}
        means = {height: score + fmean(WOBBLE) for height, score in scores.items()}
        assert {height: point.get_xdata()[0] for height, point in points.items()} == pytest.approx(means)
        low, high = stats.t.interval(0.95, 2, means[6], stats.sem(WOBBLE))
        (bar,) = [line for line in panel.lines if list(line.get_ydata()) == [6, 6]]
        assert list(bar.get_xdata()) == pytest.approx([low, high])
        at_right = [text.get_text() for text in panel.texts]
        assert at_right == [*("25 %", "25 %", "25 %", "50 %", "50 %", "50 %", "75 %", "75 %"), "88 % left", "70 % left"]
        lines = {line.get_label(): line for line in panel.lines}
        assert {"full (dense)", "majority class", "TF-IDF + linear model"} <= set(lines)
        assert lines["full (dense)"].get_xdata()[0] == pytest.approx(0.82 + fmean(WOBBLE))
        check_layout(figure)


def test_thirty_chains_are_legible(builder: Builder) -> None:
    whole_study(builder, TASK)
    with house_style():
        figure = drawn("pruning", collected(builder))
        (panel,) = figure.axes
        assert len(panel.get_yticks()) == 36 and figure.get_size_inches()[1] < 10
        check_layout(figure)


def test_two_methods_of_the_same_words_are_told_apart(builder: Builder) -> None:
    pruned_study(builder, seeds=(0,))
    for epochs in (1, 3):
        told = {"method": f"full+l1_50+recover{epochs}", "settings": Recover(epochs=epochs), "recipe": "any"}
        builder.finetune("minilm", TASK, 0, 0.8, hub=MINILM, **told, **zeros(0.5, 70.0))
    with house_style():
        (panel,) = drawn("pruning", collected(builder)).axes
    labels = {label.get_text() for label in panel.get_yticklabels()}
    words = "layer, single weights, l1; then trained further, zeros kept"
    assert {f"{words} (full+l1_50+recover1)", f"{words} (full+l1_50+recover3)", words} <= labels


def test_removed_structures_alone_have_a_table(builder: Builder) -> None:
    for seed in (0, 1):
        builder.finetune("minilm", TASK, seed, 0.82, hub=MINILM)
        told = {"hub": MINILM, "method": "full+small", "settings": Remove(neurons=0.5), "recipe": "any"}
        builder.finetune("minilm", TASK, seed, 0.82, **told, **removed(15_000_000))
    made = Made(builder, "pruning")
    assert made.note("15,000,000 left") and not made.note("published study")
