"""The process of a variant, seen from the one that hands out turns."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from typing import Any

from electralab.errors import RunFailed, Unsuitable, UserError

PATIENCE = 600.0  # seconds for one command: compiling a model takes a minute or two


def cores(threads: int) -> list[int]:
    """The cores that every variant runs on, the same for all: with cores of their own, a neighbour slows one variant
    down and not the other. The last ones, because the first serves interrupts; none where that cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[-threads:]


class Process:
    """Starts a worker; every command waits for its answer.

    Args:
        name: of the variant, for errors.
        threads: of its CPU.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "electralab.benchmark.worker", *map(str, cores(threads))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        )

    def ask(self, do: str, **told: Any) -> dict[str, Any]:
        """Give a command and wait for what comes of it.

        Raises:
            Unsuitable: the backend cannot run this here.
            UserError: the artifact is missing or damaged.
            RunFailed: it failed, does not fit, or the process is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **told}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RunFailed(self._gone()) from None
        answer = json.loads(self._line())
        if "unsuitable" in answer:
            raise Unsuitable(answer["unsuitable"])
        if "wrong" in answer:
            raise UserError(answer["wrong"])
        if "failed" in answer:
            raise RunFailed(answer["failed"])
        return dict(answer)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            assert pipe is not None
            pipe.close()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self._process.kill()
                raise RunFailed(f"no answer within {PATIENCE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise RunFailed(self._gone())
        return line

    def _gone(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        killed = " (killed: is the memory full?)" if code == -9 else ""
        return f"its process ended with status {code}{killed}{': ' if last else ''}{''.join(last)}"[:300]
