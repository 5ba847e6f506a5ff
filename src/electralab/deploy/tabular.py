"""Lines and rows of `.txt`, `.tsv`, `.csv`, `.jsonl` and `.parquet` files, in constant memory."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from electralab.errors import UserError
from electralab.files import table_parts

Row = dict[str, Any]
HIDDEN_RETURN = "\udc0d"  # half a surrogate pair: no UTF-8 text holds one


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """(number, row with at least `columns`) of a table.

    `.tsv` files (and `.txt`, as MRPC's) have no quoting, as GLUE's: a quote character is text. Numbers are lines as an
    editor shows them (where a quoted field has several, the first), the header being line 1; rows from 1 for parquet.

    A folder of parts is one table, whose rows are counted from 1.

    Raises:
        UserError: the file is damaged, is not UTF-8 or lacks a column, or a row does not fit the header.
    """
    read = {".jsonl": _json_lines, ".parquet": _parquet}.get(path.suffix, read_delimited)
    if not path.is_dir():
        yield from read(path, columns)
        return
    for number, (_, row) in enumerate((row for part in _parts(path) for row in read(part, columns)), start=1):
        yield number, row


def read_delimited(
    path: Path, columns: Sequence[str], header: Sequence[str] | None = None, misfits: list[int] | None = None
) -> Iterator[tuple[int, Row]]:
    """(line, row) of a `.tsv`, `.txt` or `.csv` file, as `read_rows`.

    Args:
        path: the file.
        columns: the columns that it must have.
        header: the names of its columns, if it has no header row.
        misfits: takes the lines of rows with another number of fields than the header, which are then left out; such
            a row is an error otherwise.
    """
    records = _records(path)
    if header is None:
        header = next(records, (0, []))[1]
        if not header:
            raise UserError(f"{path} is empty: it needs a header row")
        if len(set(header)) < len(header):
            raise UserError(f"{path}: two columns of its header have one name: {', '.join(header)}")
    check_columns(str(path), columns, header)
    for line, fields in records:
        if len(fields) == len(header):
            yield line, dict(zip(header, fields))
        elif misfits is not None:
            misfits.append(line)
        elif fields:  # an empty line is no row
            raise UserError(
                f"{path}, row {line}: {len(fields)} fields where the header has {len(header)}; check the delimiter and "
                "the quoting"
            )


def column_names(path: Path) -> list[str]:
    """The columns of a table; of `.jsonl` those of its first row.

    Raises:
        UserError: the file is damaged, is not UTF-8 or is empty.
    """
    path = _parts(path)[0]
    if path.suffix == ".parquet":
        with _open_parquet(path) as file:
            return list(file.schema_arrow.names)
    if path.suffix == ".jsonl":
        return next((list(row) for _, row in _json_lines(path, [])), [])
    return next(_records(path), (0, []))[1]


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, with their ends and without the byte-order mark that Windows puts first.

    Raises:
        UserError: the file is not UTF-8; names the line and the byte.
    """
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8 (line {number}, byte {start + error.start}): convert it, for example with "
                    "`iconv -f latin1 -t utf-8`, and run again"
                ) from error
            yield text.removeprefix("\ufeff") if number == 1 else text
            start += len(line)


def as_text(value: Any, where: str) -> str | None:
    """A cell as text that can be stored: numbers as Python writes them, half a surrogate pair as U+FFFD.

    Raises:
        UserError: the cell is neither text nor a finite number nor empty (None or NaN).
    """
    if value is None or value != value:
        return None
    if isinstance(value, float) and math.isinf(value):
        raise UserError(f"{where}: an infinite number where text is expected")
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise UserError(f"{where}: a {type(value).__name__} where text is expected")
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # JSON can hold "\ud83d", UTF-8 cannot
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def check_columns(where: str, wanted: Sequence[str], found: Sequence[str]) -> None:
    """Check the columns of a table.

    Raises:
        UserError: a wanted column is not among those found.
    """
    for column in wanted:
        if column not in found:
            one = len(found) == 1 and any(mark in found[0] for mark in "\t,;|")
            hint = ", as one: is its delimiter the one that its name promises?" if one else ""
            raise UserError(f"{where}: no column {column!r}; it has {', '.join(map(str, found)) or 'none'}{hint}")


def _parts(path: Path) -> list[Path]:
    parts = table_parts(path)
    if not parts:
        raise UserError(
            f"{path} is a folder without {path.suffix} files: put its parts there, or one file of that name"
        )
    return parts


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line where it starts, fields) of every record, the header included."""
    records = _csv_records(path) if path.suffix == ".csv" else _tsv_records(path)
    for number, (line, fields) in enumerate(records):
        if number == 0 and any("\r" in name for name in fields):
            raise UserError(f"{path}: its header holds carriage returns: end its lines with line feeds")
        yield line, fields


def _tsv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), start=1):
        text = line.rstrip("\r\n")
        yield number, text.split("\t") if text else []


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """A carriage return within a line is text, as pandas writes it; for Python's reader it would be the line's end."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(map(_hide_returns, read_lines(path)), strict=True)
    start = 1
    try:
        for fields in reader:
            yield start, [field.replace(HIDDEN_RETURN, "\r") for field in fields]
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, row {start}: {error}; check the delimiter, the quoting and the line ends") from error


def _hide_returns(line: str) -> str:
    text = line.rstrip("\r\n")
    return text.replace("\r", HIDDEN_RETURN) + line[len(text) :]


def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, row {number}: not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: not a JSON object")
        check_columns(f"{path}, row {number}", columns, list(row))
        yield number, row


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    number = 0
    with _open_parquet(path) as file:
        check_columns(str(path), columns, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=256, columns=list(columns)):
            for row in batch.to_pylist():
                number += 1
                yield number, row


@contextmanager
def _open_parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): download or build it again") from error
