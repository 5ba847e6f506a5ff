"""New texts, answered by what a run left."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from electralab.artifacts import MANIFEST, Manifest
from electralab.config.local import TABLE_SUFFIXES
from electralab.data.example import Example
from electralab.data.tabular import as_text, column_names, read_lines, read_rows
from electralab.errors import UserError
from electralab.files import atomic_write
from electralab.finetune.metrics import Floats
from electralab.finetune.predictions import SCORE, answer_cells
from electralab.methods.opening import open_artifact

ROWS_AT_ONCE = 1024
TEXT_AND_PAIR = ("text", "pair")
Format = Literal["tsv", "jsonl"]


class Source(NamedTuple):
    """Where texts come from: arguments, a file, or standard input where neither is given."""

    texts: Sequence[str] = ()
    pairs: Sequence[str] = ()
    file: Path | None = None
    columns: Sequence[str] = ()  # of a table: the text's and the pair's; `text` and, if there is one, `pair` by default


def predict_texts(artifact: Path, source: Source, out: Path | None, form: Format, device: str) -> int:
    """Answer texts as the run's `predictions.csv` answers rows, and write them to a file or to standard output.

    Args:
        artifact: what a run left: its folder, its manifest, or the run's folder.
        source: the texts.
        out: the file; None for standard output.
        form: `tsv` with a header (`prediction`, a `score_<label>` for each class, `text`, `pair`), or `jsonl`.
        device: `cpu`, `cuda` or `cuda:N`.

    Returns:
        The number of texts.

    Raises:
        UserError: there is no artifact, it is damaged or holds no model, or a text or its pair is missing.
    """
    manifest, opened = open_artifact(manifest_in(artifact), device)

    def answer(examples: list[Example]) -> Floats:
        return opened.answer(examples, device, str(artifact))

    examples = _checked(read_texts(source), manifest)
    if out is None:
        return _write(sys.stdout, examples, answer, manifest.labels, form)
    with atomic_write(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        return _write(file, examples, answer, manifest.labels, form)


def manifest_in(path: Path) -> Path:
    """The manifest of an artifact, of which the folder or the run's folder may be named.

    Raises:
        UserError: there is none.
    """
    for candidate in (path, path / MANIFEST, path / "model" / MANIFEST):
        if candidate.name == MANIFEST and candidate.is_file():
            return candidate
    raise UserError(f"{path} holds nothing that a run left: name the folder `model` of a run, or its {MANIFEST}")


def read_texts(source: Source) -> Iterator[Example]:
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
            yield Example(str(number), text, pairs[number - 1] if pairs else None, None)
    elif file is not None and file.suffix in TABLE_SUFFIXES:
        yield from _of_table(file, columns)
    else:
        yield from _of_lines(_standard_input() if file is None else read_lines(file))


def _of_table(file: Path, columns: Sequence[str]) -> Iterator[Example]:
    wanted = list(columns) or [name for name in TEXT_AND_PAIR if name == "text" or name in column_names(file)]
    for number, row in read_rows(file, wanted):
        cells = [as_text(row[name], f"{file}, row {number}, column {name!r}") for name in wanted]
        for name, cell in zip(wanted, cells):
            if not cell and name != TEXT_AND_PAIR[1]:
                raise UserError(f"{file}, row {number}, column {name!r}: empty")
        yield Example(str(number), cells[0] or "", (cells[1] or None) if len(cells) > 1 else None, None)


def _of_lines(lines: Iterable[str]) -> Iterator[Example]:
    """A text a line, its pair behind a tab; empty lines are none."""
    for number, line in enumerate(lines, start=1):
        text, tab, pair = line.rstrip("\r\n").partition("\t")
        if text.strip() or tab:
            yield Example(str(number), text, pair if tab else None, None)


def _standard_input() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(
                f"standard input is not UTF-8 (line {number}): convert it, for example with iconv"
            ) from None


def _checked(examples: Iterable[Example], manifest: Manifest) -> Iterator[Example]:
    """Refuse a text without a pair where the model was trained on pairs, and the other way round."""
    pairs = None if manifest.reads is None else manifest.reads.pairs
    for example in examples:
        if pairs is not None and pairs != (example.pair is not None):
            what, remedy = "single texts", "give no second text"
            if pairs:
                what = "pairs of texts"
                remedy = "give the second one with --pair, in the column `pair`, or behind a tab"
            raise UserError(f"text {example.id}: the model was trained on {what} (task {manifest.task}): {remedy}")
        yield example


def _write(
    file: IO[str],
    examples: Iterator[Example],
    answer: Callable[[list[Example]], Floats],
    classes: list[str],
    form: Format,
) -> int:
    written, writer = 0, csv.writer(file, delimiter="\t", lineterminator="\n")
    while rows := list(islice(examples, ROWS_AT_ONCE)):
        answers = [answer_cells(of_row, classes) for of_row in answer(rows)]
        if form == "jsonl":
            file.writelines(_as_json(row, cells, classes) for row, cells in zip(rows, answers))
        else:
            if not written:
                writer.writerow(["prediction", *(f"{SCORE}{name}" for name in classes), *TEXT_AND_PAIR])
            writer.writerows([*cells, row.text, row.pair or ""] for row, cells in zip(rows, answers))
        file.flush()
        written += len(rows)
    return written


def _as_json(row: Example, cells: list[str], classes: list[str]) -> str:
    prediction, *scores = cells
    told: dict[str, Any] = {"prediction": prediction, "scores": dict(zip(classes, map(float, scores)))}
    if not classes:
        told = {"prediction": float(prediction)}
    return json.dumps(told | {"text": row.text, "pair": row.pair}, ensure_ascii=False) + "\n"
