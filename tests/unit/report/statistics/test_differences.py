"""Half-widths against a two-way analysis of variance written out, verdicts, sentences and orders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from electralab.report.statistics.differences import (
    Difference,
    difference_over_seeds,
    difference_text,
    half_widths,
)
from electralab.report.statistics.orders import order


def answers(arms: int, seeds: int, rows: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    hard = generator.normal(size=(1, 1, rows))
    return (hard + generator.normal(size=(arms, seeds, rows)) > -0.6).astype(float)


def of(right: np.ndarray) -> np.ndarray:
    scores = right.mean(axis=2)
    return half_widths(scores, right - scores[..., None])


@pytest.mark.parametrize(("seeds", "rows"), [(2, 40), (3, 300), (5, 60)])
def test_half_widths_by_analysis_of_variance(seeds: int, rows: int) -> None:
    """Mean squares of the differences by seed, by row and of the rest, from sums over the table written out."""
    right = answers(4, seeds, rows)
    found = of(right)
    assert np.allclose(found, found.T) and (found.diagonal() == 0).all()
    for a in range(4):
        for b in range(a):
            d = right[a] - right[b]
            of_seeds, of_rows, mean = d.mean(axis=1), d.mean(axis=0), d.mean()
            seed_square = rows * sum((one - mean) ** 2 for one in of_seeds) / (seeds - 1)
            row_square = seeds * sum((one - mean) ** 2 for one in of_rows) / (rows - 1)
            rest = sum((d[s, i] - of_seeds[s] - of_rows[i] + mean) ** 2 for s in range(seeds) for i in range(rows))
            rest_square = rest / ((seeds - 1) * (rows - 1))
            number = seeds * rows
            shared = max(0.0, row_square - rest_square) / number
            expected = stats.t.ppf(0.975, seeds - 1) ** 2 * seed_square / number + stats.norm.ppf(0.975) ** 2 * shared
            least = stats.norm.ppf(0.975) * stats.sem(of_rows)
            assert found[a, b] == pytest.approx(max(np.sqrt(expected), least))


def test_without_scatter_over_seeds_it_is_the_paired_interval_over_rows() -> None:
    one = answers(2, 1, 400)
    right = np.repeat(one, 3, axis=1)
    d = one[0, 0] - one[1, 0]
    assert of(right)[0, 1] == pytest.approx(stats.norm.ppf(0.975) * stats.sem(d))


def test_where_arms_answer_alike_but_for_their_seeds_it_is_the_paired_t() -> None:
    """The rest explains the rows' scatter: nothing is added to Student's interval of the seeds."""
    right = answers(2, 4, 300, seed=3)
    right = np.array([np.roll(row, place) for place, row in enumerate(right.reshape(8, -1))]).reshape(2, 4, 300)
    scores = right.mean(axis=2)
    half = stats.t.ppf(0.975, 3) * stats.sem(scores[0] - scores[1])
    assert half <= of(right)[0, 1] < 1.15 * half


def test_seeds_that_agree_by_chance_do_not_make_a_difference_certain() -> None:
    """Both arms are right on other rows with every seed, and the difference is 5 of 100 rows with each."""
    right = np.zeros((2, 3, 100))
    for arm, count in enumerate((65, 60)):
        for seed in range(3):
            right[arm, seed, np.random.default_rng(3 * arm + seed).permutation(100)[:count]] = 1
    scores = right.mean(axis=2)
    assert (scores[0] - scores[1]).std() < 1e-12
    d = (right[0] - right[1]).mean(axis=0)
    assert of(right)[0, 1] == pytest.approx(stats.norm.ppf(0.975) * stats.sem(d)) and of(right)[0, 1] > 0.05


def test_fewer_than_two_seeds_or_rows_give_no_interval() -> None:
    assert np.isnan(of(answers(2, 1, 50))).all() and np.isnan(of(answers(2, 3, 1))).all()


def test_quantities_without_rows_have_the_paired_t_of_common_seeds() -> None:
    a, b = {0: 4.70, 1: 4.73, 2: 4.69, 7: 9.0}, {0: 4.66, 1: 4.70, 2: 4.68, 9: 1.0}
    found = difference_over_seeds(a, b)
    expected = stats.ttest_rel([a[s] for s in range(3)], [b[s] for s in range(3)]).confidence_interval(0.95)
    assert found is not None and (found.seeds, found.rows) == (3, None)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert difference_over_seeds({0: 1.0}, {1: 1.0}) is None


ONE = Difference(1, 800, 0.75, 0.5, None, None)
HIGHER = Difference(3, 1872, 0.75, 0.5, 0.125, 0.375)
UNCLEAR = Difference(3, None, 0.75, 0.5, -0.25, 0.75)


def test_verdicts() -> None:
    assert [d.verdict for d in (HIGHER, HIGHER.flipped(), UNCLEAR, ONE)] == ["higher", "lower", "unclear", "unknown"]
    assert HIGHER.flipped() == Difference(3, 1872, 0.5, 0.75, -0.375, -0.125)
    assert HIGHER.flipped().flipped() == HIGHER and ONE.flipped().mean == -0.25
    exact = Difference(3, 9, 0.5, 0.5, 0.0, 0.0)
    assert exact.verdict == "unclear"


def by_hand(known: dict[tuple[str, str], Difference | None]):  # type: ignore[no-untyped-def]
    return lambda a, b: known[a, b]


def test_orders_say_what_is_shown() -> None:
    lower, unknown = HIGHER.flipped(), None
    every = order("abc", by_hand({("a", "b"): lower, ("a", "c"): HIGHER, ("b", "c"): HIGHER}))
    assert every.sentence("loss") == "by loss, every two can be ordered: b > a > c"
    some = order("abc", by_hand({("a", "b"): UNCLEAR, ("a", "c"): HIGHER, ("b", "c"): ONE}))
    assert some == (("a", "b", "c"), (("a", "c"),), (("a", "b"),), (("b", "c"),))
    assert some.sentence("loss") == "by loss, 1 of 3 pairs can be ordered: a above c"
    none = order("ab", by_hand({("a", "b"): UNCLEAR}))
    assert none.sentence("loss") == "by loss, no two of a and b can be ordered: no paired difference is shown"
    alone = order("ab", by_hand({("a", "b"): unknown}))
    assert alone.sentence("loss") == "by loss, no two of a and b can be ordered: one common seed gives no interval"


@pytest.mark.parametrize("flipped", [False, True])
def test_no_difference_has_no_sign_of_its_own(flipped: bool) -> None:
    same = Difference(2, 100, 0.5, 0.5, 0.0, 0.0)
    same = same.flipped() if flipped else same
    assert difference_text(same) == "+0.000 [+0.000, +0.000]"
    assert difference_text(Difference(2, 100, 0.4999, 0.5, -0.0004, 0.0002)) == "+0.000 [+0.000, +0.000]"
    assert not np.signbit([same.mean, same.low, same.high]).any()
