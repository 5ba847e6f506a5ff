"""Coverage of the interval of a difference, beside narrower formulas that do not hold (docs/methods.md, Statistics)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from simulated_arms import Floats, Setting, simulate

from electralab.report.statistics.differences import difference_over_seeds, half_widths

REPEATS = 400
SETTINGS = [Setting(*known) for known in product((3, 5), (300, 800), (0.60, 0.94), (0.0, 0.01, 0.03))]
LEAST = 0.93


def chosen(right: Floats) -> Floats:
    """Half-widths of ours for [repeats, 2, seeds, rows]."""
    scores = right.mean(axis=3)
    influences = right - scores[..., None]
    return np.array([half_widths(*arms)[0, 1] for arms in zip(scores, influences)])


def others(right: Floats) -> dict[str, Floats]:
    """Formulas that were considered: by rows alone, by seeds alone, sums of variances, and the sum of both squares."""
    d = right[:, 0] - right[:, 1]
    seeds, rows = d.shape[1:]
    by_seed, by_row = d.mean(axis=2), d.mean(axis=1)
    rest = d - by_seed[..., None] - by_row[:, None] + d.mean(axis=(1, 2))[:, None, None]
    s, r = by_seed.var(axis=1, ddof=1) / seeds, by_row.var(axis=1, ddof=1) / rows
    e = (rest**2).sum(axis=(1, 2)) / ((seeds - 1) * (rows - 1) * seeds * rows)
    t, z = stats.t.ppf(0.975, seeds - 1), stats.norm.ppf(0.975)

    def satterthwaite(variance: Floats, freedom: Floats) -> Floats:
        return np.asarray(stats.t.ppf(0.975, variance**2 / freedom) * np.sqrt(variance))

    freedom = s**2 / (seeds - 1) + r**2 / (rows - 1)
    without_rest = np.maximum(s + r - e, np.maximum(s, r))
    return {
        "rows": z * np.sqrt(r),
        "seeds": t * np.sqrt(s),
        "larger of both": np.maximum(t * np.sqrt(s), z * np.sqrt(r)),
        "variances": satterthwaite(s + r, freedom),
        "variances less rest": satterthwaite(without_rest, freedom + e**2 / ((seeds - 1) * (rows - 1))),
        "all squares": np.hypot(t * np.sqrt(s), z * np.sqrt(r)),
    }


@pytest.fixture(scope="module")
def coverage() -> tuple[dict[str, list[float]], dict[str, float]]:
    """Share of intervals that hold the true difference, 0, by setting; mean half-width over all settings."""
    held: dict[str, list[float]] = {}
    widths: dict[str, list[float]] = {}
    for number, setting in enumerate(SETTINGS):
        right = simulate(np.random.default_rng(number), setting, REPEATS)
        gain = np.abs((right[:, 0] - right[:, 1]).mean(axis=(1, 2)))
        for name, half in ({"chosen": chosen(right)} | others(right)).items():
            held.setdefault(name, []).append(float((gain <= half).mean()))
            widths.setdefault(name, []).append(float(half.mean()))
    return held, {name: float(np.mean(values)) for name, values in widths.items()}


def test_two_seeds_agree_as_often_as_the_settings_say() -> None:
    for agreement in (0.60, 0.94):
        right = simulate(np.random.default_rng(0), Setting(2, 1000, agreement, 0.0), 20)
        assert (right[:, :, 0] == right[:, :, 1]).mean() == pytest.approx(agreement, abs=0.01)
        assert right.mean() == pytest.approx(0.7, abs=0.01)


def test_no_difference_is_covered_in_every_setting(coverage: tuple[dict[str, list[float]], dict[str, float]]) -> None:
    held, _ = coverage
    noise = 2 * np.sqrt(LEAST * (1 - LEAST) / REPEATS)
    assert min(held["chosen"]) >= LEAST - noise
    assert np.mean(held["chosen"]) >= 0.95


def test_narrower_formulas_fail_somewhere(coverage: tuple[dict[str, list[float]], dict[str, float]]) -> None:
    held, widths = coverage
    for name in ("rows", "seeds", "larger of both", "variances", "variances less rest"):
        assert min(held[name]) < LEAST, name
    assert widths["all squares"] > widths["chosen"]
    assert min(held["rows"]) < 0.6 and min(held["seeds"]) < 0.7


@pytest.mark.parametrize("odd", [1.0, 3.0, 10.0])
def test_a_restless_size_of_a_sweep_does_not_spoil_the_others(odd: float) -> None:
    """Five sizes, three seeds that scatter together, and one size whose own scatter is `odd` times the others'."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2000, 1, 3)) + generator.normal(size=(2000, 5, 3)) * [[odd], *[[1.0]] * 4]
    for b in (1, 2):
        held = []
        for of_a, of_b in zip(values[:, 0 if b == 1 else 3], values[:, b]):
            found = difference_over_seeds(dict(enumerate(of_a)), dict(enumerate(of_b)))
            assert found is not None and found.low is not None and found.high is not None
            held.append(found.low <= 0 <= found.high)
        assert np.mean(held) == pytest.approx(0.95, abs=0.015)
