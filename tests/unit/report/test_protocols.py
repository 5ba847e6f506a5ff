"""Table `protocols`: one learning rate against a budget of rates, on constructed runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_experiment import MINILM, Builder
from report_made import Made, runs_of
from scipy import stats
from two_way import half_by_hand, right_answers

from electralab.config import FullFinetuning, Ia3, InContext, Lora, Prefix, Training
from electralab.report.protocols import pairs

WOBBLE = (0.0, 0.01, -0.008)
BUDGET = [3e-4, 1e-3, 3e-3]
# Score with 3e-4, score with the budget, and the rate that the budget chooses by seed.
STUDY: dict[str, tuple[Training, float, float, tuple[float, ...]]] = {
    "full": (FullFinetuning(max_train_rows=2000), 0.80, 0.80, (3e-4, 3e-4, 1e-3)),
    "lora": (Lora(), 0.78, 0.79, (3e-4, 1e-3, 1e-3)),
    "prefix": (Prefix(), 0.60, 0.74, (3e-3, 3e-3, 3e-3)),
    "ia3": (Ia3(), 0.65, 0.70, (3e-3, 1e-3, 1e-3)),
}


def run(builder: Builder, task: str, seed: int, score: float, settings: Training, **known: Any) -> None:
    """One run of 2,000 rows, of which several rates leave 1,800 to train on."""
    rates = len(settings.learning_rates)
    told = {"train_rows": 2000.0 if rates == 1 else 1800.0, "train_seconds": 30.0 if rates == 1 else 27.0}
    cost = {"tokens": 100_000 if rates == 1 else 90_000 * rates, "wall_seconds": 40.0 + 27.0 * (rates - 1)}
    told |= {"learning_rate": settings.learning_rates[0]}
    builder.finetune("minilm", task, seed, score, settings=settings, hub=MINILM, known_cost=cost, **(told | known))


def with_rates(settings: Training, rates: list[float]) -> Training:
    return settings.model_copy(update={"learning_rates": rates})


def study(builder: Builder, task: str = "movie_sentiment", names: tuple[str, ...] = tuple(STUDY)) -> Made:
    """Four methods under both protocols, three seeds each."""
    for name in names:
        settings, one, budget, chosen = STUDY[name]
        for seed, wobble in enumerate(WOBBLE):
            run(builder, task, seed, one + wobble, with_rates(settings, [3e-4]), method=name)
            known = {"method": f"{name}_tuned", "learning_rate": chosen[seed]}
            run(builder, task, seed, budget + wobble / 2, with_rates(settings, BUDGET), **known)
    return Made(builder, "protocols")


def test_both_scores_and_the_paired_difference_by_hand(builder: Builder) -> None:
    made = study(builder)
    row = made.row(one_method="prefix")
    one, budget = 0.60 + np.array(WOBBLE), 0.74 + np.array(WOBBLE) / 2
    assert (row["one_mean"], row["budget_mean"]) == pytest.approx((one.mean(), budget.mean()))
    low, high = stats.t.interval(0.95, 2, budget.mean(), stats.sem(budget))
    assert (row["budget_low"], row["budget_high"]) == pytest.approx((low, high))
    gain = budget - one
    half = half_by_hand(right_answers("minilm", "prefix_tuned", budget), right_answers("minilm", "prefix", one))
    assert (row["paired_seeds"], row["difference"]) == (3, pytest.approx(gain.mean()))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((gain.mean() - half, gain.mean() + half))
    cells = made.cells("prefix / prefix_tuned")
    assert cells["Kind"] == "prefix, virtual tokens 30"
    assert cells["Score, one rate"].startswith("0.601 [") and cells["Score, budget"].startswith("0.740 [")
    assert cells["Budget minus one"].startswith("+0.140 [")
    rates = made.cells("prefix / prefix_tuned", "movie_sentiment, minilm: rates")
    assert [rates[name] for name in ("One rate", "Budget", "Chosen")] == [
        *("0.0003", "0.0003, 0.001 and 0.003", "0.003 in 3 runs"),
    ]


def test_ranks_under_each_protocol_and_who_changed_places(builder: Builder) -> None:
    made = study(builder)
    frame = made.frame.set_index("one_method")
    assert list(frame.index) == ["full", "lora", "prefix", "ia3"]
    assert list(frame["one_rank"]) == [1, 2, 4, 3] and list(frame["budget_rank"]) == [1, 2, 3, 4]
    assert list(made.cells("prefix").values())[5:] == ["4", "3"]
    note = made.note("**movie_sentiment, minilm:** the order changes")
    assert "Changed places: `prefix` with `ia3`; in 1 of these 1 pairs" in note
    assert "One rate: `full` 0.801, `lora` 0.781, `ia3` 0.651, `prefix` 0.601; budget: `full_tuned` 0.800" in note


def test_a_change_that_the_seeds_do_not_show_is_called_so(builder: Builder) -> None:
    for name, settings in (("lora", Lora()), ("ia3", Ia3())):
        for seed in (0, 1):
            sign = 1 if (name == "lora") else -1
            noisy = 0.7 + sign * (0.01 + 0.2 * seed)
            run(builder, "boolq", seed, noisy, with_rates(settings, [1e-3]), method=name)
            run(builder, "boolq", seed, 1.4 - noisy, with_rates(settings, BUDGET), method=f"{name}_tuned")
    assert "in 0 of these 1 pairs" in Made(builder, "protocols").note("the order changes")


def test_equal_scores_share_their_rank_and_an_unchanged_order_is_said(builder: Builder) -> None:
    for name, settings in (("lora", Lora()), ("ia3", Ia3()), ("prefix", Prefix())):
        score = 0.6 if name == "prefix" else 0.7
        run(builder, "boolq", 0, score, with_rates(settings, [1e-3]), method=name)
        run(builder, "boolq", 0, score, with_rates(settings, BUDGET), method=f"{name}_tuned")
    made = Made(builder, "protocols")
    assert dict(zip(made.frame["one_method"], made.frame["one_rank"])) == {"lora": 1, "ia3": 1, "prefix": 3}
    assert made.note("no two of the 3 methods change places")


def test_one_method_alone_has_no_rank(builder: Builder) -> None:
    made = study(builder, names=("lora",))
    assert list(made.cells("lora").values())[5:7] == ["–", "–"] and pd.isna(made.row(one_method="lora")["one_rank"])
    assert not made.note("order")


def test_the_protocol_of_the_published_study_and_an_equal_budget_are_named(builder: Builder) -> None:
    made = study(builder)
    assert made.note("One rate: 0.0003 for every method, as in the published study of OPT's adapters")
    assert made.note("Same budget: each run of every method chooses between 3 rates")
    run(builder, "boolq", 0, 0.7, with_rates(Lora(rank=2), [1e-2]), method="small")
    run(builder, "boolq", 0, 0.7, with_rates(Lora(rank=2), [1e-2, 2e-2]), method="small_tuned")
    made = Made(builder, "protocols")
    assert made.note("The one rate differs between methods (0.0003 for `full`, `lora`, `prefix` and `ia3`; 0.01 for")
    assert made.note("Budgets are not equal", "2 for `small_tuned`")


def test_what_the_budgets_chose(builder: Builder) -> None:
    made = study(builder)
    assert made.row(one_method="lora")["budget_chosen"] == "0.0003:1;0.001:2"
    assert made.note("Where the one rate was among them, 3 of 12 runs with a budget chose it.")
    edges = made.note("Most runs chose an end of their budget")
    assert "`full_tuned` the smallest (movie_sentiment, minilm: 2 of 3)" in edges
    assert "`prefix_tuned` the largest (movie_sentiment, minilm: 3 of 3)" in edges and "ia3" not in edges


def test_a_budget_without_the_one_rate_says_so(builder: Builder) -> None:
    run(builder, "boolq", 0, 0.7, with_rates(Lora(), [5e-5]), method="lora")
    run(builder, "boolq", 0, 0.7, with_rates(Lora(), BUDGET), method="lora_tuned")
    made = Made(builder, "protocols")
    assert made.note("The one rate is not among the rates of `lora_tuned`") and not made.note("chose it")


def test_the_budget_costs_every_rate_and_a_part_of_the_rows(builder: Builder) -> None:
    made = study(builder, names=("full", "lora"))
    row = made.row(one_method="lora")
    assert (row["one_train_seconds"], row["budget_train_seconds"]) == (30.0, 81.0)
    assert (row["one_run_seconds"], row["budget_run_seconds"]) == (40.0, 94.0)
    assert (row["one_train_rows"], row["budget_train_rows"]) == (2000, 1800)
    costs = made.cells("lora", "movie_sentiment, minilm: rates")
    assert list(costs.values())[4:] == ["30.0", "81.0", "2.70 ×"]
    assert made.note("training 60 s with one rate, 162 s with the budget (2.7 ×)", "80 s with one rate, 188 s")
    assert made.note("fewer rows", "1,800 instead of 2,000 (movie_sentiment)")


def test_the_majority_class_stands_below_both_scores(builder: Builder) -> None:
    made = study(builder)
    cells = made.cells("majority class")
    assert (cells["Score, one rate"], cells["Score, budget"]) == ("0.550", "0.550")
    run(builder, "boolq", 0, 0.55, with_rates(Lora(), [1e-3]), method="lora", degenerate=True)
    run(builder, "boolq", 0, 0.70, with_rates(Lora(), BUDGET), method="lora_tuned")
    boolq = Made(builder, "protocols")
    assert "0.550 (n=1) †‡" in boolq.section("boolq") and boolq.note(
        "‡ by mean accuracy", "boolq (0.550): minilm `lora`"
    )


@pytest.mark.parametrize(
    "other",
    [
        Lora(rank=16),
        Lora(recipe="as_published"),
        Lora(kind="dora"),
        Lora(targets="all-linear"),
        Lora(epochs=4),
        Lora(max_train_rows=100),
        Lora(batch_size=16),
    ],
)
def test_another_option_is_another_method(builder: Builder, other: Lora) -> None:
    run(builder, "boolq", 0, 0.7, with_rates(Lora(), [1e-3]), method="lora")
    run(builder, "boolq", 0, 0.7, with_rates(other, BUDGET), method="other")
    assert not pairs(runs_of(builder))
    made = Made(builder, "protocols")
    assert made.frame.empty and "nothing to compare" in made.text


def test_the_pair_must_meet_on_one_task_and_prompts_have_no_rate(builder: Builder) -> None:
    run(builder, "boolq", 0, 0.7, with_rates(Lora(), [1e-3]), method="lora")
    run(builder, "policy_qa", 0, 0.7, with_rates(Lora(), BUDGET), method="lora_tuned")
    for shots in (0, 4):
        builder.adapter("minilm", "boolq", 0, 0.6, InContext(shots=shots), method=f"shots{shots}", hub=MINILM)
    assert not pairs(runs_of(builder))


def test_of_several_one_rate_methods_the_shared_rate_is_taken(builder: Builder) -> None:
    run(builder, "boolq", 0, 0.9, with_rates(Lora(), [1e-2]), method="lora_fast")
    study(builder, "boolq")
    made = Made(builder, "protocols")
    assert "lora_fast" not in set(made.frame["one_method"]) and made.note("Left out: `lora_fast`.")
    assert made.note("One rate: 0.0003 for every method")


def test_seeds_are_paired_and_failed_runs_keep_their_row(builder: Builder) -> None:
    one, many = with_rates(Lora(), [1e-3]), with_rates(Lora(), BUDGET)
    for seed, score in ((0, 0.7), (1, 0.8)):
        run(builder, "boolq", seed, score, one, method="lora")
    run(builder, "boolq", 1, 0.9, many, method="lora_tuned")
    run(builder, "policy_qa", 0, 0.7, one, method="lora")
    run(builder, "policy_qa", 0, 0.0, many, method="lora_tuned", status="failed")
    made = Made(builder, "protocols")
    assert made.row(task="boolq")["difference"] == pytest.approx(0.1)
    assert "| +0.100 (n=1) |" in made.section("boolq")
    failed = made.row(task="policy_qa")
    assert failed["budget_n"] == 0 and pd.isna(failed["difference"])
    assert (
        "| – (n=0) | – |" in made.section("policy_qa")
        and "| minilm on policy_qa | lora_tuned | 0 | failed |" in made.text
    )


def test_the_table_of_adapters_points_here(builder: Builder) -> None:
    study(builder, names=("lora",))
    made = Made(builder, "adapters")
    assert made.note("in the table `protocols`") and len(made.frame) == 2, "they are all there is"
    builder.adapter("minilm", "movie_sentiment", 0, 0.7, Lora(rank=4), method="another", hub=MINILM)
    assert list(Made(builder, "adapters").frame["method"]) == ["another"], "they have a table of their own"
