"""The process of one variant: it opens a model and takes its turn when it is told to.

Commands and answers are JSON, a line each, on the standard input and output that it was started with; what libraries
print goes to standard error. It imports nothing heavy before it is told which backend to open.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from electralab.benchmark.backends import open_backend
from electralab.benchmark.models import Batch, Model, fixed_batch, task_batches
from electralab.benchmark.trackers.memory import high_water
from electralab.deploy.texts import Text
from electralab.errors import Unsuitable, UserError

CLEAR = Path("/proc/self/clear_refs")
Told = dict[str, Any]


class Worker:
    """One model and the workloads that it was given."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._workloads: dict[str, list[Batch]] = {}
        self._cuda = False

    @property
    def model(self) -> Model:
        """The model, once it is open."""
        assert self._model is not None, "`open` comes first"
        return self._model

    def open(self, manifest: str, backend: Any, threads: int, device: str) -> Told:
        """Open an artifact."""
        started, self._cuda = time.perf_counter(), device.startswith("cuda")
        self._model = open_backend(backend, Path(manifest), threads, device)
        return {"kernel": self._model.kernel, "seconds": time.perf_counter() - started}

    def fixed(self, name: str, batch_size: int, length: int) -> Told:
        """Make a batch of rows of one length, and answer it once to warm up."""
        return self._warm(name, [fixed_batch(self.model, batch_size, length)])

    def texts(self, name: str, texts: list[list[str | None]], batch_size: int, arrangement: str, longest: int) -> Told:
        """Make batches of texts, and answer them once to warm up."""
        rows = [Text(str(number), text or "", pair) for number, (text, pair) in enumerate(texts)]
        return self._warm(name, task_batches(self.model, rows, batch_size, arrangement, longest))

    def _warm(self, name: str, batches: list[Batch]) -> Told:
        self._workloads = {name: batches}
        self.run(name, 1)
        padded = sum(batch.input_ids.size for batch in batches)
        return {"tokens": sum(batch.tokens for batch in batches), "padded_tokens": padded}

    def run(self, name: str, times: int) -> Told:
        """Answer a workload some times: seconds of wall and of all threads' CPU time, each."""
        batches, wall, cpu = self._workloads[name], [], []
        for _ in range(times):
            cpu_started, started = time.process_time(), time.perf_counter()
            for batch in batches:
                self.model(batch)
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - cpu_started)
        return {"wall": wall, "cpu": cpu}

    def answer(self, texts: list[list[str | None]], batch_size: int) -> Told:
        """The logits of texts."""
        rows = [Text(str(number), text or "", pair) for number, (text, pair) in enumerate(texts)]
        batches = task_batches(self.model, rows, batch_size, "in_order", 0)
        return {"logits": np.concatenate([self.model(batch) for batch in batches]).tolist()}

    def forget_peak(self) -> Told:
        """Let the high-water marks begin anew, where the system allows it."""
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        try:
            CLEAR.write_text("5")
        except OSError:
            return {"forgotten": False}
        return {"forgotten": True}

    def peak(self) -> Told:
        """The most memory so far, in bytes: of the process, and of what PyTorch allocated on a GPU."""
        found: Told = {"rss": high_water()}
        if self._cuda:
            import torch

            found["gpu"] = torch.cuda.max_memory_allocated()
        return found


def serve(cores: set[int]) -> int:
    """Answer commands until there are no more, on these cores alone."""
    if cores:
        os.sched_setaffinity(0, cores)
    commands = sys.stdin
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker()
    for line in commands:
        told = json.loads(line)
        command: Callable[..., Told] = getattr(worker, told.pop("do"))
        _tell(answers, _attempt(command, told))
    return 0


def _attempt(command: Callable[..., Told], told: Told) -> Told:
    """What a command gives, or what stopped it; a worker outlives a batch that does not fit."""
    try:
        return command(**told)
    except Unsuitable as error:
        return {"unsuitable": str(error)}
    except UserError as error:
        return {"wrong": str(error)}
    except MemoryError:
        return {"failed": "the machine's memory is full"}
    except Exception as error:  # a variant that fails is a row, whatever its library raises
        return {"failed": f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]}


def _tell(answers: IO[str], told: Told) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(serve({int(core) for core in sys.argv[1:]}))
