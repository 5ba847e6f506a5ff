"""Pretraining text on disk: shards of documents and a manifest that is written last.

Which part a document goes to depends on its text alone (a hash), so duplicates never straddle training and held-out
text and the split does not depend on the order of the sources.
"""

from __future__ import annotations

import hashlib
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from electralab.config import Corpus
from electralab.data.sources import Source, open_sources
from electralab.errors import UserError
from electralab.files import atomic_write, only_writer, read_json, sha256, write_json
from electralab.progress import print_result

Part = Literal["train", "held_out"]
HASH_BITS = 64
ROWS_PER_READ = 256
FEW = 20  # documents
LONG = 20_000  # characters: more than the articles of any bundled text
BUFFER = 2**25  # characters that wait for their row group, over all shards


def build_corpus(name: str, corpus: Corpus, manifest: Path, downloads: Path) -> None:
    """Read every source once and write the corpus, in memory that does not grow with the text.

    No shard appears before all text has been read. Without its manifest a corpus does not count, and whatever a
    killed run left is replaced.

    Raises:
        UserError: a source cannot be read, there is too little text, or the disk is full.
    """
    folder = manifest.parent
    files = {("held_out", 0): folder / "held_out" / "00000.parquet"}
    files |= {("train", number): folder / "train" / f"{number:05d}.parquet" for number in range(corpus.shards)}
    with only_writer(folder):
        for stale in folder.glob("*/.*.partial"):
            stale.unlink()
        _allow_open_files(len(files))
        with ExitStack() as stack:  # on an error no shard is kept, at its end all are renamed
            buffer = max(2**16, BUFFER // len(files))
            shards = {key: stack.enter_context(_open_shard(path, buffer)) for key, path in files.items()}
            sources, notes = _distribute(corpus, shards, downloads)
            for (part, _), shard in shards.items():
                if shard.documents == 0:
                    remedy = "; ".join(notes) or "add text, or lower shards or raise held_out_fraction"
                    count = sum(source["rows"] for source in sources)
                    raise UserError(f"corpus {name}: no document for {part} ({count} documents in all); {remedy}")
            manifest.unlink(missing_ok=True)
        for path in folder.glob("*/*.parquet"):
            if path not in files.values():  # of an earlier build with more shards
                path.unlink()
        parts: dict[str, list[dict[str, Any]]] = {"train": [], "held_out": []}
        for key, path in files.items():
            parts[key[0]].append({"file": path.name, "sha256": sha256(path), **shards[key].size})
        totals = {key: sum(e[key] for e in parts["train"] + parts["held_out"]) for key in ("documents", "characters")}
        write_json(manifest, {"name": name, "sources": sources, "notes": notes, **parts, **totals})
        print_result(
            f"{totals['documents']:,} documents, {totals['characters'] / 1e6:,.1f} million characters"
            + "".join(f"; {note}" for note in notes)
        )


def iter_documents(manifest: Path, part: Part, shard: int | None = None) -> Iterator[str]:
    """Documents of one part (of one shard of it), in constant memory.

    Raises:
        UserError: a shard is missing or is not the one that was written.
    """
    import pyarrow.parquet as pq

    entries = read_json(manifest)[part]
    for entry in entries if shard is None else [entries[shard]]:
        path = manifest.parent / part / entry["file"]
        if not path.exists() or sha256(path) != entry["sha256"]:
            raise UserError(f"{path} is missing or damaged: delete {manifest} and run the same command again")
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_PER_READ, columns=["text"]):
                yield from batch.column(0).to_pylist()


def corpus_checksum(manifest: Path) -> str:
    """Changes when any document does."""
    content = read_json(manifest)
    digests = [entry["sha256"] for part in ("train", "held_out") for entry in content[part]]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _distribute(
    corpus: Corpus, shards: dict[tuple[str, int], _Shard], downloads: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write every distinct document to its shard; returns the provenance of the sources that were read, and notes."""
    seen = _SeenKeys()
    wanted = corpus.max_documents
    provenances: list[dict[str, Any]] = []
    notes: list[str] = []
    for source in _sources(corpus, downloads):
        rows = characters = 0
        for document in source.documents:
            text = document.strip()
            key = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")
            if not text or not seen.add(key):
                continue
            rows, characters = rows + 1, characters + len(text)
            held_out = key < corpus.held_out_fraction * 2**HASH_BITS
            shards[("held_out", 0) if held_out else ("train", key % corpus.shards)].write(text)
            if seen.count == wanted:
                break
        provenances.append({**source.provenance, "rows": rows, "characters": characters})
        mean = characters / rows if rows else 0
        if source.if_few and rows and (rows < FEW or mean > LONG):
            counted = f"{rows:,} document{'s' if rows > 1 else ''} of {mean:,.0f} characters on average"
            notes.append(f"{source.provenance['name']}: {counted}: {source.if_few}")
        if seen.count == wanted:
            break
    return provenances, notes


def _sources(corpus: Corpus, downloads: Path) -> Iterator[Source]:
    for part in corpus.parts:
        yield from open_sources(part, downloads)


class _SeenKeys:
    """The 64-bit text hashes met so far, in a temporary database that SQLite keeps on disk and removes by itself."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (key INTEGER PRIMARY KEY)")
        self.count = 0

    def add(self, key: int) -> bool:
        """Whether the key is new."""
        signed = key - 2 ** (HASH_BITS - 1)  # SQLite's integers are signed
        try:
            new = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (signed,)).rowcount == 1
        except sqlite3.OperationalError as error:
            raise UserError(
                f"no room for the list of documents ({error}): free some in the temporary folder or set SQLITE_TMPDIR"
            ) from error
        self.count += new
        return new


class _Shard:
    """Documents on their way into a parquet file, a row group at a time."""

    def __init__(self, path: Path, buffer: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([("text", pa.string())])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._buffer = buffer
        self._rows: list[str] = []
        self._waiting = self._characters = self.documents = 0

    @property
    def size(self) -> dict[str, int]:
        """Documents and characters, as the manifest has them."""
        return {"documents": self.documents, "characters": self._characters}

    def write(self, text: str) -> None:
        self._rows.append(text)
        self.documents += 1
        self._characters += len(text)
        self._waiting += len(text)
        if self._waiting >= self._buffer:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.table({"text": self._rows}, schema=self._schema))
        self._rows, self._waiting = [], 0

    def close(self) -> None:
        self._writer.close()


@contextmanager
def _open_shard(path: Path, buffer: int) -> Iterator[_Shard]:
    with atomic_write(path) as temporary:
        shard = _Shard(temporary, buffer)
        try:
            yield shard
            shard.flush()
        finally:
            shard.close()


def _allow_open_files(shards: int) -> None:
    """All shards are written at once; the usual limit is 1,024 files, which a process may raise by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = shards + 128  # libraries, databases and the sources have files open too
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(f"{shards} shards need {needed} open files, the limit is {hard}: lower shards, or ask for more")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
