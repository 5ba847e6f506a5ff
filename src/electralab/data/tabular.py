"""Rows of `.tsv`, `.csv`, `.jsonl` and `.parquet` files, in constant memory."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from electralab.errors import UserError

TABLE_SUFFIXES = (".jsonl", ".parquet", ".csv", ".tsv")


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line or row number, row) of a table.

    `.tsv` files have no quoting, as GLUE's: a quote character is text. Numbers are as an editor shows them, the
    header being line 1.

    Raises:
        UserError: the file is damaged, not UTF-8, or a row has more or fewer fields than the header.
    """
    readers = {".tsv": _delimited, ".csv": _delimited, ".jsonl": _json_lines, ".parquet": _parquet}
    try:
        yield from readers[path.suffix](path)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start} of a block): convert it, for example with "
            "`iconv -f latin1 -t utf-8`, and run again"
        ) from error


def _delimited(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(sys.maxsize)
    style: dict[str, Any] = {"delimiter": ","}
    if path.suffix == ".tsv":
        style = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, **style)
        header = next(reader, None)
        if not header:
            raise UserError(f"{path} is empty: it needs a header row")
        for fields in reader:
            if len(fields) != len(header):
                raise UserError(
                    f"{path}, row {reader.line_num}: {len(fields)} fields where the header has {len(header)}; "
                    "check the delimiter and the quoting"
                )
            yield reader.line_num, dict(zip(header, fields))


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, row {number}: not JSON ({error.msg})") from error
            if not isinstance(row, dict):
                raise UserError(f"{path}, row {number}: not a JSON object")
            yield number, row


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): download or build it again") from error
