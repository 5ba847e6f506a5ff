"""A task as token ids, and the order in which its rows are read.

Rows of like length share a batch, because padding costs as much as text: on short sentences this is ten times
cheaper than padding to the maximum. Batches stay random: rows are sorted only within shuffled windows, each a small
part of an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from electralab.data.example import Example
from electralab.deploy.rows import token_row
from electralab.tokens.tokenizer import TextEncoder

Integers = npt.NDArray[np.int64]

WINDOW_BATCHES = 50  # sorted together: wide enough for like lengths
WINDOW_SHARE = 4  # of the rows at most a quarter: sorted whole, an epoch would have the batches of the one before
TUNING_FRACTION = 0.1

# Independent random streams of one seed.
_SAMPLE, _TUNING, _EPOCH = 1, 2, 3


class LabelledBatch(NamedTuple):
    """Rows padded to the longest of them; None = no padding at all, or one segment only."""

    input_ids: Tensor  # [B, S] int64
    attention_mask: Tensor | None  # [B, S] bool
    token_type_ids: Tensor | None  # [B, S] int64
    labels: Tensor  # [B] int64 classes, or float64 scores

    def to(self, device: str) -> LabelledBatch:
        """The batch on another device."""
        mask, types = self.attention_mask, self.token_type_ids
        return LabelledBatch(
            self.input_ids.to(device),
            None if mask is None else mask.to(device),
            None if types is None else types.to(device),
            self.labels.to(device),
        )


@dataclass(frozen=True)
class EncodedExamples:
    """Tokenised rows end to end: `[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`, the pair with token type 1."""

    tokens: Integers  # [total]
    offsets: Integers  # [N + 1]
    first_lengths: Integers  # [N] tokens up to the first [SEP], it included
    labels: npt.NDArray[Any]  # [N] int64 classes or float64 scores; -1 or NaN where there is none
    pad_id: int
    read_first: int = 0  # rows at the start that every epoch begins with

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Integers:
        """Tokens of every row, special tokens included, [N]."""
        return np.diff(self.offsets)

    def batch(self, rows: Integers) -> LabelledBatch:
        """The given rows in the given order, padded to the longest of them."""
        lengths = self.lengths[rows, None]
        position = np.arange(lengths.max())
        real = position < lengths
        index = np.where(real, self.offsets[rows, None] + position, 0)
        second = real & (position >= self.first_lengths[rows, None])
        return LabelledBatch(
            torch.from_numpy(np.where(real, self.tokens[index], self.pad_id)),
            None if real.all() else torch.from_numpy(real),
            torch.from_numpy(second.astype(np.int64)) if second.any() else None,
            torch.from_numpy(self.labels[rows]),
        )


def encode_examples(
    examples: list[Example], tokenizer: TextEncoder, max_length: int, regression: bool = False
) -> EncodedExamples:
    """Tokenise a split once, every row cut to `max_length` tokens (special tokens included, at least 8)."""
    texts = tokenizer.encode([example.text for example in examples])
    with_pair = [index for index, example in enumerate(examples) if example.pair is not None]
    pairs = dict(zip(with_pair, tokenizer.encode([examples[index].pair or "" for index in with_pair])))
    rows = [
        token_row(text, pairs.get(index), tokenizer.cls_id, tokenizer.sep_id, max_length)
        for index, text in enumerate(texts)
    ]
    missing, kind = (np.nan, np.float64) if regression else (-1, np.int64)
    return EncodedExamples(
        tokens=np.fromiter(chain.from_iterable(row.ids for row in rows), np.int64),
        offsets=np.cumsum([0, *(len(row.ids) for row in rows)], dtype=np.int64),
        first_lengths=np.array([row.first_length for row in rows], np.int64),
        labels=np.array([missing if example.label is None else example.label for example in examples], kind),
        pad_id=tokenizer.pad_id,
    )


def sample_examples(examples: list[Example], size: int | None, seed: int) -> list[Example]:
    """A seeded sample without replacement; a smaller sample of the same seed is part of a larger one."""
    if size is None or size >= len(examples):
        return examples
    chosen = np.random.default_rng((seed, _SAMPLE)).permutation(len(examples))[:size]
    return [examples[index] for index in chosen]


def swapped_pairs(examples: list[Example]) -> list[Example]:
    """The same rows with the two texts the other way round (google-research/electra, `double_unordered`)."""
    return [
        example if example.pair is None else example._replace(text=example.pair, pair=example.text)
        for example in examples
    ]


def tuning_split(rows: int, seed: int) -> tuple[Integers, Integers]:
    """Row numbers to train on and to choose hyperparameters on (10 %), disjoint, drawn by seed."""
    order = np.random.default_rng((seed, _TUNING)).permutation(rows)
    held = max(1, round(TUNING_FRACTION * rows))
    return order[held:], order[:held]


def training_batches(
    rows: Integers, lengths: Integers, batch_size: int, seed: int, epoch: int, first: int = 0
) -> list[Integers]:
    """One epoch: every row once, in batches of like length, in an order drawn by seed and epoch.

    Args:
        rows: row numbers to draw from.
        lengths: tokens of every row of the split, indexed by row number.
        first: row numbers below it come first, in batches of their own but for the last, which others fill up.
    """
    generator = np.random.default_rng((seed, _EPOCH, epoch))
    shuffled = generator.permutation(rows)
    window = batch_size * max(1, min(WINDOW_BATCHES, len(rows) // (WINDOW_SHARE * batch_size)))
    shuffled = shuffled[np.argsort(shuffled >= first, kind="stable")]
    start = -(-int((rows < first).sum()) // batch_size) * batch_size
    batches = evaluation_batches(shuffled[:start], lengths, batch_size)
    leading = len(batches)
    for place in range(start, len(shuffled), window):
        batches += evaluation_batches(shuffled[place : place + window], lengths, batch_size)
    order = [generator.permutation(leading), leading + generator.permutation(len(batches) - leading)]
    return [batches[index] for index in np.concatenate(order)]


def evaluation_batches(rows: Integers, lengths: Integers, batch_size: int) -> list[Integers]:
    """Every row once, shortest first; nothing is dropped."""
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
