"""Training batches side by side: the token cache and Hugging Face `datasets`, over the same packed sequences.

    python benchmarks/loader.py --tokens artifacts/tokens/bundled_english/wordpiece_2k/manifest.json --check

One thread each, CPU time, interleaved rounds (A B C A B C ...). The peers read an in-memory `datasets.Dataset` of the
same rows (input_ids, attention_mask) in random order, as lists that a collate function turns into tensors or
`with_format("torch")`; "by row" asks for one row at a time, as a hand-written loop or a wrapping data set does,
"DataLoader" is torch's loader without workers, which asks `datasets` for a whole batch at once. The targets are
against reading by row; the DataLoader's ratios are printed beside them. The last lines set the loader against the
training step of the demo shape (see `pretraining_step.py`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import datasets
import torch
from pretraining_step import SHAPES, electralab_step, make_batch
from torch.utils.data import DataLoader, default_collate

from electralab.tokens.batches import Kind, make_batches
from electralab.tokens.cache import TokenCache

TARGETS = {"lists, by row": 100.0, "torch, by row": 50.0}
LARGEST_SHARE_OF_STEP = 0.01
KINDS: tuple[Kind, ...] = ("packed", "document_window", "sentence_pair")


def huggingface_rows(cache: TokenCache, length: int, rows: int) -> datasets.Dataset:
    """Packed sequences as `datasets` rows."""
    batches = make_batches("packed", cache, length, rows, seed=0)
    input_ids = batches.batch(0).input_ids.tolist()
    return datasets.Dataset.from_dict({"input_ids": input_ids, "attention_mask": [[1] * length] * rows})


def list_collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def loaders(cache: TokenCache, length: int, size: int) -> dict[str, Callable[[], Any]]:
    """Functions that give the next batch."""
    rows = huggingface_rows(cache, length, 4096)
    random = torch.Generator().manual_seed(0)

    def by_row(data: Any, collate: Callable[[Any], Any]) -> Callable[[], Any]:
        return lambda: collate([data[i] for i in torch.randint(len(data), (size,), generator=random).tolist()])

    def by_batch(data: Any, collate: Callable[[Any], Any]) -> Callable[[], Any]:
        batches = endless(DataLoader(data, size, shuffle=True, drop_last=True, collate_fn=collate, generator=random))
        return lambda: next(batches)

    def own(kind: Kind) -> Callable[[], Any]:
        batches = make_batches(kind, cache, length, size, seed=0)
        index = iter(range(sys.maxsize))
        return lambda: batches.batch(next(index))

    return {
        **{kind: own(kind) for kind in KINDS},
        "lists, by row": by_row(rows, list_collate),
        "torch, by row": by_row(rows.with_format("torch"), default_collate),
        "lists, DataLoader": by_batch(rows, list_collate),
        "torch, DataLoader": by_batch(rows.with_format("torch"), default_collate),
    }


def seconds_each(work: Callable[[], Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def measure(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds per batch, by round; round -1 warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(-1, rounds):
        for name, next_batch in work.items():
            value = seconds_each(next_batch, 128 if name in KINDS else 4)
            if number >= 0:
                seconds[name].append(value)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, required=True, help="manifest.json of a token cache")
    parser.add_argument("--sequence-length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--check", action="store_true", help=f"exit 1 unless packed reaches {TARGETS}")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    length, size = arguments.sequence_length, arguments.batch_size

    cache = TokenCache(arguments.tokens, "train")
    versions = {name: metadata.version(name) for name in ("datasets", "torch")}
    print(f"{cache.tokens} tokens, batches of {size} x {length}, 1 thread, CPU seconds")
    print(f"{versions}, load average {os.getloadavg()}")
    seconds = measure(loaders(cache, length, size), arguments.rounds)
    ratios = {}
    for name, values in seconds.items():
        by_round = [peer / own for peer, own in zip(values, seconds["packed"])]
        ratios[name] = statistics.median(by_round)
        rate = size * length / statistics.median(values) / 1e6
        print(
            f"  {name:<18} {statistics.median(values) * 1e3:9.3f} ms {rate:8.2f} M tokens/s"
            f"   packed is {ratios[name]:6.1f}x as fast (rounds {min(by_round):.1f} to {max(by_round):.1f})"
        )
    for kind in KINDS:
        fraction = make_batches(kind, cache, length, size, seed=0).real_token_fraction
        print(f"  {kind}: {fraction:.1%} of the positions are tokens, the others padding")

    shape = SHAPES["demo"]
    step, ids = electralab_step(shape), make_batch(shape, seed=0)
    seconds_each(lambda: step(ids), 1)
    packed = make_batches("packed", cache, shape.sequence_length, shape.batch_size, seed=0)
    index = iter(range(sys.maxsize))
    load = statistics.median(seconds_each(lambda: packed.batch(next(index)), 256) for _ in range(5))
    train = statistics.median(seconds_each(lambda: step(ids), 1) for _ in range(5))
    share = load / train
    print(f"demo step {train * 1e3:.0f} ms, its batch {load * 1e3:.3f} ms: {share:.3%} of the step")
    print(f"load average after: {os.getloadavg()}")

    if arguments.check:
        missed = [f"{name} {ratios[name]:.1f}x, target {target}x" for name, target in TARGETS.items()]
        missed = [text for text, (name, target) in zip(missed, TARGETS.items()) if ratios[name] < target]
        missed += [f"loader {share:.2%} of a step"] if share > LARGEST_SHARE_OF_STEP else []
        if missed:
            sys.exit("FAILED: " + "; ".join(missed))
        print("all targets met: " + ", ".join(f"{name} >= {target}x" for name, target in TARGETS.items()))


if __name__ == "__main__":
    main()
