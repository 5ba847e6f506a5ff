"""Run records to tidy files: `runs.csv`, a row a run, and beside it one file for every `electralab.report.details`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pandas as pd

from electralab.catalogue import DETAILS
from electralab.files import atomic_write, sha256, write_json
from electralab.report.flatten import RUN_COLUMNS, flatten
from electralab.report.reading import CHECKSUMS
from electralab.report.sources import Sources


def collect(sources: Sources, folder: Path) -> None:
    """Write the results of an experiment into a folder that has its name.

    Failed and skipped runs are rows too. Numbers keep full precision; a file without a row still has its header.

    Raises:
        UserError: a file beside a record, as `evaluation.csv` or `predictions.csv`, is missing or damaged.
    """
    rows = [{"preset": folder.name, **flatten(run), "record": str(path)} for path, run in sources.records.items()]
    frames = {"runs": _ordered(pd.DataFrame(rows))}
    for name in DETAILS:
        frames[name] = import_module(f"electralab.report.details.{name}").rows(sources)
    for name, frame in frames.items():
        with atomic_write(folder / f"{name}.csv") as temporary:
            frame.convert_dtypes().to_csv(temporary, index=False, lineterminator="\n")
    write_json(folder / CHECKSUMS, {f"{name}.csv": sha256(folder / f"{name}.csv") for name in frames})


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    rest = sorted(name for name in frame.columns if name not in RUN_COLUMNS)
    return frame.reindex(columns=[*RUN_COLUMNS, *rest])
