"""Turns and ratios: against machines made up here, whose true ratio is known."""

from __future__ import annotations

import numpy as np
import pytest

from electralab.benchmark import interleave as turns
from electralab.benchmark.interleave import Limits, interleave, round_seconds
from electralab.benchmark.ratios import ratio, with_interval


class Machine:
    """Variants with a true speed on a machine that drifts, has neighbours, and slows who follows a certain other."""

    def __init__(self, seconds: dict[str, float], seed: int, spinning: str | None = None) -> None:
        self.seconds, self.spinning = seconds, spinning
        self.random = np.random.default_rng(seed)
        self.now, self.last = 0.0, ""

    def __call__(self, name: str, times: int) -> tuple[list[float], list[float]]:
        found = []
        for _ in range(times):
            drift = 1 + 0.3 * np.sin(self.now / 7)
            neighbour = 1 + (self.random.random() < 0.1) * self.random.exponential(0.5)
            behind = 1.1 if self.last == self.spinning else 1.0
            took = self.seconds[name] * drift * neighbour * behind * self.random.lognormal(0, 0.02)
            self.now += took
            found.append(took)
        self.last = name
        return found, found


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PAUSE", 0.0)


def test_the_interval_of_a_model_beside_itself_contains_one() -> None:
    inside, medians = 0, []
    for seed in range(100):
        machine = Machine({"a": 0.03, "b": 0.03}, seed)
        found = interleave(["a", "b"], machine, Limits(21, 21, 0.02, 60), seed)
        one = ratio(round_seconds(found["a"]), round_seconds(found["b"]))
        inside += one.low <= 1 <= one.high
        medians.append(one.median)
    assert inside >= 90
    assert abs(np.median(medians) - 1) <= 0.01


def test_an_order_drawn_anew_takes_away_what_a_fixed_one_adds() -> None:
    names = ["slow", "a", "b"]  # in this order `a` would always follow the one that leaves threads spinning
    machine = Machine(dict.fromkeys(names, 0.03), 0, spinning="slow")
    found = interleave(names, machine, Limits(61, 61, 0.001, 60), 0)
    followed = [turn.place for turn in found["a"]]
    assert set(followed) == {0, 1, 2}
    one = ratio(round_seconds(found["b"]), round_seconds(found["a"]))
    assert one.low <= 1 <= one.high


def test_a_true_ratio_is_found_whatever_drifts() -> None:
    machine = Machine({"a": 0.09, "b": 0.03}, 1)
    found = interleave(["a", "b"], machine, Limits(21, 61, 0.02, 60), 1)
    three = ratio(round_seconds(found["a"]), round_seconds(found["b"]))
    assert three.low <= 3 <= three.high
    assert three.half_width < 0.1


def test_rounds_end_when_intervals_are_narrow_or_time_is_up() -> None:
    calm = Machine({"a": 0.03, "b": 0.03}, 0)
    calm.random = np.random.default_rng(0)
    assert len(interleave(["a", "b"], calm, Limits(5, 50, 10.0, 60), 0)["a"]) == 5
    assert len(interleave(["a", "b"], calm, Limits(5, 12, 1e-9, 60), 0)["a"]) == 12
    out_of_time = interleave(["a", "b"], calm, Limits(5, 50, 1e-9, 1), 0, clock=lambda: 100 * calm.now)
    assert len(out_of_time["a"]) == 5  # never fewer


def test_short_workloads_are_repeated_within_a_turn() -> None:
    machine = Machine({"short": 0.0005, "long": 0.5}, 0)
    found = interleave(["short", "long"], machine, Limits(3, 3, 1.0, 60), 0)
    assert len(found["short"][0].wall) > 20
    assert len(found["long"][0].wall) == 1


def test_the_interval_of_a_median_covers_it() -> None:
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        found = with_interval(random.lognormal(0, 0.5, 25))
        covered += found.low <= 1 <= found.high
    assert covered >= 180
