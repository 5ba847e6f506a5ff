"""Answers to texts, as they are written: a class with the probability of every class, or a score."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from electralab.deploy.texts import TEXT_AND_PAIR, Text
from electralab.files import atomic_write

SCORE = "score_"  # and the name of a class, in the order of the classes
ROWS_AT_ONCE = 1024

Floats = npt.NDArray[np.floating]
# Log-probabilities [N, classes] of N texts, or the scores [N] of a regression.
Answer = Callable[[list[Text]], Floats]


class Output(NamedTuple):
    """Where answers go: a file, or standard output.

    `tsv` has a header (`prediction`, a `score_<label>` for each class, `text`, `pair`).
    """

    file: Path | None = None
    format: Literal["tsv", "jsonl"] = "tsv"
    rows_at_once: int = ROWS_AT_ONCE


def answer_cells(answer: Floats, classes: Sequence[str]) -> list[str]:
    """The class and the probability of every class, of log-probabilities [classes]; or the score of a regression."""
    if not classes:
        return [f"{answer:.6g}"]
    return [classes[int(answer.argmax())], *(f"{score:.6g}" for score in np.exp(answer))]


def write_answers(texts: Iterator[Text], answer: Answer, classes: Sequence[str], output: Output) -> int:
    """Answer texts, so many at once, and write every answer as soon as it is there.

    Returns:
        The number of texts.
    """
    if output.file is None:
        return _write(sys.stdout, texts, answer, classes, output)
    with atomic_write(output.file) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        return _write(file, texts, answer, classes, output)


def _write(file: IO[str], texts: Iterator[Text], answer: Answer, classes: Sequence[str], output: Output) -> int:
    written, writer = 0, csv.writer(file, delimiter="\t", lineterminator="\n")
    while rows := list(islice(texts, output.rows_at_once)):
        answers = [answer_cells(of_row, classes) for of_row in answer(rows)]
        if output.format == "jsonl":
            file.writelines(_as_json(row, cells, classes) for row, cells in zip(rows, answers))
        else:
            if not written:
                writer.writerow(["prediction", *(f"{SCORE}{name}" for name in classes), *TEXT_AND_PAIR])
            writer.writerows([*cells, row.text, row.pair or ""] for row, cells in zip(rows, answers))
        file.flush()
        written += len(rows)
    return written


def _as_json(row: Text, cells: list[str], classes: Sequence[str]) -> str:
    prediction, *scores = cells
    told: dict[str, Any] = {"prediction": prediction, "scores": dict(zip(classes, map(float, scores)))}
    if not classes:
        told = {"prediction": float(prediction)}
    return json.dumps(told | {"text": row.text, "pair": row.pair}, ensure_ascii=False) + "\n"
