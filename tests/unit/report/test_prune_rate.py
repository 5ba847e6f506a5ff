"""Table and figure of methods that prune at several rates, on constructed runs."""

from __future__ import annotations

from statistics import fmean

import pytest
from report_experiment import MINILM, Builder, collected
from report_made import Made, check_layout, drawn
from report_pruned_experiment import WOBBLE, zeros
from report_pruned_rates import RATES, rates_study
from scipy import stats
from two_way import half_by_hand, right_answers

from electralab.config.methods.pruning import Prune, Recover
from electralab.errors import UserError
from electralab.report.figures.style import house_style

AFTER = "layer, single weights, l1, with biases and head"
BEFORE = f"{AFTER}; then fine-tuned"
SPARSEGPT = "layer, single weights, sparsegpt"
THEIRS = "published, ELECTRA-Small++ (released): Prune 3 (unstructured layer L1)"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    builder = Builder(tmp_path_factory.mktemp("rates") / "artifacts")
    rates_study(builder, "movie_sentiment")
    rates_study(builder, "mrpc", glue="mrpc")
    builder.baseline("movie_sentiment", 0.72)
    return builder


@pytest.fixture(scope="module")
def made(study: Builder) -> Made:
    return Made(study, "prune_rate")


def test_a_row_a_rate_and_a_column_a_method(made: Made) -> None:
    section = "movie_sentiment, minilm (accuracy)"
    rates = [line.split("|")[1].strip() for line in made.section(section).splitlines() if line.startswith("| ")]
    assert rates == ["Zeros", ":--", "25 %", "35 %", "45 %", "50 %", "55 %", "65 %"]
    assert list(made.cells("45 %", section)) == ["Zeros", AFTER, BEFORE, SPARSEGPT]
    values = [0.76 + wobble for wobble in WOBBLE]
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    assert made.cells("45 %", section)[AFTER] == f"{fmean(values):.3f} [{low:.3f}, {high:.3f}] n=3"
    assert made.cells("50 %", section)[BEFORE] == "–"


def test_published_rates_stand_beside_the_same_task_only(made: Made) -> None:
    theirs = [made.cells(f"{rate} %", "mrpc, minilm (accuracy)")[THEIRS] for rate in RATES]
    assert theirs == ["0.873", "0.855", "0.809", "0.740", "0.659"]
    assert THEIRS not in made.cells("45 %", "movie_sentiment, minilm (accuracy)")
    assert made.note("Published: one seed, pruned before fine-tuning")


def test_differences_are_paired_with_the_dense_model(made: Made) -> None:
    def answers(method: str, score: float) -> object:
        return right_answers("minilm", method, [score + wobble for wobble in WOBBLE])

    half = half_by_hand(answers("before45", 0.79), answers("full", 0.82))
    row = made.row(method="before45", task="mrpc")
    assert (row["sparsity"], row["what"], row["dense"]) == (0.45, BEFORE, "full")
    assert (row["minus_dense"], row["minus_dense_high"]) == pytest.approx((-0.03, -0.03 + half))
    assert row["minus_dense_verdict"] == "lower"
    assert made.cells("45 %", "mrpc, minilm: minus dense")[BEFORE].startswith("-0.030 [")


def test_answers_say_at_which_rates_a_method_loses(made: Made) -> None:
    answer = made.note(f"**mrpc, minilm, {SPARSEGPT}:**")
    assert "no difference to the dense model shown at 50 % (-0.005 [" in answer
    assert "worse at 65 % (-0.030 [" in answer and "better" not in answer


def test_one_seed_has_no_verdict(builder: Builder) -> None:
    rates_study(builder, "movie_sentiment", seeds=(0,))
    answer = Made(builder, "prune_rate").note(f"{SPARSEGPT}:**")
    assert "one common seed gives no verdict at 50 % (-0.005) and 65 % (-0.030)" in answer and "worse" not in answer


def test_one_rate_is_no_method_of_this_table(builder: Builder) -> None:
    for rate in (0.25, 0.5):  # of two methods: only one of them is trained again
        told = {"hub": MINILM, "recipe": "any", "method": f"full+prune{rate}", "settings": Prune(sparsity=rate)}
        told |= {} if rate == 0.25 else {"settings": Prune(sparsity=rate, criterion="wanda")}
        builder.finetune("minilm", "movie_sentiment", 0, 0.8, **told, **zeros(rate, 70.0))
    made = Made(builder, "prune_rate")
    assert made.frame.empty and "there is nothing to compare" in made.text
    with pytest.raises(UserError, match="no method with finished runs at two rates"):
        drawn("prune_rate", collected(builder))


def test_methods_that_are_said_alike_are_named_apart(builder: Builder) -> None:
    for rate in (25, 50):
        prune, once, thrice = Prune(sparsity=rate / 100), Recover(epochs=1), Recover(epochs=3)
        for end, settings in (("", prune), ("+r1", once), ("+r3", thrice)):
            told = {"hub": MINILM, "recipe": "any", "method": f"full+p{rate}{end}", "settings": settings}
            builder.finetune("minilm", "any", 0, 0.8, **told, **zeros(rate / 100, 70.0))
    names = set(Made(builder, "prune_rate").frame["what"])
    alike = "layer, single weights, l1; then trained further, zeros kept"
    assert names == {"layer, single weights, l1", f"{alike}: full+p25+r1", f"{alike}: full+p25+r3"}


def test_figure_joins_a_method_and_leaves_the_published_hollow(study: Builder) -> None:
    with house_style():
        figure = drawn("prune_rate", collected(study))
        reviews, paraphrases = figure.axes
        lines = {line.get_label(): line for line in paraphrases.lines}
        assert {AFTER, BEFORE, SPARSEGPT, THEIRS, "full (dense)", "majority class"} <= set(lines)
        aside = lines[BEFORE].get_xdata()[0] - 25
        assert list(lines[BEFORE].get_xdata() - aside) == pytest.approx([25, 35, 45, 55, 65]) and abs(aside) <= 3
        scores = [before + fmean(WOBBLE) for _, before in RATES.values()]
        assert list(lines[BEFORE].get_ydata()) == pytest.approx(scores)
        assert lines[THEIRS].get_markerfacecolor() == "white" and lines[BEFORE].get_markerfacecolor() != "white"
        assert list(lines[THEIRS].get_ydata()) == [0.8725, 0.8554, 0.8088, 0.7402, 0.6593]
        assert THEIRS not in {line.get_label() for line in reviews.lines}
        assert "TF-IDF + linear model" in {line.get_label() for line in reviews.lines}
        check_layout(figure)
