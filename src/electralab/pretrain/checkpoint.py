"""Training state that survives a kill at any moment.

Checkpoints live in `checkpoints/` beside the declared outputs, undeclared, so that Snakemake does not delete them when
a job fails. Those of each setting have a folder of their own, named by the fingerprint of what decides the weights:
other settings leave it alone, and settings that come back find it again. The name of a checkpoint carries the checksum
of its content.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from electralab.errors import UserError
from electralab.files import atomic_write, sha256

KEPT = 2  # the newest, and one more in case the newest is damaged
DIGITS = 16  # of a checksum that stand in a name


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: `checkpoints/` of the run.
        fingerprint: of what decides its weights.
    """

    directory: Path
    fingerprint: str

    @property
    def folder(self) -> Path:
        """Where the checkpoints of these settings are."""
        return self.directory / self.fingerprint[:DIGITS]

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` steps atomically, then drop the oldest.

        Raises:
            UserError: the disk does not take it; the older checkpoints stay.
        """
        arriving = self.folder / "arriving.pt"
        try:
            with atomic_write(arriving) as temporary:
                torch.save({"step": step, **state}, temporary)
        except RuntimeError as error:  # torch does not pass on what the system says
            raise UserError(
                f"cannot write a checkpoint into {self.folder}: the disk is full, or a file may not grow so large "
                "(ulimit -f): make room and run the same command again; the older checkpoint is kept"
            ) from error
        path = arriving.rename(self.folder / f"step-{step:09d}-{sha256(arriving)[:DIGITS]}.pt")
        for old in self._paths()[:-KEPT]:
            old.unlink()
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest whole state of these settings, or None to start anew. A damaged one is kept under another name.

        Raises:
            UserError: the disk or the memory failed, which says nothing of the checkpoint.
        """
        for path in reversed(self._paths()):
            try:
                if sha256(path)[:DIGITS] == path.stem[-DIGITS:]:
                    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                    return state
            except (OSError, MemoryError) as error:
                raise UserError(
                    f"{path} cannot be read now ({str(error) or type(error).__name__}): run the same command again "
                    "when the disk and the memory are well, or move the file away to go on from an older one"
                ) from error
            damaged = path.rename(path.with_suffix(".damaged"))
            print(f"{path} is damaged: it is kept as {damaged.name}, and an older one is tried", file=sys.stderr)
        for other in self._others():
            print(f"{other} holds checkpoints of other settings: it is left alone; delete it if you do not want them",
                  file=sys.stderr)  # fmt: skip
        return None

    def newest(self) -> Path | None:
        """The newest checkpoint, for messages."""
        return next(reversed(self._paths()), None)

    def remove(self) -> None:
        """Delete the checkpoints of these settings."""
        for path in self._paths():
            path.unlink()
        for folder in (self.folder, self.directory):
            with suppress(OSError):  # others are still in it
                folder.rmdir()

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"))

    def _others(self) -> list[Path]:
        return sorted({path.parent for path in self.directory.rglob("step-*.pt")} - {self.folder})
