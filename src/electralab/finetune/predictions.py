"""`predictions.csv`: the answer to every validation row, for paired comparisons between runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from electralab.data.example import Example
from electralab.files import atomic_write


def write_predictions(path: Path, examples: list[Example], log_probabilities: npt.NDArray[np.floating]) -> None:
    """Write id, label, prediction and the probability of every class (`score_<class number>`), in split order."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label", "prediction", *(f"score_{c}" for c in range(log_probabilities.shape[1]))])
        for example, row in zip(examples, log_probabilities):
            scores = [f"{score:.6g}" for score in np.exp(row)]
            writer.writerow([example.id, example.label, int(row.argmax()), *scores])
