"""Share of work and time left against hand-made cases and a simulated run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electralab.console import work as module
from electralab.console.work import Job, Work

SEEDS = [{"model": model, "seed": seed} for model in ("small", "large") for seed in ("0", "1", "2")]


class Clock:
    """Stands in for the `time` module."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def run(work: Work, clock: Clock, number: int, seconds: float) -> None:
    job = work.jobs[number]
    work.start(number, job.rule, job.wildcards)
    clock.now += seconds
    work.finish(number)


def test_a_job_is_expected_to_take_what_its_nearest_likes_took(clock: Clock) -> None:
    work = Work({number: Job("train", wildcards, 10.0) for number, wildcards in enumerate(SEEDS)})
    run(work, clock, 0, 40.0)  # small, seed 0
    assert work.expected(work.jobs[1]) == 40.0
    assert work.expected(work.jobs[4]) == 40.0  # large: no other like yet
    run(work, clock, 3, 100.0)  # large, seed 0
    assert work.expected(work.jobs[1]) == 40.0  # small, seed 1: shares the model
    assert work.expected(work.jobs[4]) == 100.0
    run(work, clock, 1, 60.0)  # small, seed 1
    assert work.expected(work.jobs[2]) == 50.0


def test_twice_the_guess_is_twice_the_time_and_other_rules_do_not_matter(clock: Clock) -> None:
    work = Work({0: Job("train", guess=10.0), 1: Job("train", guess=20.0), 2: Job("draw", guess=3.0)})
    run(work, clock, 0, 5.0)
    assert work.expected(work.jobs[1]) == 10.0
    assert work.expected(work.jobs[2]) == 3.0


def test_an_earlier_run_is_known(clock: Clock) -> None:
    earlier = Job("train", {"model": "small", "seed": "0"}, 10.0, seconds=70.0)
    work = Work({0: Job("train", {"model": "small", "seed": "1"}, 10.0)}, [earlier, Job("train", {}, 10.0)])
    assert (work.share, work.seconds_left, work.finished) == (0.0, 70.0, 0)


def test_work_is_weighed_by_seconds_not_by_jobs(clock: Clock) -> None:
    work = Work({0: Job("train", guess=900.0), **{number: Job("draw", guess=10.0) for number in range(1, 11)}})
    for number in range(1, 11):
        run(work, clock, number, 10.0)
    assert work.finished == 10
    assert work.share == pytest.approx(0.1)
    work.start(0, "train", {})
    clock.now += 450.0
    assert work.share == pytest.approx(0.55)
    work.jobs[0].left = 50.0  # its log says so
    assert work.seconds_left == pytest.approx(50.0)
    clock.now += 5000.0
    work.jobs[0].left = None
    assert 0.9 < work.share < 1.0  # much longer than expected: never done before it is
    work.finish(0)
    assert (work.share, work.seconds_left) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("cores", "gpus", "expected"),
    [(1, 0, 400.0), (2, 0, 200.0), (4, 0, 100.0), (16, 0, 100.0), (16, 1, 400.0), (16, 2, 200.0)],
)
def test_time_left_is_that_of_the_scarcest(clock: Clock, cores: int, gpus: int, expected: float) -> None:
    work = Work({number: Job("train", guess=100.0, gpu=1) for number in range(4)})
    work.cores, work.gpus = cores, gpus
    assert work.seconds_left == expected


def test_counts_alone_are_enough_and_a_failed_job_takes_no_more_time(clock: Clock) -> None:
    work = Work.of_counts({"train": 2, "draw": 1})
    assert len(work.jobs) == 3
    work.start(7, "train", {"seed": "0"})
    clock.now += 30.0
    assert work.finish(7) == 30.0
    assert (len(work.jobs), work.finished) == (3, 1)
    work.start(9, "unheard", {})
    work.fail(9)
    work.fail(9)
    assert work.finish(12) is None
    assert len(work.jobs) == 3


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.floats(0.01, 1e5)), min_size=1, max_size=12),
    st.integers(1, 8),
)
def test_a_run_ends_at_all_of_its_work(jobs: list[tuple[str, int, float]], cores: int) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        work = Work({number: Job(rule, {"seed": str(seed)}) for number, (rule, seed, _) in enumerate(jobs)})
        work.cores = cores
        for number, (*_, seconds) in enumerate(jobs):
            assert 0.0 <= work.share < 1.0
            assert work.seconds_left > 0
            run(work, clock, number, seconds)
        assert work.share == 1.0
        assert work.seconds_left == 0.0
