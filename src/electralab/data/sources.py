"""One interface over package, hub and local text: documents, and where they came from."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electralab.config import HubText, LocalText, PackageText
from electralab.data.bundled import open_text
from electralab.data.hub import stream_rows
from electralab.data.tabular import TABLE_SUFFIXES, read_rows
from electralab.errors import UserError
from electralab.files import sha256


@dataclass(frozen=True)
class Source:
    """Documents to be read once, and their provenance (rows and characters are added when they have been read)."""

    documents: Iterator[str]
    provenance: dict[str, Any]


def open_sources(part: PackageText | HubText | LocalText, downloads: Path) -> Iterator[Source]:
    """The sources of one part of a corpus.

    Raises:
        UserError: nothing matches, the network or the data set is not there, a column is missing, or a file is not
            UTF-8.
    """
    if isinstance(part, PackageText):
        for name in part.datasets:
            yield Source(*open_text(name, downloads))
    elif isinstance(part, HubText):
        provenance = {
            "source": "hub",
            "name": part.repository,
            "version_or_revision": part.revision,
            "sha256": None,
            "licence": part.licence,
        }
        yield Source(_hub_documents(part), provenance)
    else:
        yield from _local_sources(part)


def _hub_documents(part: HubText) -> Iterator[str]:
    rows = stream_rows(part.repository, part.configuration, part.split, part.revision, [part.text_column])
    for row in rows:
        yield str(row[part.text_column])


def _local_sources(part: LocalText) -> Iterator[Source]:
    root = Path(part.path)
    found = root.rglob("*") if root.is_dir() else map(Path, glob.glob(part.path, recursive=True))  # noqa: PTH207
    paths = sorted(path for path in found if path.suffix in (".txt", *TABLE_SUFFIXES))
    if not paths:
        raise UserError(f"{part.path}: no .txt, {', '.join(TABLE_SUFFIXES)} file there; check `path` of this corpus")
    for path in paths:
        provenance = {
            "source": "local",
            "name": str(path),
            "version_or_revision": None,
            "sha256": sha256(path),
            "licence": part.licence,
        }
        yield Source(_local_documents(path, part.text_column), provenance)


def _local_documents(path: Path, column: str) -> Iterator[str]:
    if path.suffix == ".txt":
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 (byte {error.start}): convert it, for example with "
                f"`iconv -f latin1 -t utf-8`, and run again"
            ) from error
        return
    for number, row in read_rows(path):
        if column not in row:
            raise UserError(f"{path}, row {number}: no column {column!r}; it has {', '.join(row)}")
        yield str(row[column] or "")
