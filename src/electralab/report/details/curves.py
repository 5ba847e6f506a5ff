"""`curves.csv`: held-out evaluations during pretraining, a row an evaluation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from electralab.errors import UserError
from electralab.report.flatten import flatten
from electralab.report.sources import Sources

RUN = ("model", "pretraining", "generator_size", "seed", "extensions")
EVALUATION = ("step", "tokens", "seconds", "phase")
COLUMNS = (*RUN, *EVALUATION)


def rows(sources: Sources) -> pd.DataFrame:
    """The evaluations of every pretraining, in order; a failed one may have none.

    Raises:
        UserError: an `evaluation.csv` is damaged, or missing beside a finished run.
    """
    curves = []
    for path, record in sources.records.items():
        evaluation = path.with_name("evaluation.csv")
        if record.stage == "pretrain" and (record.status == "ok" or evaluation.exists()):
            curve, run = _read(evaluation), flatten(record)
            for position, name in enumerate(RUN):
                curve.insert(position, name, run[name])
            curves.append(curve)
    if not curves:
        return pd.DataFrame(columns=list(COLUMNS))
    found = pd.concat(curves)
    return found[[*COLUMNS, *sorted(name for name in found.columns if name not in COLUMNS)]]


def _read(path: Path) -> pd.DataFrame:
    try:
        curve = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing beside its run record: delete the record and rerun") from None
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): delete it and rerun") from None
    missing = [name for name in EVALUATION if name not in curve.columns]
    if missing:
        raise UserError(f"{path} is damaged (no column {', '.join(missing)}): delete it and rerun")
    if curve[list(EVALUATION)].isna().any(axis=None):
        raise UserError(f"{path} is damaged (a row is cut short): delete it and rerun")
    return curve
