"""Training state that survives a kill at any moment.

Checkpoints live in `checkpoints/` beside the declared outputs, undeclared, so that Snakemake does not delete them
when a job fails. A fingerprint of the run's inputs guards them: changed inputs start anew.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from electralab.files import atomic_write

KEPT = 2  # the newest, and one more in case the newest cannot be read


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run."""

    directory: Path
    fingerprint: str

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` steps atomically, then drop the oldest."""
        path = self.directory / f"step-{step:09d}.pt"
        with atomic_write(path) as temporary:
            torch.save({"fingerprint": self.fingerprint, "step": step, **state}, temporary)
        for old in self._paths()[:-KEPT]:
            old.unlink()
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest readable state of this very run, or None to start anew."""
        for path in reversed(self._paths()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises several unrelated types for a damaged file
                print(f"{path} cannot be read ({type(error).__name__}); trying an older one", file=sys.stderr)
                continue
            if state.get("fingerprint") == self.fingerprint:
                return state
            print(f"{self.directory} belongs to other inputs; starting anew", file=sys.stderr)
            break
        self.remove()
        return None

    def newest(self) -> Path | None:
        """The newest checkpoint, for messages."""
        return next(reversed(self._paths()), None)

    def remove(self) -> None:
        """Delete every checkpoint."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob("step-*.pt"))
