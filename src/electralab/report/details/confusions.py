"""`confusions.csv`: a row a cell of the confusion matrix of every finished classification.

A row counts the validation rows of class number `true`, which is called `label`, that were answered with class number
`predicted`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from electralab.errors import UserError
from electralab.files import read_json
from electralab.records import RunRecord
from electralab.report.sources import Sources
from electralab.report.statistics.answers import read_answers

COLUMNS = ("task", "model", "method", "seed", "true", "label", "predicted", "rows")


def rows(sources: Sources) -> pd.DataFrame:
    """The cells of every run whose task has classes.

    Raises:
        UserError: a `predictions.csv` or a manifest is missing or damaged, or they do not fit together.
    """
    classes = {task["name"]: task["labels"] for task in map(read_json, sources.tasks)}
    found = []
    for path, record in sources.records.items():
        names = classes.get(record.task)
        if names and record.status == "ok" and record.predictions:
            for (true, predicted), count in np.ndenumerate(_matrix(path, record, names)):
                run = (record.task, record.model, record.method, record.seed)
                found.append((*run, true, names[true], predicted, count))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _matrix(path: Path, record: RunRecord, names: list[str]) -> npt.NDArray[np.int64]:
    """True classes down, answers across."""
    answers = read_answers(path.with_name(str(record.predictions)))
    if list(answers.classes) != names:
        raise UserError(
            f"{path}: its predictions are of the classes {', '.join(answers.classes)}, and task {record.task} has "
            f"{', '.join(names)}: delete the record and rerun"
        )
    numbers = {name: number for number, name in enumerate(names)}
    labels, predictions = (values.astype(np.int64) for values in answers.numbered(numbers))
    return np.bincount(labels * len(names) + predictions, minlength=len(names) ** 2).reshape(len(names), len(names))
