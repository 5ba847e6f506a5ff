"""The evaluation history of a run: a CSV for people and tables, TensorBoard for watching."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from electralab.files import atomic_write


class History:
    """Rows of held-out metrics, one per evaluation."""

    def __init__(self, path: Path, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self._path = path
        self._writer = _tensorboard(path.parent / "tensorboard", purge_step=rows[-1]["step"] + 1 if rows else 0)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row and write everything down."""
        self.rows.append(row)
        self.write()
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, row["step"])
            self._writer.flush()

    def write(self) -> None:
        """Write `evaluation.csv` atomically."""
        with atomic_write(self._path) as temporary, temporary.open("w", newline="") as file:
            # Rows of a checkpoint that an older version left may lack a column.
            writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(name for row in self.rows for name in row)))
            writer.writeheader()
            writer.writerows(self.rows)


def _tensorboard(directory: Path, purge_step: int) -> Any:
    """A TensorBoard writer, or None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(directory, purge_step=purge_step)
