"""What a task is made of, and how a row of a table becomes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from electralab.config import TableColumns
from electralab.deploy.tabular import as_text
from electralab.errors import UserError

LABELLED = ("train", "validation", "validation_mismatched")  # splits whose rows all need a label
UNLABELLED = ("", "-1", "-1.0")  # how GLUE's files say that a label is kept back


class Example(NamedTuple):
    """A text or pair of texts, and its label.

    `label` is a number in the task's list of labels, the score of a regression, or None: GLUE keeps the labels of its
    test rows to itself.
    """

    id: str
    text: str
    pair: str | None
    label: int | float | None


@dataclass(frozen=True)
class Labels:
    """What a label column may hold: classes as they are written and their numbers, or scores in a range."""

    classes: Mapping[str, int]
    score_range: tuple[float, float] | None = None

    def number(self, written: str) -> int | float | None:
        """The label that a cell stands for; None if the row has none.

        Raises:
            ValueError: what is wrong with it.
        """
        if written in self.classes:
            return self.classes[written]
        if written in UNLABELLED:
            return None
        if self.score_range is None:
            hint = ""
            if written.removesuffix(".0") in self.classes:
                hint = f"; whole numbers beside an empty cell become fractions: convert the column, or list {written}"
            raise ValueError(f"label {written!r} is not among {', '.join(self.classes)}{hint}")
        low, high = self.score_range
        try:
            score = float(written)
        except ValueError:
            score = math.nan
        if not low <= score <= high:  # no comparison holds for NaN
            raise ValueError(f"score {written!r} is not a number from {low:g} to {high:g}")
        return score

    def takes(self, written: str) -> bool:
        """Whether a cell is a label."""
        try:
            return self.number(written) is not None
        except ValueError:
            return False


def read_examples(
    source: Path | str,
    rows: Iterable[tuple[int, dict[str, Any]]],
    columns: TableColumns,
    labels: Labels,
    labelled: bool = True,
) -> list[Example]:
    """Rows of a table as examples, whose ids are the rows' numbers.

    Args:
        source: the file, or the name of the data set.
        rows: (number, row).
        columns: where texts and labels are.
        labels: what the label column may hold.
        labelled: every row must have a label; otherwise it may be missing, and so may the column.

    Raises:
        UserError: a cell is empty or is not text, a label is not one of the task's, or a quote swallowed rows; names
            row and column.
    """
    examples = []
    for number, row in rows:
        where = f"{source}, row {number}, column"
        if isinstance(source, Path) and source.suffix == ".csv":
            _check_quotes(where, row, columns, labels)
        texts = [_text(row[name], f"{where} {name!r}") for name in text_columns(columns)]
        cell = row.get(columns.label)
        written = _label(cell, f"{where} {columns.label!r}", labelled)
        try:
            label = labels.number(written)
        except ValueError as error:
            raise UserError(f"{where} {columns.label!r}: {error}") from None
        if label is None and labelled:
            raise UserError(
                f"{where} {columns.label!r}: {written or 'empty'!r} means that the row has no label, and rows to train "
                "on or to score need one"
            )
        examples.append(Example(str(number), texts[0], texts[1] if columns.pair else None, label))
    return examples


def text_columns(columns: TableColumns) -> list[str]:
    """The one or two columns that hold text."""
    return [columns.text] if columns.pair is None else [columns.text, columns.pair]


def all_columns(columns: TableColumns) -> list[str]:
    """The text columns and the label column."""
    return [*text_columns(columns), columns.label]


def _text(cell: Any, where: str) -> str:
    text = as_text(cell, where)
    if text is None:
        raise UserError(f"{where}: empty")
    return text


def _label(cell: Any, where: str, needed: bool) -> str:
    if isinstance(cell, bool):
        return str(cell)
    return _text(cell, where) if needed else as_text(cell, where) or ""


def _check_quotes(where: str, row: dict[str, Any], columns: TableColumns, labels: Labels) -> None:
    """A quote that is never closed where it should be makes one field of many rows, without breaking CSV's rules.

    Its lines then look like rows: they have a label where the label column is.
    """
    names = list(row)
    place = names.index(columns.label) if columns.label in names else None
    for name, cell in row.items():
        lines = str(cell).split("\n")
        for line in lines[:-1]:
            pieces = line.rstrip("\r").split(",")
            if place == len(names) - 1:
                pieces = pieces[1:][-1:]  # a label at the end of the line, behind a comma
            elif place == 0:
                pieces = pieces[:-1][:1]
            if any(piece and labels.takes(piece) for piece in pieces):
                raise UserError(
                    f"{where} {name!r}: a quoted field of {len(lines)} lines, of which {line.strip()[:40]!r} looks "
                    'like a row of its own: write a quotation mark inside a quoted field as ""'
                )
