"""Intervals against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from electralab.report.statistics.intervals import summarize, wilson_interval


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_interval_is_students(sample: list[float]) -> None:
    summary = summarize(sample)
    deviation = np.std(sample, ddof=1)
    assert summary.mean == pytest.approx(np.mean(sample), abs=1e-9)
    assert summary.median == pytest.approx(np.median(sample), abs=1e-9)
    if deviation > 1e-6:
        low, high = stats.t.interval(0.95, len(sample) - 1, loc=np.mean(sample), scale=stats.sem(sample))
        assert (summary.low, summary.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_interval() -> None:
    summary = summarize([0.7])
    assert (summary.n, summary.mean, summary.low, summary.high) == (1, 0.7, None, None)


@given(st.integers(1, 3000), st.data())
def test_wilson_interval(rows: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, rows))
    expected = stats.binomtest(correct, rows).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct / rows, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)
