"""Training batches sliced from the token cache. Batch i is a function of (seed, i): resuming needs nothing but i.

Shapes: B sequences of S tokens. Only numpy and torch are imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from electralab.errors import UserError
from electralab.tokens.cache import TokenCache
from electralab.tokens.shuffle import draw, shuffled, uniform

Kind = Literal["packed", "document_window", "sentence_pair"]
Array = np.ndarray[Any, Any]

SINGLE_SEGMENT_PROBABILITY = 0.1  # google-research/electra, build_pretraining_dataset.py
SHORT_EXAMPLE_PROBABILITY = 0.05
SHORTEST_EXAMPLE = 5
EXAMPLES_TO_MEASURE = 4096
EXAMPLES_TO_PLAN = 8192


class Batch(NamedTuple):
    """One batch on the CPU.

    Attributes:
        input_ids: [B, S] int64.
        attention_mask: [B, S] bool, True for real tokens; None where nothing is ever padded.
        token_type_ids: [B, S] int64; None where every token is of type 0.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    token_type_ids: torch.Tensor | None


class Batches(ABC):
    """An endless sequence of batches: shuffled epochs, each in an order of its own, one after the other.

    Args:
        cache: one part of a token cache.
        sequence_length: S.
        batch_size: B, sequences per batch (per micro-batch, where gradients are accumulated).
        seed: of the order and of every random choice.

    Raises:
        UserError: the cache holds less than one sequence.
    """

    def __init__(self, cache: TokenCache, sequence_length: int, batch_size: int, seed: int) -> None:
        self.cache = cache
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.seed = seed
        per_shard = [self._examples_in(shard) for shard in range(len(cache.streams))]
        self._first_example = np.cumsum([0, *per_shard])
        self.examples = int(self._first_example[-1])
        self._batches_per_plan = max(1, EXAMPLES_TO_PLAN // batch_size)
        self._planned = -1
        if not self.examples:
            raise UserError(
                f"the {cache.part} part of the token cache has {cache.tokens} tokens, less than one sequence of "
                f"{sequence_length}: use a larger corpus or a shorter sequence_length"
            )

    def batch(self, index: int) -> Batch:
        """Batch number `index` (0, 1, ...), whatever was asked for before."""
        plan, place = divmod(index, self._batches_per_plan)
        if plan != self._planned:
            self._make_plan(plan)
        return self._assemble(slice(place * self.batch_size, (place + 1) * self.batch_size))

    def _make_plan(self, plan: int) -> None:
        """Draw the examples of the next batches: NumPy's cost per call is shared by 8,192 examples."""
        count = self._batches_per_plan * self.batch_size
        self._position = np.arange(plan * count, (plan + 1) * count, dtype=np.uint64)
        example = shuffled(self._position, self.examples, self.seed).astype(np.int64)
        self._shard = np.searchsorted(self._first_example, example, "right") - 1
        self._example = example - self._first_example[self._shard]
        self._planned = plan

    @property
    def epoch_batches(self) -> float:
        """Batches per epoch; not a whole number where an epoch ends inside a batch."""
        return self.examples / self.batch_size

    @property
    def real_token_fraction(self) -> float:
        """Share of the positions that are not padding, measured on the first 4,096 examples (or one epoch)."""
        batches = max(1, min(self.examples, EXAMPLES_TO_MEASURE) // self.batch_size)
        masks = [self.batch(index).attention_mask for index in range(batches)]
        return float(np.mean([1.0 if mask is None else mask.float().mean().item() for mask in masks]))

    @abstractmethod
    def _examples_in(self, shard: int) -> int:
        """How many examples an epoch takes from a shard."""

    @abstractmethod
    def _assemble(self, rows: slice) -> Batch:
        """The batch of these rows of the plan: shard, example within the shard, position that keys random draws."""


class StreamBatches(Batches):
    """Examples that tile the streams: each is S - `special_tokens` tokens, from where the one before it ends."""

    special_tokens: int

    @property
    def _width(self) -> int:
        return self.sequence_length - self.special_tokens

    def _examples_in(self, shard: int) -> int:
        return len(self.cache.streams[shard]) // self._width

    def _make_plan(self, plan: int) -> None:
        super()._make_plan(plan)
        self._tiles = np.empty((len(self._shard), self._width), np.uint16)
        for shard, stream in enumerate(self.cache.streams):
            rows = np.flatnonzero(self._shard == shard)
            count = self._examples_in(shard)
            self._tiles[rows] = stream[: count * self._width].reshape(count, self._width)[self._example[rows]]


class PackedBatches(StreamBatches):
    """Documents end to end: [CLS], then S - 1 tokens of the stream, in which [SEP] ends every document.

    Every token of the cache is in exactly one sequence of an epoch, but for the last S - 2 or fewer of a shard.
    """

    special_tokens = 1

    def _assemble(self, rows: slice) -> Batch:
        input_ids = np.empty((self.batch_size, self.sequence_length), np.int64)
        input_ids[:, 0] = self.cache.cls_id
        input_ids[:, 1:] = self._tiles[rows]
        return Batch(torch.from_numpy(input_ids), None, None)


class DocumentWindowBatches(Batches):
    """RC2020's dynamic segment: [CLS], up to S - 2 tokens of one document from a random offset, [SEP], padding.

    cccwam/rc2020_electra, features_document_electra.py: an epoch holds one window of every document. (There the last
    window of a document is never drawn, an off-by-one; here it is.)
    """

    def _examples_in(self, shard: int) -> int:
        return len(self.cache.offsets[shard]) - 1

    def _assemble(self, rows: slice) -> Batch:
        cache, width = self.cache, self.sequence_length - 2
        input_ids = np.full((self.batch_size, self.sequence_length), cache.pad_id, np.int64)
        lengths = np.empty((self.batch_size, 1), np.int64)
        draws = uniform(draw(self.seed, 1, self._position[rows])).tolist()
        documents = zip(self._shard[rows].tolist(), self._example[rows].tolist(), draws)
        for row, (number, document, offset) in enumerate(documents):
            start, end = cache.offsets[number][document : document + 2].tolist()
            length = end - start - 1  # without the separator
            start += int(offset * (max(0, length - width) + 1))
            length = min(length, width)
            input_ids[row, 1 : length + 1] = cache.streams[number][start : start + length]
            input_ids[row, length + 1] = cache.sep_id
            lengths[row] = length + 2
        input_ids[:, 0] = cache.cls_id
        mask = np.arange(self.sequence_length) < lengths
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(mask), None)


class SentencePairBatches(StreamBatches):
    """Google's A/B segments: [CLS] A [SEP] B [SEP], types 0 and 1 (google-research/electra,
    build_pretraining_dataset.py, with the OpenWebText setting that documents follow each other).

    An example is S - 2 tokens of the stream. It ends early at the first sentence end after a target length, which is
    random in 5 % of the examples; 10 % of the examples have A only. Google's example starts with a line and loses what
    goes beyond S; here the examples tile the stream and sentences end at `.`, `!`, `?` or the end of a document, so
    that any example can be built alone.
    """

    special_tokens = 2

    def _assemble(self, rows: slice) -> Batch:
        cache, length = self.cache, self.sequence_length
        windows = self._tiles[rows]
        ends = np.isin(windows, [*cache.sentence_end_ids, cache.sep_id])
        input_ids = np.full((self.batch_size, length), cache.pad_id, np.int64)
        input_ids[:, 0] = cache.cls_id
        token_type_ids = np.zeros_like(input_ids)
        lengths = np.empty((self.batch_size, 1), np.int64)
        for row, (target, first_target, may_overflow) in enumerate(self._choices(rows)):
            sentences = _sentences(windows[row], ends[row], cache.sep_id, target)
            first, second = _segments(sentences, first_target, may_overflow)
            second = second[: max(0, length - len(first) - 3)]
            text = [*first, cache.sep_id, *second, cache.sep_id] if second else [*first, cache.sep_id]
            lengths[row] = used = len(text) + 1
            input_ids[row, 1:used] = text
            token_type_ids[row, len(first) + 2 : used] = 1
        mask = np.arange(length) < lengths
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(mask), torch.from_numpy(token_type_ids))

    def _choices(self, rows: slice) -> Iterator[tuple[int, int, bool]]:
        """Per example: its target length, the target length of A, and whether a sentence may make A overflow."""
        single, short, target, coin = (uniform(draw(self.seed, i, self._position[rows])) for i in range(1, 5))
        length = self.sequence_length
        random_targets = SHORTEST_EXAMPLE + (target * (length - SHORTEST_EXAMPLE + 1)).astype(np.int64)
        targets = np.where(short < SHORT_EXAMPLE_PROBABILITY, random_targets, length)
        first_targets = np.where(single < SINGLE_SEGMENT_PROBABILITY, length, (targets - 3) // 2)
        return zip(targets.tolist(), first_targets.tolist(), (coin < 0.5).tolist())


def _sentences(window: Array, ends: Array, sep_id: int, target: int) -> list[list[int]]:
    """Cut a window at its sentence ends, drop the separators, stop when `target` tokens are reached."""
    sentences, start, total = [], 0, 0
    for end in [*(np.flatnonzero(ends) + 1).tolist(), len(window)]:
        sentence = window[start:end].tolist()
        if sentence and sentence[-1] == sep_id:
            sentence.pop()
        start = end
        if sentence:
            sentences.append(sentence)
            total += len(sentence)
        if total >= target:
            break
    return sentences


def _segments(sentences: list[list[int]], first_target: int, may_overflow: bool) -> tuple[list[int], list[int]]:
    """Google's split: a sentence joins A if A is empty, if it fits, or (once, by a coin) if it makes A overflow."""
    first: list[int] = []
    second: list[int] = []
    for sentence in sentences:
        fits = len(first) + len(sentence) < first_target
        overflows = not second and len(first) < first_target and may_overflow
        (first if not first or fits or overflows else second).extend(sentence)
    return first, second


def make_batches(kind: Kind, cache: TokenCache, sequence_length: int, batch_size: int, seed: int) -> Batches:
    """Batches of one kind from one part of a token cache (arguments and errors: see `Batches`)."""
    kinds: dict[str, type[Batches]] = {
        "packed": PackedBatches,
        "document_window": DocumentWindowBatches,
        "sentence_pair": SentencePairBatches,
    }
    return kinds[kind](cache, sequence_length, batch_size, seed)
