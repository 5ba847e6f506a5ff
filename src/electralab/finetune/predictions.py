"""`predictions.csv`: the answer to every row of a split, for paired comparisons between runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from electralab.data.example import Example
from electralab.deploy.answers import SCORE, answer_cells
from electralab.errors import UserError
from electralab.files import atomic_write


def predictions_name(split: str) -> str:
    """`predictions.csv` is of the validation split, `predictions_<split>.csv` of every other."""
    return "predictions.csv" if split == "validation" else f"predictions_{split}.csv"


def write_predictions(
    path: Path, examples: list[Example], answers: npt.NDArray[np.floating] | None, classes: list[str]
) -> None:
    """Write id, label (empty where there is none) and prediction, in split order.

    Args:
        path: the file.
        examples: the split, [N].
        answers: [N, classes] log-probabilities, of which the probabilities follow as `score_<class>`; or [N] predicted
            scores of a regression. None: no run has answered, and the file has no row.
        classes: names of the classes in their order; none of a regression.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label", "prediction", *(f"{SCORE}{name}" for name in classes)])
        for example, answer in zip(examples, () if answers is None else answers):
            label = example.label
            named = "" if label is None else classes[int(label)] if classes else str(label)
            writer.writerow([example.id, named, *answer_cells(answer, classes)])


def read_predictions(path: Path) -> dict[str, str]:
    """The prediction of every row by its id.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["id"]: row["prediction"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise UserError(f"{path} is missing beside its run record: delete the record and rerun") from None
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({error}): delete its run record and rerun") from None
