"""From the start of a process to its first answer, and the memory that it took until then."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from electralab.benchmark.process import Process
from electralab.benchmark.workloads import Texts
from electralab.errors import RunFailed


class Arm(NamedTuple):
    """What is started."""

    name: str
    manifest: Path
    backend: str


class FirstAnswers(NamedTuple):
    """Of one variant: wall seconds of every start, and the most memory of any."""

    seconds: list[float]
    peak_rss_bytes: int


def first_answers(
    arms: Sequence[Arm], texts: Texts, starts: int, threads: int, device: str, seed: int
) -> dict[str, FirstAnswers | RunFailed]:
    """Start every variant so many times, in an order drawn anew every round; one that fails is started no more."""
    generator = np.random.default_rng(seed)
    found: dict[str, FirstAnswers | RunFailed] = {}
    for _ in range(starts):
        for index in generator.permutation(len(arms)):
            arm, before = arms[index], found.get(arms[index].name, FirstAnswers([], 0))
            if isinstance(before, RunFailed):
                continue
            try:
                seconds, peak = _first_answer(arm, texts, threads, device)
                found[arm.name] = FirstAnswers([*before.seconds, seconds], max(before.peak_rss_bytes, peak))
            except RunFailed as error:
                found[arm.name] = error
    return found


def empty_process_bytes() -> int:
    """The most memory of a process of this interpreter that imports nothing."""
    run = [sys.executable, "-m", "electralab.benchmark.trackers.memory"]
    return int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


def _first_answer(arm: Arm, texts: Texts, threads: int, device: str) -> tuple[float, int]:
    started = time.perf_counter()
    process = Process(arm.name, threads)
    try:
        process.ask("open", manifest=str(arm.manifest), backend=arm.backend, threads=threads, device=device)
        process.ask("answer", texts=texts[:1], batch_size=1)
        return time.perf_counter() - started, int(process.ask("peak")["rss"])
    finally:
        process.close()
