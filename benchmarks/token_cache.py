"""Text to token cache side by side: the word-cached encoder and `encode_batch` of `tokenizers`, on a real corpus.

    python benchmarks/token_cache.py --corpus artifacts/corpora/bundled_english/manifest.json \\
        --tokenizer artifacts/tokenizers/wordpiece_2k/tokenizer.json --check

One thread each, CPU time, interleaved rounds (A B C A B C ...). Every round starts the encoder with an empty memory
("cold"); "warm" encodes the same text again. The peer is timed for `encode_batch` alone, without bringing its ids into
the cache's format. Before anything is timed, the ids of the whole text are compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer

from electralab.data.corpora import iter_documents
from electralab.tokens.fast_wordpiece import FastWordPiece, pack, supports

TARGET = 2.5
LARGEST_CACHE_SHARE = 0.5  # bytes per byte of text, for vocabularies of 8,000 and more
PEER_BATCH = 256


def read_text(corpus: Path, megabytes: float) -> list[str]:
    documents: list[str] = []
    size = 0
    for document in iter_documents(corpus, "train"):
        documents.append(document)
        size += len(document.encode())
        if size >= megabytes * 1e6:
            break
    return documents


def read_tokenizer(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    if not supports(tokenizer):
        sys.exit(f"{path} is not BERT's WordPiece: there is nothing to compare")
    return tokenizer


def encode_batch(tokenizer: Tokenizer, documents: list[str]) -> list[Any]:
    encodings = []
    for start in range(0, len(documents), PEER_BATCH):
        encodings += tokenizer.encode_batch(documents[start : start + PEER_BATCH], add_special_tokens=False)
    return encodings


def check_equality(tokenizer: Tokenizer, documents: list[str]) -> int:
    """Compare all ids; returns the bytes of the cache."""
    encoder = FastWordPiece(tokenizer)
    size = 0
    for start in range(0, len(documents), PEER_BATCH):
        block = documents[start : start + PEER_BATCH]
        for document, encoding in zip(block, encode_batch(tokenizer, block)):
            ids = encoder.encode(document)
            size += len(ids) + 2 + 8  # separator and document offset
            if ids != pack(encoding.ids):
                sys.exit(f"FAILED: the ids of this document differ: {document[:200]!r}")
    print(f"ids of {len(documents)} documents are equal to those of `tokenizers`")
    return size


def measure(tokenizer: Tokenizer, documents: list[str], rounds: int) -> dict[str, list[float]]:
    def clock(work: Callable[[], Any]) -> float:
        start = time.process_time()
        result = work()
        seconds = time.process_time() - start
        del result
        return seconds

    seconds: dict[str, list[float]] = {"encode_batch": [], "cold": [], "warm": []}
    for _ in range(rounds):
        seconds["encode_batch"].append(clock(lambda: encode_batch(tokenizer, documents)))
        encoder = FastWordPiece(tokenizer)
        for name in ("cold", "warm"):
            seconds[name].append(clock(lambda encoder=encoder: [encoder.encode(document) for document in documents]))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="manifest.json of a corpus")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json of a WordPiece tokenizer")
    parser.add_argument("--megabytes", type=float, default=20.0, help="text to encode")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help=f"exit 1 unless cold is {TARGET}x encode_batch")
    arguments = parser.parse_args()

    documents = read_text(arguments.corpus, arguments.megabytes)
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    tokenizer = read_tokenizer(arguments.tokenizer)
    print(f"{megabytes:.1f} MB, vocabulary {tokenizer.get_vocab_size()}, 1 thread, CPU seconds")
    print(f"tokenizers {metadata.version('tokenizers')}, Python {platform.python_version()}, load {os.getloadavg()}")
    share = check_equality(tokenizer, documents) / (megabytes * 1e6)
    print(f"token cache: {share:.3f} bytes per byte of text")

    seconds = measure(tokenizer, documents, arguments.rounds)
    ratios = {}
    for name, values in seconds.items():
        by_round = [peer / own for peer, own in zip(seconds["encode_batch"], values)]
        ratios[name] = statistics.median(by_round)
        print(
            f"  {name:<13} {megabytes / min(values):7.2f} MB/s best, "
            f"{megabytes / statistics.median(values):7.2f} median"
            f"   {ratios[name]:5.2f}x (rounds {min(by_round):.2f} to {max(by_round):.2f})"
        )
    print(f"load average after: {os.getloadavg()}")
    if arguments.check:
        if ratios["cold"] < TARGET:
            sys.exit(f"FAILED: cold {ratios['cold']:.2f}x, target {TARGET}x")
        if tokenizer.get_vocab_size() >= 8000 and share > LARGEST_CACHE_SHARE:
            sys.exit(f"FAILED: the cache takes {share:.3f} bytes per byte of text, target {LARGEST_CACHE_SHARE}")
        print("all targets met")


if __name__ == "__main__":
    main()
