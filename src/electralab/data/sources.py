"""One interface over package, hub and local text: documents, and where they came from."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electralab.config import HubText, LocalText, PackageText
from electralab.data.bundled import open_text
from electralab.data.hub import stream_rows
from electralab.data.tabular import TABLE_SUFFIXES, as_text, read_lines, read_rows
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
        provenance: dict[str, Any] = {
            "source": "hub",
            "name": part.repository,
            "version_or_revision": part.revision,
            "sha256": None,
            "licence": part.licence,
        }
        yield Source(_hub_documents(part), provenance)
    else:
        paths = _matching(part.path)
        provenance = {
            "source": "local",
            "name": part.path,
            "version_or_revision": None,
            "sha256": files_checksum(paths),
            "licence": part.licence,
            "files": len(paths),
        }
        yield Source((text for path in paths for text in _local_documents(path, part.text_column)), provenance)


def files_checksum(paths: Sequence[Path]) -> str:
    """SHA-256 of a file; of several files, of their SHA-256 one below the other."""
    if len(paths) == 1:
        return sha256(paths[0])
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{sha256(path)}\n".encode())
    return digest.hexdigest()


def _hub_documents(part: HubText) -> Iterator[str]:
    rows = stream_rows(part.repository, part.configuration, part.split, part.revision, [part.text_column])
    for number, row in rows:
        yield as_text(row[part.text_column], f"{part.repository}, row {number}, column {part.text_column!r}") or ""


def _matching(pattern: str) -> list[Path]:
    root = Path(pattern)
    found = root.rglob("*") if root.is_dir() else map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
    paths = sorted(path for path in found if path.suffix in (".txt", *TABLE_SUFFIXES))
    if not paths:
        raise UserError(f"{pattern}: no .txt, {', '.join(TABLE_SUFFIXES)} file there; check `path` of this corpus")
    return paths


def _local_documents(path: Path, column: str) -> Iterator[str]:
    if path.suffix == ".txt":
        yield "".join(read_lines(path)).replace("\r\n", "\n")
        return
    for number, row in read_rows(path, [column]):
        yield as_text(row[column], f"{path}, row {number}, column {column!r}") or ""
