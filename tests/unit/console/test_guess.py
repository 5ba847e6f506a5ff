"""Guesses of the time that jobs take against the seconds that they took on two cores of a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from electralab.config import read_experiment
from electralab.console.guess import START, UNKNOWN, guessed_seconds
from electralab.console.work import Job, Work
from electralab.plan import Plan

ROOT = Path(__file__).resolve().parents[3]
# Wall seconds of jobs (`benchmark:` files) of the default experiment and of the preset smoke, two at a time on two idle
# hardware threads (EPYC 7003, one thread a job); runs of several seeds: one of them.
PRETRAINED = {
    ("quick", "tiny-g25"): 145.8,
    ("quick", "tiny-g50"): 149.4,
    ("smoke", "smoke-g25"): 5.4,
    ("smoke", "smoke-g100"): 5.5,
}
RAN = {
    ("quick", "minilm", "movie_sentiment", "sentiment_full"): 80.7,
    ("quick", "minilm", "movie_sentiment", "sentiment_full+int8"): 32.7,
    ("quick", "minilm", "movie_sentiment", "sentiment_lora"): 87.3,
    ("quick", "minilm", "movie_sentiment", "sentiment_lora+merge"): 34.8,
    ("quick", "minilm", "movie_sentiment", "sentiment_lora+merge+half"): 29.3,
    ("quick", "no_model", "movie_sentiment", "tfidf"): 6.2,
    ("quick", "tiny-g25", "word_order", "quick_order"): 25.0,
    ("quick", "tiny-g25", "movie_sentiment", "quick_full"): 10.4,
    ("smoke", "smoke-g25", "movie_sentiment", "smoke_full"): 4.0,
    ("smoke", "smoke-g25", "movie_sentiment", "smoke_lora"): 13.0,
    ("smoke", "smoke-g25", "movie_sentiment", "smoke_qlora"): 12.3,
    ("smoke", "smoke-g25", "movie_sentiment", "smoke_lora+smoke_merge"): 12.5,
    ("smoke", "smoke-g25", "movie_sentiment", "smoke_full+smoke_half"): 9.9,
    ("smoke", "smoke_random", "smoke_word_order", "smoke_full"): 3.7,
    ("smoke", "no_model", "movie_sentiment", "smoke_tfidf"): 6.6,
}
SEARCHED = {("smoke", "smoke_search"): 17.3}
# What README and presets say that the whole takes on two cores, in minutes.
WHOLE = {"quick": 27, "smoke": 3, "minilm_glue": 60, "adapters_cpu": 80}


@cache
def plan(name: str) -> Plan:
    presets = [] if name == "quick" else [ROOT / "workflow" / "presets" / f"{name}.yaml"]
    return Plan(read_experiment([ROOT / "config.yaml", *presets]))


def specs(of: Plan) -> Iterator[str | None]:
    """What every job of an experiment is told."""
    experiment = of.experiment
    yield from (of.pretrain_spec(*run) for run in of.pretraining_runs)
    yield from (of.run_spec(*run) for run in [*of.finetuning_runs, *of.baseline_runs])
    yield from (of.search_spec(name) for name in experiment.run.searches)
    yield from (of.task_spec(task) for task in {task for _, task, *_ in of.finetuning_runs})
    yield from [None] * (len(of.tables) + len(of.figures))


def near(guess: float, measured: float, factor: float = 1.5) -> bool:
    return measured / factor <= guess <= measured * factor


@pytest.mark.parametrize("job", RAN, ids=" ".join)
def test_a_run_is_guessed_within_a_half(job: tuple[str, str, str, str]) -> None:
    name, model, task, chain = job
    assert near(guessed_seconds(plan(name), plan(name).run_spec(model, task, chain, 0)), RAN[job])


@pytest.mark.parametrize("job", PRETRAINED, ids=" ".join)
def test_a_pretraining_is_guessed_within_a_half(job: tuple[str, str]) -> None:
    name, model = job
    assert near(guessed_seconds(plan(name), plan(name).pretrain_spec(model, 0)), PRETRAINED[job])


@pytest.mark.parametrize("job", SEARCHED, ids=" ".join)
def test_a_search_is_guessed_within_a_half(job: tuple[str, str]) -> None:
    name, search = job
    assert near(guessed_seconds(plan(name), plan(name).search_spec(search)), SEARCHED[job])


@pytest.mark.parametrize("name", WHOLE)
def test_the_first_estimate_of_a_whole_experiment(name: str) -> None:
    jobs = {number: Job("job", {}, guessed_seconds(plan(name), spec)) for number, spec in enumerate(specs(plan(name)))}
    work = Work(jobs)
    work.cores = 2
    assert near(work.seconds_left / 60, WHOLE[name])


def test_twice_the_steps_are_twice_the_time_and_a_gpu_is_faster() -> None:
    spec = json.loads(plan("quick").pretrain_spec("tiny-g100", 0))
    once = guessed_seconds(plan("quick"), json.dumps(spec))
    assert guessed_seconds(plan("quick"), json.dumps(spec), gpu=1) < once / 3
    spec["settings"]["steps"] *= 2
    assert guessed_seconds(plan("quick"), json.dumps(spec)) - START["full"] == pytest.approx(2 * (once - START["full"]))


def test_a_job_that_is_told_nothing_of_training() -> None:
    assert guessed_seconds(plan("quick"), None) == guessed_seconds(plan("quick"), '{"source":"package"}') == UNKNOWN
