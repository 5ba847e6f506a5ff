"""How much of the work is done, and how long the rest takes: weighed by expected seconds, not by number of jobs.

A job is expected to take what its likes took: of the finished jobs of its rule (in this run, or in an earlier one
whose `benchmark` file is there) those that share most wildcards with it. Until one has finished, a guess from its
spec serves (`guess`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from electralab.console.guess import UNKNOWN


@dataclass
class Job:
    """One job of a run, and what is known of its time."""

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    guess: float = UNKNOWN
    threads: int = 1
    gpu: int = 0
    started: float | None = None
    seconds: float | None = None
    """What it took, once it is done."""
    left: float | None = None
    """What it says itself, while it runs."""

    def likeness(self, other: Job) -> int:
        """How many wildcards two jobs of one rule share."""
        return sum(other.wildcards.get(name) == value for name, value in self.wildcards.items())


class Work:
    """The jobs of a run, by their numbers.

    Args:
        jobs: what will run.
        known: jobs of earlier runs, with their seconds.
    """

    def __init__(self, jobs: Mapping[int, Job], known: Iterable[Job] = ()) -> None:
        self.jobs: dict[int, Job] = dict(jobs)
        self._done = [job for job in known if job.seconds is not None]
        self.cores, self.gpus = 1, 0

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> Work:
        """Work of which only the number of jobs of each rule is known yet; they get their numbers when they start."""
        jobs = [Job(rule) for rule, count in counts.items() for _ in range(count)]
        return cls({-1 - index: job for index, job in enumerate(jobs)})

    def start(self, number: int, rule: str, wildcards: Mapping[str, str]) -> Job:
        """A job starts, or starts again."""
        if number not in self.jobs:
            nameless = next((n for n, job in self.jobs.items() if n < 0 and job.rule == rule), None)
            self.jobs[number] = Job(rule) if nameless is None else self.jobs.pop(nameless)
            self.jobs[number].wildcards = wildcards
        job = self.jobs[number]
        job.started, job.seconds, job.left = time.monotonic(), None, None
        return job

    def finish(self, number: int) -> float | None:
        """A job is done; returns its seconds, None if it was never seen to start."""
        job = self.jobs.get(number)
        if job is None or job.started is None:
            return None
        job.seconds, job.left = time.monotonic() - job.started, None
        self._done.append(job)
        return job.seconds

    def fail(self, number: int) -> None:
        """A job has failed: it takes no more time."""
        self.jobs.pop(number, None)

    @property
    def finished(self) -> int:
        """Number of jobs that are done."""
        return sum(job.seconds is not None for job in self.jobs.values())

    def expected(self, job: Job) -> float:
        """Seconds that a job takes from its start to its end."""
        if job.seconds is not None:
            return job.seconds
        of_rule = [(job.likeness(other), other) for other in self._done if other.rule == job.rule]
        nearest = max((likeness for likeness, _ in of_rule), default=0)
        # Of two jobs that are alike in nothing else, the one with twice the work takes twice the time.
        ratios = [other.seconds / other.guess for likeness, other in of_rule if likeness == nearest and other.seconds]
        seconds = job.guess * (math.fsum(ratios) / len(ratios) if ratios else 1.0)
        if job.started is None:
            return seconds
        so_far = time.monotonic() - job.started
        return so_far + (job.left if job.left is not None else max(0.05 * so_far, seconds - so_far))

    def remaining(self, job: Job) -> float:
        """Seconds that a job still takes."""
        if job.seconds is not None:
            return 0.0
        so_far = 0.0 if job.started is None else time.monotonic() - job.started
        return max(0.0, self.expected(job) - so_far)

    @property
    def share(self) -> float:
        """The share of the work that is done, from 0 to 1."""
        total = math.fsum(self.expected(job) * job.threads for job in self.jobs.values())
        left = math.fsum(self.remaining(job) * job.threads for job in self.jobs.values())
        return 1.0 - left / total if total else 1.0

    @property
    def seconds_left(self) -> float:
        """Time until all is done: as long as the cores, the GPUs and the longest job need, whichever is slowest."""
        left = [(self.remaining(job), job) for job in self.jobs.values()]
        cores = math.fsum(seconds * min(job.threads, self.cores) for seconds, job in left) / max(1, self.cores)
        gpus = math.fsum(seconds * job.gpu for seconds, job in left) / self.gpus if self.gpus else 0.0
        return max(cores, gpus, max((seconds for seconds, _ in left), default=0.0))
