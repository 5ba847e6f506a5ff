"""`searches.csv`: a row a trial, with a `param.<option>` for every searched option and an `importance.<option>`.

`score` is of tuning rows, of the winner alone there is also a score of the validation rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from electralab.errors import UserError
from electralab.files import read_json
from electralab.report.sources import Sources

COLUMNS = (
    *("search", "trial", "status", "score", "seconds", "seed"),
    *("validation_score", "validation_rows", "overlap_rows"),
)


def rows(sources: Sources) -> pd.DataFrame:
    """The trials of every search.

    Raises:
        UserError: a `search.json` is missing or damaged.
    """
    found = [row for search in sources.searches for row in trials(search)]
    return pd.DataFrame(found) if found else pd.DataFrame(columns=list(COLUMNS))


def trials(search_json: Path) -> list[dict[str, Any]]:
    """One row per trial: its status (ok, failed, pruned), its score, options as drawn, and importances.

    An importance, the same in every row, is the share of the scores' variance that an option explains on its own, None
    where scores do not vary. The score of a pruned trial is its last one; a failed trial has none. The validation score
    is that of the winner run once more, and stands beside its trial.

    Raises:
        UserError: the file is missing or damaged.
    """
    found = read_json(search_json)
    try:
        importances = {f"importance.{name}": found["importances"].get(name) for name in found["settings"]["space"]}
        winner = found["winner"]
        told = {
            **{"validation_score": winner["score"], "validation_rows": winner["rows"]},
            "overlap_rows": winner.get("overlap_rows"),  # a search of an earlier version has not counted
        }
        validated = {found["best"]["trial"]: told}
        return [
            {"search": found["name"]}
            | {key: trial[key] for key in COLUMNS[1:6]}
            | validated.get(trial["trial"], dict.fromkeys(told))
            | {f"param.{option}": value for option, value in trial["options"].items()}
            | importances
            for trial in found["trials"]
        ]
    except KeyError as error:
        raise UserError(f"{search_json} is not the result of a search (no {error}): delete it and rerun") from None
