"""Intervals and comparisons against scipy and against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from electralab.report.statistics import (
    Spread,
    indistinguishable,
    pooled_spread,
    score_difference,
    summarize,
    wilson_interval,
)

values = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


@given(values)
def test_interval_is_students(sample: list[float]) -> None:
    summary = summarize(sample)
    deviation = np.std(sample, ddof=1)
    assert summary.mean == pytest.approx(np.mean(sample), abs=1e-9)
    assert summary.median == pytest.approx(np.median(sample), abs=1e-9)
    if deviation > 1e-6:
        low, high = stats.t.interval(0.95, len(sample) - 1, loc=np.mean(sample), scale=stats.sem(sample))
        assert (summary.low, summary.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_interval_even_with_a_pooled_scatter() -> None:
    for spread in (None, Spread(0.1, 5)):
        summary = summarize([0.7], spread)
        assert (summary.n, summary.mean, summary.low, summary.high) == (1, 0.7, None, None)


@given(st.lists(values, min_size=2, max_size=5))
def test_pooled_scatter_is_the_residual_of_an_analysis_of_variance(groups: list[list[float]]) -> None:
    spread = pooled_spread(groups)
    residual = sum(((np.array(group) - np.mean(group)) ** 2).sum() for group in groups)
    assert spread is not None
    assert spread.freedom == sum(map(len, groups)) - len(groups)
    assert spread.deviation**2 * spread.freedom == pytest.approx(residual, abs=1e-9)


def test_pooled_scatter_gives_the_two_sample_t_test() -> None:
    a, b = [0.71, 0.74, 0.69], [0.60, 0.64, 0.65]
    spread = pooled_spread([a, b])
    assert spread is not None
    statistic = (np.mean(a) - np.mean(b)) / (spread.deviation * np.sqrt(2 / 3))
    assert statistic == pytest.approx(stats.ttest_ind(a, b, equal_var=True).statistic)


def test_no_pooled_scatter_from_single_seeds() -> None:
    assert pooled_spread([[0.5], [0.6]]) is None


@given(st.integers(1, 3000), st.data())
def test_wilson_interval(rows: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, rows))
    expected = stats.binomtest(correct, rows).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct / rows, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_difference_over_seeds_is_the_paired_t_interval_when_examples_are_many() -> None:
    a, b = {0: 0.70, 1: 0.73, 2: 0.69}, {0: 0.66, 1: 0.70, 2: 0.68}
    difference = score_difference(a, b, rows=10**12)
    expected = stats.ttest_rel(list(a.values()), list(b.values())).confidence_interval(0.95)
    assert difference is not None
    assert (difference.low, difference.high) == (pytest.approx(expected.low, 1e-4), pytest.approx(expected.high, 1e-4))


def test_difference_covers_the_sampling_of_examples() -> None:
    """Without seed scatter the interval is that of two proportions, whatever pairs of examples agree."""
    difference = score_difference({0: 0.7, 1: 0.7}, {0: 0.6, 1: 0.6}, rows=500)
    assert difference is not None and difference.low is not None
    half = stats.norm.ppf(0.975) * np.sqrt(0.7 * 0.3 / 500 + 0.6 * 0.4 / 500)
    assert difference.low == pytest.approx(0.1 - half)


def test_difference_uses_common_seeds_only() -> None:
    difference = score_difference({0: 0.7, 1: 0.8, 5: 0.1}, {0: 0.6, 1: 0.6, 7: 0.9}, rows=100)
    assert difference is not None
    assert (difference.n, difference.mean) == (2, pytest.approx(0.15))
    assert score_difference({0: 0.7}, {1: 0.7}, 100) is None


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ({0: 0.90, 1: 0.91}, {0: 0.50, 1: 0.51}, "higher"),
        ({0: 0.50, 1: 0.51}, {0: 0.90, 1: 0.91}, "lower"),
        ({0: 0.50, 1: 0.51}, {0: 0.50, 1: 0.52}, "unclear"),
        ({0: 0.90}, {0: 0.50}, "unknown"),
    ],
)
def test_verdict(a: dict[int, float], b: dict[int, float], verdict: str) -> None:
    difference = score_difference(a, b, rows=1000)
    assert difference is not None
    assert difference.verdict == verdict


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), min_size=1, max_size=7))
def test_indistinguishable_against_brute_force(starts: list[tuple[int, int]]) -> None:
    intervals = {f"size {i}": (float(low), float(low + length)) for i, (low, length) in enumerate(starts)}

    def overlap(a: str, b: str) -> bool:
        return intervals[a][0] <= intervals[b][1] and intervals[b][0] <= intervals[a][1]

    subsets = [
        set(group)
        for size in range(2, len(intervals) + 1)
        for group in itertools.combinations(intervals, size)
        if all(overlap(a, b) for a, b in itertools.combinations(group, 2))
    ]
    largest = [group for group in subsets if not any(group < other for other in subsets)]
    found = indistinguishable(intervals)
    assert sorted(map(sorted, found)) == sorted(map(sorted, largest))
