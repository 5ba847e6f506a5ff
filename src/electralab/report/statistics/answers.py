"""`predictions.csv` read back: labels and predictions as numbers, whether classes are written as numbers or names."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electralab.deploy.answers import SCORE
from electralab.errors import UserError
from electralab.report.statistics.influence import Floats

Texts = npt.NDArray[np.str_]


class Answers(NamedTuple):
    """What one run answered, as its file has it: ids, gold labels and predictions, each [N], sorted by id.

    `classes` holds the names of the classes in their order, as the columns of scores name them; none of a regression.
    """

    path: Path
    ids: Texts
    labels: Texts
    predictions: Texts
    classes: tuple[str, ...]

    def label_values(self, numbers: Mapping[str, int] | None) -> Floats:
        """Labels as `class_numbers`, or, where that is None, as scores of a regression; [N].

        Raises:
            UserError: a score is no number.
        """
        return _values(self.path, self.labels, numbers)

    def predicted_values(self, numbers: Mapping[str, int] | None) -> Floats:
        """Predictions likewise."""
        return _values(self.path, self.predictions, numbers)

    def numbered(self, numbers: Mapping[str, int] | None) -> tuple[Floats, Floats]:
        """Both."""
        return self.label_values(numbers), self.predicted_values(numbers)


def read_answers(path: Path) -> Answers:
    """Read `predictions.csv`.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        if len(lines) < 2 or any(len(line) != len(lines[0]) for line in lines):
            raise ValueError("it holds no row" if len(lines) < 2 else "a row is cut short")
        columns = dict(zip(lines[0], zip(*lines[1:])))
        classes = tuple(name.removeprefix(SCORE) for name in lines[0] if name.startswith(SCORE))
        ids, labels, predictions = (np.array(columns[name], dtype=str) for name in ("id", "label", "prediction"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing beside its run record: delete the record and rerun") from None
    except KeyError as error:
        raise _damaged(path, f"it has no {error}") from None
    except (ValueError, csv.Error) as error:
        raise _damaged(path, str(error)) from None
    by_id = np.argsort(ids, kind="stable")
    if (ids[by_id][1:] == ids[by_id][:-1]).any():
        raise _damaged(path, "two rows have the same id")
    return Answers(path, ids[by_id], labels[by_id], predictions[by_id], classes)


def _values(path: Path, texts: Texts, numbers: Mapping[str, int] | None) -> Floats:
    if numbers is None:
        try:
            return texts.astype(np.float64)
        except ValueError as error:
            raise _damaged(path, str(error)) from None
    names, places = np.unique(texts, return_inverse=True)
    return np.array([numbers[name] for name in names.tolist()], dtype=np.float64)[places]


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}): delete its run record and rerun")


def class_numbers(answers: Sequence[Answers]) -> dict[str, int]:
    """The number of every class of a task, by its name.

    Args:
        answers: runs of the task.

    Raises:
        UserError: two runs name other classes, or a run has an answer that is no class.
    """
    classes = answers[0].classes
    for run in answers:
        if run.classes != classes:
            raise _damaged(run.path, f"its classes are not those of {answers[0].path}")
        unknown = {*np.unique(run.labels).tolist(), *np.unique(run.predictions).tolist()} - set(classes)
        if unknown:
            raise _damaged(run.path, f"{min(unknown)!r} is none of its classes")
    return {name: number for number, name in enumerate(classes)}
