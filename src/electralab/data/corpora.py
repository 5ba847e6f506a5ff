"""Pretraining text on disk: shards of documents and a manifest that is written last.

Which part a document goes to depends on its text alone (a hash), so duplicates never straddle training and held-out
text and the split does not depend on the order of the sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from electralab.config import Corpus
from electralab.data.sources import open_sources
from electralab.errors import UserError
from electralab.files import atomic_write, read_json, sha256, write_json

Part = Literal["train", "held_out"]
ROWS_PER_GROUP = 1000
HASH_BITS = 64


def build_corpus(name: str, corpus: Corpus, manifest: Path, downloads: Path) -> None:
    """Read every source once and write the corpus.

    A run that was killed leaves only temporary files, which the next run replaces.

    Raises:
        UserError: a source cannot be read, or there is too little text.
    """
    folder = manifest.parent
    writers = {("held_out", 0): _Shard(folder / "held_out" / "00000.parquet")}
    writers |= {("train", i): _Shard(folder / "train" / f"{i:05d}.parquet") for i in range(corpus.shards)}
    try:
        sources = _distribute(corpus, writers, downloads)
        for (part, _), writer in writers.items():
            if writer.documents == 0:
                raise UserError(
                    f"corpus {name}: no document for {part} ({sum(s['rows'] for s in sources)} documents in all); "
                    "add text, or lower shards or raise held_out_fraction"
                )
        parts: dict[str, list[dict[str, Any]]] = {"train": [], "held_out": []}
        for (part, _), writer in writers.items():
            parts[part].append(writer.finish())
    finally:
        for writer in writers.values():
            writer.discard()
    entries = parts["train"] + parts["held_out"]
    totals = {key: sum(entry[key] for entry in entries) for key in ("documents", "characters")}
    write_json(manifest, {"name": name, "sources": sources, **parts, **totals})


def iter_documents(manifest: Path, part: Part, shard: int | None = None) -> Iterator[str]:
    """Documents of one part (of one shard of it), in constant memory.

    Raises:
        UserError: a shard is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    entries = read_json(manifest)[part]
    for entry in entries if shard is None else [entries[shard]]:
        path = manifest.parent / part / entry["file"]
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=["text"]):
                    yield from batch.column(0).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path} is damaged ({reason}): delete {manifest} and run the same command again"
            ) from error


def corpus_checksum(manifest: Path) -> str:
    """Changes when any document does."""
    content = read_json(manifest)
    digests = [entry["sha256"] for part in ("train", "held_out") for entry in content[part]]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _distribute(corpus: Corpus, writers: dict[tuple[str, int], _Shard], downloads: Path) -> list[dict[str, Any]]:
    seen: set[int] = set()
    provenances = []
    for part in corpus.parts:
        for source in open_sources(part, downloads):
            rows = characters = 0
            for document in source.documents:
                text = document.strip()
                key = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
                if not text or key in seen:
                    continue
                if corpus.max_documents is not None and len(seen) >= corpus.max_documents:
                    break
                seen.add(key)
                rows, characters = rows + 1, characters + len(text)
                held_out = key < corpus.held_out_fraction * 2**HASH_BITS
                writers[("held_out", 0) if held_out else ("train", key % corpus.shards)].write(text)
            provenances.append({**source.provenance, "rows": rows, "characters": characters})
    return provenances


class _Shard:
    """A parquet file that appears under its name only when it is complete."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self._context = atomic_write(path)
        self._temporary = self._context.__enter__()
        self._schema = pa.schema([("text", pa.string())])
        self._writer = pq.ParquetWriter(self._temporary, self._schema, compression="zstd")
        self._rows: list[str] = []
        self._open = True
        self.documents = self.characters = 0

    def write(self, text: str) -> None:
        self._rows.append(text)
        self.documents += 1
        self.characters += len(text)
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def finish(self) -> dict[str, Any]:
        self._flush()
        self._writer.close()
        self._open = False
        self._context.__exit__(None, None, None)
        return {
            "file": self._path.name,
            "sha256": sha256(self._path),
            "documents": self.documents,
            "characters": self.characters,
        }

    def discard(self) -> None:
        """Drop the temporary file of a shard that was not finished."""
        if self._open:
            self._open = False
            self._writer.close()
            self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.table({"text": self._rows}, schema=self._schema))
            self._rows = []
