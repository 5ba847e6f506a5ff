"""One interface over package, hub and local text: documents, and where they came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from electralab.config import HubText, LocalText, PackageText
from electralab.config.local import TEXT_SUFFIXES, text_files
from electralab.data.bundled import open_text
from electralab.data.hub import FetchedFile, HubSplit
from electralab.deploy.tabular import as_text, read_lines, read_rows
from electralab.errors import UserError
from electralab.files import files_checksum
from electralab.progress import Progress

WHOLE_FILES = "a .txt is one document: `documents: blank_line` parts it at blank lines, a .jsonl has one a line"


@dataclass(frozen=True)
class Source:
    """Documents to be read once, and their provenance (rows and characters are added when they have been read).

    `if_few` is what to know where they are few or longer than documents are.
    """

    documents: Iterator[str]
    provenance: dict[str, Any]
    if_few: str | None = None


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
        yield from _hub_sources(part)
    else:
        paths = _matching(part.path)
        provenance: dict[str, Any] = {
            "source": "local",
            "name": part.path,
            "version_or_revision": None,
            "sha256": files_checksum(paths),
            "licence": part.licence,
            "files": len(paths),
            "linked_files": sum(path.is_symlink() for path in paths),
        }
        whole = part.documents == "file" and any(path.suffix == ".txt" for path in paths)
        documents = (text for path in paths for text in _local_documents(path, part))
        yield Source(documents, provenance, WHOLE_FILES if whole else None)


def _hub_sources(part: HubText) -> Iterator[Source]:
    """A source for every file of the split, downloaded when its turn comes."""
    files = HubSplit(part.repository, part.configuration, part.split, part.revision).files()
    with Progress(f"{part.repository} {part.split}", len(files), unit="file") as progress:
        for number, file in enumerate(files, start=1):
            fetched = file.fetch()
            provenance = {
                "source": "hub",
                "name": part.repository,
                "file": file.name,
                "version_or_revision": part.revision,
                "sha256": fetched.sha256,
                "licence": part.licence,
            }
            yield Source(_hub_documents(fetched, part.text_column), provenance)
            progress.update(number)


def _hub_documents(file: FetchedFile, column: str) -> Iterator[str]:
    for number, row in enumerate(file.rows([column]), start=1):
        yield as_text(row[column], f"{file.path}, row {number}, column {column!r}") or ""


def _matching(pattern: str) -> list[Path]:
    paths = text_files(pattern)
    if not paths:
        hint = "; in a glob, [[] stands for [" if "[" in pattern else ""
        raise UserError(f"{pattern}: no {', '.join(TEXT_SUFFIXES)} file there; check `path` of this corpus{hint}")
    return paths


def _local_documents(path: Path, part: LocalText) -> Iterator[str]:
    if path.suffix == ".txt":
        lines = (line.replace("\r\n", "\n") for line in read_lines(path))
        yield from _blocks(lines) if part.documents == "blank_line" else ["".join(lines)]
        return
    column = part.text_column
    for number, row in read_rows(path, [column]):
        yield as_text(row[column], f"{path}, row {number}, column {column!r}") or ""


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """What blank lines part."""
    for blank, block in groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            yield "".join(block)
