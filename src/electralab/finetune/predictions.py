"""`predictions.csv`: the answer to every row of a split, for paired comparisons between runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from electralab.data.example import Example
from electralab.files import atomic_write


def predictions_name(split: str) -> str:
    """`predictions.csv` is of the validation split, `predictions_<split>.csv` of every other."""
    return "predictions.csv" if split == "validation" else f"predictions_{split}.csv"


def write_predictions(path: Path, examples: list[Example], answers: npt.NDArray[np.floating]) -> None:
    """Write id, label (empty where there is none) and prediction, in split order.

    Args:
        path: the file.
        examples: the split, [N].
        answers: [N, classes] log-probabilities, of which the probabilities follow as `score_<class number>`; or [N]
            predicted scores of a regression.
    """
    classes = answers.shape[1] if answers.ndim == 2 else 0
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label", "prediction", *(f"score_{number}" for number in range(classes))])
        for example, answer in zip(examples, answers):
            if classes:
                cells = [int(answer.argmax()), *(f"{score:.6g}" for score in np.exp(answer))]
            else:
                cells = [f"{answer:.6g}"]
            writer.writerow([example.id, "" if example.label is None else example.label, *cells])
