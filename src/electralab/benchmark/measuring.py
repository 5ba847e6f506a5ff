"""Variants opened, checked and compared: what a benchmark finds, workload by workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from electralab.artifacts import read_manifest
from electralab.benchmark.cold_start import Arm, FirstAnswers, first_answers
from electralab.benchmark.gate import ROWS, check_answers
from electralab.benchmark.interleave import Limits, Run, Turn, Turns, interleave
from electralab.benchmark.process import Process
from electralab.benchmark.ratios import with_interval
from electralab.benchmark.record import Cell, VariantRecord
from electralab.benchmark.trackers.energy import EnergyCounter, energy_counter
from electralab.benchmark.workloads import Workload, as_texts
from electralab.config import Benchmark
from electralab.data.example import Example
from electralab.data.tasks import TaskData
from electralab.errors import RunFailed, Unsuitable
from electralab.names import chain_name

PERCENTILES = (50, 90, 95, 99)
GATE_BATCH = 32
ORDERS = 0  # seed of the orders of turns


class Subject(NamedTuple):
    """What is timed: manifests of artifacts by the name of their chain, and the task whose rows are read."""

    artifacts: Mapping[str, Path]
    task: TaskData | None


class Measuring:
    """What was found so far; nothing that fails takes it away.

    Args:
        settings: of the benchmark.
        subject: what is timed.
        device: where.
    """

    def __init__(self, settings: Benchmark, subject: Subject, device: str) -> None:
        self.subject, self.device = subject, device
        self.limits = Limits(settings.rounds, settings.most_rounds, settings.narrow, 60 * settings.minutes)
        self.energy: EnergyCounter | None = energy_counter(device)
        self.cells: list[Cell] = []
        self.variants: dict[str, VariantRecord] = {}
        for variant in settings.variants:
            chain = chain_name(variant.chain)
            stored = sum(path.stat().st_size for path in subject.artifacts[chain].parent.iterdir() if path.is_file())
            for backend in variant.backends:
                name = f"{chain}@{backend}"
                self.variants[name] = VariantRecord(name=name, chain=chain, backend=backend, bytes_on_disk=stored)

    def open_all(self, threads: int, stack: ExitStack) -> dict[str, Process]:
        """A process for every variant that can be opened and answers as it should; `stack` ends them."""
        opened = {}
        for name, variant in self.variants.items():
            if variant.status != "ok":
                continue
            process = Process(name, threads)
            stack.callback(process.close)
            try:
                self._open(variant, process, threads)
                opened[name] = process
            except Unsuitable as error:
                variant.status, variant.reason = "skipped", str(error)
            except RunFailed as error:
                variant.status, variant.reason = "failed", str(error)
        return opened

    def compare(self, workload: Workload, opened: dict[str, Process], threads: int) -> None:
        """Let them take turns; one that fails is a row with its reason, and the others begin anew."""
        cells: dict[str, Cell] = {}
        for name, process in opened.items():
            cells[name] = cell = _cell(workload, name, threads)
            try:
                self._prepare(workload, process, cell)
            except RunFailed as error:
                cell.status, cell.reason = "failed", str(error)
        while ready := [name for name, cell in cells.items() if cell.status == "ok"]:
            joules: dict[str, list[float]] = {name: [] for name in ready}
            try:
                turns = interleave(ready, self._turn(workload, opened, joules), self.limits, ORDERS)
            except _Lost as error:
                cells[error.name].status, cells[error.name].reason = "failed", str(error)
                continue
            self._fill(cells, turns, joules)
            break
        self.cells += cells.values()

    def start_cold(self, starts: int, threads: int, rows: Sequence[Example]) -> None:
        """Time first answers of the variants that were opened."""
        arms = [
            Arm(name, self.subject.artifacts[variant.chain], variant.backend)
            for name, variant in self.variants.items()
            if variant.status == "ok"
        ]
        texts = as_texts(rows[:1]) or [["a", None]]
        for name, found in first_answers(arms, texts, starts, threads, self.device, ORDERS).items():
            cell = Cell(scenario="cold_start", workload="first answer", threads=threads, batch_size=1, variant=name)
            if isinstance(found, FirstAnswers):
                cell.wall, cell.peak_rss_bytes, cell.rows = found.seconds, found.peak_rss_bytes, 1
            else:
                cell.status, cell.reason = "failed", str(found)
            self.cells.append(cell)

    def _open(self, variant: VariantRecord, process: Process, threads: int) -> None:
        manifest = self.subject.artifacts[variant.chain]
        told = process.ask("open", manifest=str(manifest), backend=variant.backend, threads=threads, device=self.device)
        variant.kernel, variant.opening_seconds = told["kernel"], told["seconds"]
        if self.subject.task is None or variant.gate is not None:
            return
        rows = self.subject.task.validation[:ROWS]
        logits = np.array(process.ask("answer", texts=as_texts(rows), batch_size=GATE_BATCH)["logits"])
        variant.gate, variant.gate_rows = check_answers(manifest, rows, read_manifest(manifest), logits), len(rows)

    def _prepare(self, workload: Workload, process: Process, cell: Cell) -> None:
        told = process.ask(workload.do, name=workload.name, **workload.told)
        cell.tokens, cell.padded_tokens = told["tokens"], told["padded_tokens"]
        forgotten = process.ask("forget_peak")["forgotten"]
        process.ask("run", name=workload.name, times=1)
        peak = process.ask("peak")
        cell.peak_gpu_bytes = peak.get("gpu")
        if forgotten:  # else it may be the peak of an earlier workload
            cell.peak_rss_bytes = peak["rss"]

    def _turn(self, workload: Workload, opened: dict[str, Process], joules: dict[str, list[float]]) -> Run:
        def run(name: str, times: int) -> tuple[list[float], list[float]]:
            before = None if self.energy is None else self.energy.joules()
            try:
                told = opened[name].ask("run", name=workload.name, times=times)
            except RunFailed as error:
                raise _Lost(name, str(error)) from error
            if self.energy is not None and before is not None:
                joules[name].append((self.energy.joules() - before) / times)
            return told["wall"], told["cpu"]

        return run

    def _fill(self, cells: dict[str, Cell], turns: Turns, joules: dict[str, list[float]]) -> None:
        for name, own in turns.items():
            cell = cells[name]
            cell.wall = [float(np.median(turn.wall)) for turn in own]
            cell.cpu = [float(np.median(turn.cpu)) for turn in own]
            cell.percentiles = _percentiles(own)
            if joules[name]:
                cell.joules = float(np.median(joules[name]))


class _Lost(RunFailed):
    """A variant that failed in the middle of a comparison."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


def _cell(workload: Workload, variant: str, threads: int) -> Cell:
    return Cell(
        scenario=workload.scenario,
        workload=workload.name,
        threads=threads,
        batch_size=workload.batch_size,
        length=workload.length,
        arrangement=workload.arrangement,
        variant=variant,
        rows=workload.rows,
    )


def _percentiles(turns: Sequence[Turn]) -> dict[str, tuple[float, float, float]]:
    seconds = np.concatenate([turn.wall for turn in turns])
    found = {f"p{percent}": with_interval(seconds, percent / 100) for percent in PERCENTILES}
    return {name: (value.median, value.low, value.high) for name, value in found.items()}
