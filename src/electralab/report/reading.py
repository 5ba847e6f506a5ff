"""Files that `collect` wrote, read back and checked."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from electralab.errors import UserError
from electralab.files import read_json, sha256

CHECKSUMS = "checksums.json"  # SHA-256 of every file that `collect` wrote beside it
# Columns of text: an empty cell is the empty text.
TEXT = (
    "model",
    "task",
    "method",
    "pretraining",
    "downloaded",
    "glue",
    "primary_metric",
    "status",
    "reason",
    "recipe",
    "extensions",
    "kind",
    "targets",
    "storage",
    "search",
    "notes",
    "phase",
    "retention",
    "measure",
    "against",
)


def read_table(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """Read a file that `collect` wrote; text cells are never missing.

    Raises:
        UserError: it is missing, damaged, or lacks a column.
    """
    try:
        # A model may be called `null`: only an empty cell is missing.
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: build it first with snakemake {path}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): delete it and run again") from None
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: delete it and run again")
    written = read_json(path.with_name(CHECKSUMS)).get(path.name)
    if written != sha256(path):
        raise UserError(f"{path} is damaged: it is not the file that `collect` wrote: delete it and run again")
    for name in TEXT:
        if name in frame.columns:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str)
    return frame.copy()  # many columns, one by one replaced, are slow to work with
