"""The token cache: a corpus as flat files of uint16 ids, written shard by shard, read memory-mapped."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from electralab.errors import UserError
from electralab.files import atomic_write, read_json, sha256, write_json
from electralab.progress import print_result
from electralab.tokens.shards import FORMAT, Part, Shard, ShardTask, end_with_parent, ensure_shard

if TYPE_CHECKING:
    from electralab.tokens.tokenizer import TextEncoder

Ids = np.ndarray[Any, np.dtype[np.uint16]]
Offsets = np.ndarray[Any, np.dtype[np.int64]]
PARTS: tuple[Part, ...] = ("train", "held_out")
UNIGRAM_COUNTS = "unigram_counts.npy"
MANY = 0.01  # of the tokens, unknown: English WordPiece leaves next to none
SENTENCE_ENDS = [".", "!", "?"]


def build_cache(corpus_manifest: Path, tokenizer_json: Path, manifest: Path, workers: int) -> None:
    """Write a corpus as a token cache, one shard per task, `manifest` last.

    A shard that is already whole and made from the same corpus shard and tokenizer is kept, so the command can be
    killed and run again; the result is the same bytes whatever the number of workers.

    Raises:
        UserError: the corpus, the tokenizer or the disk is at fault, or a worker was killed.
    """
    from electralab.data.corpora import corpus_checksum
    from electralab.tokens.tokenizer import load_tokenizer

    encoder = load_tokenizer(tokenizer_json)
    corpus = read_json(corpus_manifest)
    tasks = [
        ShardTask(
            corpus_manifest=corpus_manifest,
            part=part,
            number=number,
            corpus_sha256=entry["sha256"],
            tokenizer_json=tokenizer_json,
            tokenizer_sha256=encoder.checksum,
            folder=manifest.parent / part,
        )
        for part in PARTS
        for number, entry in enumerate(corpus[part])
    ]
    manifest.unlink(missing_ok=True)
    finished = _run(tasks, encoder, workers)

    shards = {part: [asdict(shard) for task, (shard, _) in zip(tasks, finished) if task.part == part] for part in PARTS}
    counts = np.zeros(encoder.vocab_size, np.int64)
    for task, (_, shard_counts) in zip(tasks, finished):
        if task.part == "train":
            counts += shard_counts
    with atomic_write(manifest.with_name(UNIGRAM_COUNTS)) as temporary, temporary.open("wb") as file:
        np.save(file, counts)
    unknown = float(counts[encoder.unk_id] / max(1, counts.sum()))
    ends = [ids[0] for ids in encoder.encode(SENTENCE_ENDS) if len(ids) == 1 and ids[0] != encoder.unk_id]
    write_json(
        manifest,
        {
            "format": FORMAT,
            "corpus_checksum": corpus_checksum(corpus_manifest),
            "tokenizer_checksum": encoder.checksum,
            "vocab_size": encoder.vocab_size,
            "pad_id": encoder.pad_id,
            "unk_id": encoder.unk_id,
            "cls_id": encoder.cls_id,
            "sep_id": encoder.sep_id,
            "mask_id": encoder.mask_id,
            "special_ids": encoder.special_ids,
            "sentence_end_ids": ends,
            "unigram_counts": {"file": UNIGRAM_COUNTS, "sha256": sha256(manifest.with_name(UNIGRAM_COUNTS))},
            "documents": sum(shard["documents"] for part in PARTS for shard in shards[part]),
            "tokens": sum(shard["tokens"] for part in PARTS for shard in shards[part]),
            "unknown_share": unknown,
            **shards,
        },
    )
    warning = ": the vocabulary lacks characters or words of this text, which nobody learns" * (unknown > MANY)
    print_result(f"{counts.sum() / 1e6:,.1f} million training tokens, {unknown:.2%} of them [UNK]{warning}")


def _run(tasks: list[ShardTask], encoder: TextEncoder, workers: int) -> list[tuple[Shard, Offsets]]:
    # A fresh interpreter per worker: forking a process that already has threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, min(workers, len(tasks))), context, end_with_parent) as pool:
        futures = [pool.submit(ensure_shard, task, encoder.vocab_size, encoder.sep_id) for task in tasks]
        try:
            return [_result(task, future) for task, future in zip(tasks, futures)]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _result(task: ShardTask, future: Future[tuple[Shard, Offsets]]) -> tuple[Shard, Offsets]:
    where = f"{task.part} shard {task.number} of {task.corpus_manifest}"
    try:
        return future.result()
    except UserError:
        raise
    except BrokenProcessPool as error:
        raise UserError(
            f"a worker was killed while tokenizing {where} (out of memory?): run the same command again, "
            "with fewer workers if memory is short; finished shards are kept"
        ) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"cannot tokenize {where}: {reason}; finished shards are kept") from error


class TokenCache:
    """One part of a token cache, memory-mapped: the memory it needs does not grow with the corpus.

    Attributes:
        streams: per shard the uint16 ids, every document followed by one separator.
        offsets: per shard the int64 start of every document in its stream, and the end.
        tokens, documents: text tokens (separators not counted) and documents in this part.
        vocab_size, pad_id, unk_id, cls_id, sep_id, mask_id, special_ids: of the tokenizer.
        sentence_end_ids: ids of `.`, `!` and `?`.
        checksum: changes when any token of this part does.

    Raises:
        UserError: a file is missing, truncated or damaged, or holds ids that the tokenizer does not have.
    """

    def __init__(self, manifest: Path, part: Part) -> None:
        content = read_json(manifest)
        try:
            if content["format"] != FORMAT:
                raise UserError(
                    f"{manifest} has format {content['format']}, not {FORMAT}: delete it and build it again"
                )
            self.vocab_size: int = content["vocab_size"]
            self.pad_id: int = content["pad_id"]
            self.unk_id: int = content["unk_id"]
            self.cls_id: int = content["cls_id"]
            self.sep_id: int = content["sep_id"]
            self.mask_id: int = content["mask_id"]
            self.special_ids: list[int] = content["special_ids"]
            self.sentence_end_ids: list[int] = content["sentence_end_ids"]
            self.corpus_checksum: str = content["corpus_checksum"]
            self.tokenizer_checksum: str = content["tokenizer_checksum"]
            self._unigram_counts: dict[str, str] = content["unigram_counts"]
            shards = [Shard(**entry) for entry in content[part]]
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{manifest} is not a token cache manifest ({error}): delete it and build it again"
            ) from error
        self._manifest = manifest
        self.part = part
        self.tokens = sum(shard.tokens for shard in shards)
        self.documents = sum(shard.documents for shard in shards)
        folder = manifest.parent / part
        self.streams: list[Ids] = []
        self.offsets: list[Offsets] = []
        for shard in shards:
            name = shard.file.removesuffix("tokens.bin")
            length = shard.tokens + shard.documents
            self.streams.append(self._open(folder / shard.file, "<u2", length, shard.tokens_sha256))
            offsets = folder / f"{name}offsets.bin"
            self.offsets.append(self._open(offsets, "<i8", shard.documents + 1, shard.offsets_sha256))
            if length and int(self.streams[-1].max()) >= self.vocab_size:
                raise UserError(f"{folder / shard.file} holds ids beyond the vocabulary: {self._remedy}")
        self._first_document = np.cumsum([0, *(shard.documents for shard in shards)])
        identity = [self.tokenizer_checksum, *([shard.tokens_sha256, shard.offsets_sha256] for shard in shards)]
        self.checksum = hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def document(self, number: int) -> Ids:
        """The ids of one document, without its separator (a view of the file)."""
        if not 0 <= number < self.documents:
            raise IndexError(f"document {number} of {self.documents}")
        shard = int(np.searchsorted(self._first_document, number, "right")) - 1
        start, end = self.offsets[shard][number - self._first_document[shard] :][:2]
        return self.streams[shard][start : end - 1]

    def unigram_counts(self) -> Offsets:
        """How often each id occurs in the training text, int64 [V] (special tokens 0, but for [UNK]).

        Raises:
            UserError: the file is missing or damaged.
        """
        path = self._manifest.with_name(self._unigram_counts["file"])
        if not path.exists() or sha256(path) != self._unigram_counts["sha256"]:
            raise UserError(f"{path} is missing or damaged: {self._remedy}")
        counts: Offsets = np.load(path)
        return counts

    def check_tokenizer(self, tokenizer_json: Path) -> None:
        """Raise UserError unless the cache was made with this tokenizer."""
        if sha256(tokenizer_json) != self.tokenizer_checksum:
            raise UserError(f"{self._manifest} was made with another tokenizer than {tokenizer_json}: {self._remedy}")

    def _open(self, path: Path, dtype: str, length: int, checksum: str) -> Any:
        expected = length * np.dtype(dtype).itemsize
        size = path.stat().st_size if path.exists() else 0
        if size != expected:
            raise UserError(f"{path} has {size} bytes instead of {expected}: {self._remedy}")
        if sha256(path) != checksum:  # seconds for gigabytes, and training reads them all anyway
            raise UserError(f"{path} was changed since it was written (another checksum): {self._remedy}")
        # A plain view: slicing a memmap object costs several times the copy of a training sequence.
        return np.asarray(np.memmap(path, dtype, "r")) if length else np.empty(0, dtype)

    @property
    def _remedy(self) -> str:
        return f"delete {self._manifest} and run the same command again; whole shards are kept"
