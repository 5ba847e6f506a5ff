"""A small corpus on disk for the token tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_corpus(folder: Path, train: list[list[str]], held_out: list[list[str]]) -> Path:
    """Write parquet shards of documents and their manifest; returns the manifest."""
    everything = [*train, *held_out]
    manifest: dict[str, object] = {
        "name": "fixture",
        "sources": [],
        "documents": sum(map(len, everything)),
        "characters": sum(len(text) for documents in everything for text in documents),
    }
    for part, shards in (("train", train), ("held_out", held_out)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        manifest[part] = [_write_shard(folder, part, number, documents) for number, documents in enumerate(shards)]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json"


def _write_shard(folder: Path, part: str, number: int, documents: list[str]) -> dict[str, object]:
    path = folder / part / f"{number:05d}.parquet"
    pq.write_table(pa.table({"text": pa.array(documents, pa.string())}), path, compression="zstd")
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "documents": len(documents),
        "characters": sum(map(len, documents)),
    }
