"""One shard of a token cache: what a worker process does.

A shard is three files. `00000.tokens.bin` holds uint16 ids: every document's tokens followed by one separator, so that
a packed training sequence is one slice. `00000.offsets.bin` holds int64 positions in it: where each document starts,
and the end. `00000.json`, written last, says what they were made from and their checksums: a shard is only ever
trusted through it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from array import array
from dataclasses import asdict, dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from electralab.errors import UserError
from electralab.files import atomic_write, read_json, sha256, write_json

FORMAT = 1
COUNT_BLOCK = 2**24

Part = Literal["train", "held_out"]
Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ShardTask:
    """One shard to write: pickled to a worker.

    Attributes:
        corpus_manifest: the corpus.
        part: `train` or `held_out`.
        number: which of the part's shards.
        corpus_sha256: checksum of the corpus shard.
        tokenizer_json: the tokenizer.
        tokenizer_sha256: its checksum.
        folder: the cache's folder of this part.
    """

    corpus_manifest: Path
    part: Part
    number: int
    corpus_sha256: str
    tokenizer_json: Path
    tokenizer_sha256: str
    folder: Path

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the shard's content depends on."""
        return {"format": FORMAT, "corpus_sha256": self.corpus_sha256, "tokenizer_sha256": self.tokenizer_sha256}

    def path(self, kind: str) -> Path:
        """`tokens.bin`, `offsets.bin` or `json` of this shard."""
        return self.folder / f"{self.number:05d}.{kind}"


@dataclass(frozen=True)
class Shard:
    """A finished shard. `tokens` counts text tokens: the file also holds one separator per document."""

    file: str
    tokens: int
    documents: int
    tokens_sha256: str
    offsets_sha256: str


def ensure_shard(task: ShardTask, vocab_size: int, sep_id: int) -> tuple[Shard, Counts]:
    """Write a shard unless it is already there, whole and made from the same inputs.

    Returns:
        The shard and how often each id occurs in its text, int64 [V].
    """
    shard = _finished(task)
    if shard is None:
        for leftover in task.folder.glob(f".{task.number:05d}.*.partial"):
            leftover.unlink(missing_ok=True)
        shard = _write(task)
    counts = np.zeros(vocab_size, np.int64)
    if shard.documents:
        stream = np.memmap(task.path("tokens.bin"), "<u2", "r")
        for start in range(0, len(stream), COUNT_BLOCK):
            counts += np.bincount(stream[start : start + COUNT_BLOCK], minlength=vocab_size)
        counts[sep_id] -= shard.documents  # the separators are not text
    return shard, counts


def end_with_parent() -> None:
    """Let a worker die with the process that started it, even when that one is killed and cannot say so."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            connection.wait([parent.sentinel])
            os._exit(1)

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process per core already
    threading.Thread(target=watch, daemon=True).start()


def _finished(task: ShardTask) -> Shard | None:
    try:
        sidecar = read_json(task.path("json"))
        shard = Shard(**sidecar["shard"])
        if sidecar["made_from"] == task.fingerprint and _checksums(task) == (shard.tokens_sha256, shard.offsets_sha256):
            return shard
    except (UserError, OSError, KeyError, TypeError):
        return None  # missing, damaged or half written: it is written again
    return None


def _checksums(task: ShardTask) -> tuple[str, str]:
    return sha256(task.path("tokens.bin")), sha256(task.path("offsets.bin"))


class _HashedFile:
    """A binary file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _write(task: ShardTask) -> Shard:
    from electralab.data.corpora import iter_documents
    from electralab.tokens.tokenizer import load_tokenizer

    encoder = load_tokenizer(task.tokenizer_json)
    separator = np.array([encoder.sep_id], "<u2").tobytes()
    documents = 0
    task.path("json").unlink(missing_ok=True)
    with (
        atomic_write(task.path("tokens.bin")) as tokens_path,
        atomic_write(task.path("offsets.bin")) as offsets_path,
        tokens_path.open("wb", buffering=2**20) as tokens_file,
        offsets_path.open("wb", buffering=2**20) as offsets_file,
    ):
        tokens, offsets = _HashedFile(tokens_file), _HashedFile(offsets_file)
        offsets.write(array("q", [0]).tobytes())
        for text in iter_documents(task.corpus_manifest, task.part, task.number):
            ids = encoder.encode_packed(text)
            if ids:
                tokens.write(ids + separator)
                offsets.write(array("q", [tokens.size // 2]).tobytes())
                documents += 1
    shard = Shard(task.path("tokens.bin").name, tokens.size // 2 - documents, documents, tokens.sha256, offsets.sha256)
    write_json(task.path("json"), {"made_from": task.fingerprint, "shard": asdict(shard)})
    return shard
