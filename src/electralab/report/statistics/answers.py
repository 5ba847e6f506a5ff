"""`predictions.csv` read back: labels and predictions as numbers, whether classes are written as numbers or names."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electralab.errors import UserError
from electralab.report.statistics.influence import Floats

Texts = npt.NDArray[np.str_]


class Answers(NamedTuple):
    """What one run answered, as its file has it: ids, gold labels and predictions, each [N], sorted by id.

    `order` holds the class numbers of those predictions that are the largest of the columns `score_<class number>`.
    """

    path: Path
    ids: Texts
    labels: Texts
    predictions: Texts
    order: dict[str, int]

    def label_values(self, numbers: Mapping[str, int] | None) -> Floats:
        """Labels as `class_numbers`, or, where that is None, as scores of a regression; [N].

        Raises:
            UserError: a score is no number.
        """
        return _values(self.path, self.labels, numbers)

    def predicted_values(self, numbers: Mapping[str, int] | None) -> Floats:
        """Predictions likewise."""
        return _values(self.path, self.predictions, numbers)


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
        scores = np.array([list(map(float, columns[name])) for name in lines[0] if re.fullmatch(r"score_\d+", name)]).T
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
    return Answers(path, ids[by_id], labels[by_id], predictions[by_id], _order(path, predictions, scores))


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


def _order(path: Path, predictions: Texts, scores: Floats) -> dict[str, int]:
    if not scores.size:
        return {}
    clear = (scores == scores.max(axis=1, keepdims=True)).sum(axis=1) == 1  # the file rounds
    pairs = set(zip(predictions[clear].tolist(), scores[clear].argmax(axis=1).tolist()))
    order = dict(pairs)
    if len(order) < len(pairs) or len(set(order.values())) < len(pairs):
        raise _damaged(path, "its predictions are not those with the largest scores")
    return order


def class_numbers(answers: Sequence[Answers], classes: Sequence[str] = ()) -> dict[str, int]:
    """The number of every class that these runs of one task have as a label or a prediction.

    A name that no run predicted is found in `classes`, is a number itself, or takes the first number that is free: with
    two classes it is the other one, and no metric of more asks which is which.

    Args:
        answers: the runs.
        classes: the names in the order of their numbers, where the caller knows them.

    Raises:
        UserError: two runs number the classes differently, or there are names of which no number is known.
    """
    numbers: dict[str, int] = {}
    for run in answers:
        if any(numbers.get(name, number) != number for name, number in run.order.items()):
            raise _damaged(run.path, "its classes have other numbers than those of other runs of the task")
        numbers |= run.order
    names: set[str] = set()
    for run in answers:
        names |= set(np.unique(run.labels).tolist()) | set(np.unique(run.predictions).tolist())
    for name in sorted(names - set(numbers)):
        taken = set(numbers.values())
        if name in classes and classes.index(name) not in taken:
            numbers[name] = classes.index(name)
        elif name.isdecimal() and int(name) not in taken:
            numbers[name] = int(name)
        elif taken:
            numbers[name] = next(number for number in range(len(taken) + 1) if number not in taken)
        else:
            raise _damaged(answers[0].path, f"it has no scores that say which class {name!r} is")
    return numbers
