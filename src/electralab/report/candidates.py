"""Every model of a task with what it scores and costs: the points of the Pareto front, and what `best` chooses from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from electralab.benchmark.ratios import Ratio
from electralab.names import NO_MODEL
from electralab.report.benchmarks import Timing, threads_text, timings
from electralab.report.model_bytes import model_bytes
from electralab.report.pareto import Place, Point, beaten_by, knee, places
from electralab.report.results import Results
from electralab.report.runs import Cell, Runs
from electralab.report.statistics.comparisons import Arm
from electralab.report.statistics.intervals import Summary, summarize


@dataclass(frozen=True)
class Candidate:
    """A model with a method on a task, by one backend; `timing` is None where no benchmark timed it."""

    task: str
    model: str
    method: str
    score: Summary
    bytes: float | None
    timing: Timing | None

    @property
    def arm(self) -> Arm:
        """As comparisons name it."""
        return Arm(self.model, self.method)

    @property
    def milliseconds(self) -> Ratio | None:
        """Of one answer to the workload that stands for latency (`single_stream`)."""
        if self.timing is None or self.timing.seconds is None:
            return None
        return Ratio(*(1e3 * value for value in self.timing.seconds))

    @property
    def memory(self) -> float | None:
        """The most bytes of its process in that workload."""
        return None if self.timing is None else self.timing.peak_rss_bytes

    @property
    def is_baseline(self) -> bool:
        """Whether it needs no model."""
        return self.model == NO_MODEL

    def name(self, runs: Runs, backend: bool = True) -> str:
        """For a reader: model and chain, and the backend where it was timed."""
        if self.is_baseline:
            return runs.baselines()[self.method]
        by = f"@{self.timing.backend}" if backend and self.timing else ""
        return f"{runs.title(self.model)} {self.method}{by}"


class Axis(NamedTuple):
    """A kind of cost: what it is called, its unit, and how much of it a candidate has."""

    name: str
    head: str
    unit: str
    cost: Callable[[Candidate], float | None]


AXES = (
    Axis("size", "files of weights", "MB", lambda one: one.bytes and one.bytes / 1e6),
    Axis("latency", "latency", "ms", lambda one: one.milliseconds and one.milliseconds.median),
    Axis("memory", "memory of the process", "MB", lambda one: one.memory and one.memory / 1e6),
)


@dataclass(frozen=True)
class Tradeoff:
    """The candidates of a task that have one kind of cost, the cheapest first; `where` it was measured, if it was."""

    task: str
    axis: Axis
    where: str
    candidates: Sequence[Candidate]
    places: Sequence[Place]
    beaten_by: Sequence[int | None]
    knee: int | None

    def task_title(self, runs: Runs) -> str:
        """The task, and that it is synthetic if it is."""
        return f"{self.task} (synthetic)" if runs.is_synthetic(self.task) else self.task

    def cost(self, candidate: Candidate) -> float:
        """What a candidate costs, in the unit of the axis."""
        return self.axis.cost(candidate) or 0.0


def candidates(results: Results) -> list[Candidate]:
    """Every arm with a finished run: once a backend where it was timed, else once.

    Raises:
        UserError: a file is missing or damaged.
    """
    runs = results.runs
    timed = single_streams(results)
    found = []
    arms = [(cell, model) for cell in runs.cells for model in runs.finetuned_models if runs.by_seed(cell, model)]
    for cell, model in arms:
        score, size = summarize(list(runs.by_seed(cell, model).values())), model_bytes(runs, cell, model)
        own: list[Timing | None] = [
            one for one in timed if (one.task, one.model, one.method) == (cell.task, model, cell.method)
        ]
        found += [Candidate(cell.task, model, cell.method, score, size, timing) for timing in own or [None]]
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for method in runs.baselines():
            value = runs.baseline_score(task, method)
            if value is not None:
                size = model_bytes(runs, Cell(task, method), NO_MODEL)
                found.append(Candidate(task, NO_MODEL, method, summarize([value]), size, None))
    return found


def single_streams(results: Results) -> list[Timing]:
    """What stands for latency and memory: of every task the smallest batch, of those the shortest rows, then the fewest
    threads; on each device."""
    if results.detail("benchmarks").empty:
        return []
    every = [one for one in timings(results) if one.scenario == "latency" and one.seconds]
    least: dict[tuple[str, str], tuple[int, int, int]] = {}
    for one in every:
        key = (one.task, one.where)
        least[key] = min(least.get(key, _load(one)), _load(one))
    return [one for one in every if _load(one) == least[one.task, one.where]]


def _load(timing: Timing) -> tuple[int, int, int]:
    return timing.batch_size or 0, timing.length or 0, timing.threads or 0


def workload_text(timing: Timing) -> str:
    """`1 row of 32 tokens, 1 thread, AMD EPYC`: what a latency is of."""
    rows = f"{timing.batch_size} row{'' if timing.batch_size == 1 else 's'}"
    return f"{rows} of {timing.length} tokens, {threads_text(timing.threads)}, {timing.where}"


def tradeoffs(results: Results) -> list[Tradeoff]:
    """Every task against every kind of cost that is known of two candidates or more; on each device that timed some.

    Of several backends of an arm that one stands for it which costs least.
    """
    found: dict[tuple[str, str, str], dict[Arm, Candidate]] = {}
    axes = {axis.name: axis for axis in AXES}
    every = candidates(results)
    for axis in AXES:
        for one in every:
            cost, where = axis.cost(one), "" if axis.name == "size" or one.timing is None else one.timing.where
            if cost:
                own = found.setdefault((one.task, axis.name, where), {})
                if one.arm not in own or cost < (axis.cost(own[one.arm]) or 0.0):
                    own[one.arm] = one
    ordered = sorted(found.items(), key=lambda item: [one.task for one in every].index(item[0][0]))
    return [
        _tradeoff(task, axes[name], where, list(own.values())) for (task, name, where), own in ordered if len(own) > 1
    ]


def _tradeoff(task: str, axis: Axis, where: str, own: Sequence[Candidate]) -> Tradeoff:
    own = sorted(own, key=lambda one: (axis.cost(one) or 0.0, -one.score.mean))
    points = [_point(one, axis.cost(one) or 0.0) for one in own]
    return Tradeoff(task, axis, where, own, places(points), beaten_by(points), knee(points))


def _point(one: Candidate, cost: float) -> Point:
    """A baseline has one run and nothing that scatters over seeds: its score is its interval."""
    low, high = (one.score.mean,) * 2 if one.is_baseline else (one.score.low, one.score.high)
    return Point(cost, one.score.mean, low, high)
