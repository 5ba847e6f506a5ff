"""Texts that a user gives: as arguments, in a file, or on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from electralab.deploy.tabular import as_text, column_names, read_lines, read_rows
from electralab.errors import UserError
from electralab.files import TABLE_SUFFIXES

TEXT_AND_PAIR = ("text", "pair")


class Text(NamedTuple):
    """A text, or a pair of texts; `id` is its number, or its line or row in a file."""

    id: str
    text: str
    pair: str | None


class Source(NamedTuple):
    """Where texts come from: arguments, a file, or standard input where neither is given."""

    texts: Sequence[str] = ()
    pairs: Sequence[str] = ()
    file: Path | None = None
    columns: Sequence[str] = ()  # of a table: the text's and the pair's; `text` and, if there is one, `pair` by default


def read_texts(source: Source) -> Iterator[Text]:
    """The texts, numbered as they are given: arguments from 1, lines of files by their line.

    Raises:
        UserError: a file cannot be read, a column is missing, or a cell is empty; names row and column.
    """
    texts, pairs, file, columns = source
    if file is not None and texts:
        raise UserError("texts as arguments and a file: give one of them")
    if pairs and len(pairs) != len(texts):
        raise UserError(f"{len(texts)} texts and {len(pairs)} second texts (--pair): give one for each")
    if texts:
        for number, text in enumerate(texts, start=1):
            yield Text(str(number), text, pairs[number - 1] if pairs else None)
    elif file is not None and file.suffix in TABLE_SUFFIXES:
        yield from _of_table(file, columns)
    else:
        yield from _of_lines(_standard_input() if file is None else read_lines(file))


def checked(texts: Iterable[Text], pairs: bool | None, task: str) -> Iterator[Text]:
    """Refuse a text without a pair where the model was trained on pairs, and the other way round.

    Args:
        texts: what is asked.
        pairs: whether the model reads pairs; None if that is not known.
        task: what the model was trained on.

    Raises:
        UserError: names the text.
    """
    for text in texts:
        if pairs is not None and pairs != (text.pair is not None):
            what, remedy = "single texts", "give no second text"
            if pairs:
                what = "pairs of texts"
                remedy = "give the second one with --pair, in the column `pair`, or behind a tab"
            raise UserError(f"text {text.id}: the model was trained on {what} (task {task}): {remedy}")
        yield text


def _of_table(file: Path, columns: Sequence[str]) -> Iterator[Text]:
    wanted = list(columns) or [name for name in TEXT_AND_PAIR if name == "text" or name in column_names(file)]
    for number, row in read_rows(file, wanted):
        cells = [as_text(row[name], f"{file}, row {number}, column {name!r}") for name in wanted]
        for name, cell in zip(wanted, cells):
            if not cell and name != TEXT_AND_PAIR[1]:
                raise UserError(f"{file}, row {number}, column {name!r}: empty")
        yield Text(str(number), cells[0] or "", (cells[1] or None) if len(cells) > 1 else None)


def _of_lines(lines: Iterable[str]) -> Iterator[Text]:
    """A text a line, its pair behind a tab; empty lines are none."""
    for number, line in enumerate(lines, start=1):
        text, tab, pair = line.rstrip("\r\n").partition("\t")
        if text.strip() or tab:
            yield Text(str(number), text, pair if tab else None)


def _standard_input() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(
                f"standard input is not UTF-8 (line {number}): convert it, for example with iconv"
            ) from None
