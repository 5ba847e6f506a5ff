"""What a benchmark asks of a model, whatever runs it, and the batches that it asks with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from electralab.deploy.package import padded
from electralab.deploy.rows import TokenRow
from electralab.deploy.texts import Text

Integers = npt.NDArray[np.int64]
SEED = 0  # of token ids that mean nothing


class Batch(NamedTuple):
    """Rows as every backend takes them, [B, S] int64 each."""

    input_ids: Integers
    attention_mask: Integers
    token_type_ids: Integers

    @property
    def tokens(self) -> int:
        """Real tokens, padding apart."""
        return int(self.attention_mask.sum())


class Model(Protocol):
    """A fine-tuned model on a device, opened by one backend."""

    kernel: str  # what multiplies queries and keys, as far as it was seen to run; "" where nothing can be told
    vocabulary: int
    pad_id: int

    def rows(self, texts: Sequence[Text]) -> list[TokenRow]:
        """Texts as it reads them."""

    def __call__(self, batch: Batch) -> npt.NDArray[Any]:
        """Logits [B, outputs], when they are there and not before."""


def fixed_batch(model: Model, batch_size: int, length: int) -> Batch:
    """Rows of one length without padding, of token ids drawn by a fixed seed."""
    drawn = np.random.default_rng(SEED).integers(model.vocabulary // 2, model.vocabulary, (batch_size, length))
    return Batch(drawn.astype(np.int64), np.ones_like(drawn), np.zeros_like(drawn))


def task_batches(model: Model, texts: Sequence[Text], batch_size: int, arrangement: str, longest: int) -> list[Batch]:
    """Texts of a task in batches.

    Args:
        model: who reads them.
        texts: in the task's order.
        batch_size: rows of a batch.
        arrangement: `padded`: to `longest`, as the rebuilt systems did; `in_order`: to the longest of the batch;
            `sorted`: the same, rows of like length together; `alone`: every row by itself, without padding.
        longest: tokens of a row that is padded.
    """
    rows = model.rows(texts)
    if arrangement == "alone":
        batch_size = 1
    if arrangement == "sorted":
        rows = sorted(rows, key=lambda row: len(row.ids))
    batches = []
    for start in range(0, len(rows), batch_size):
        batch = Batch(*padded(rows[start : start + batch_size], model.pad_id))
        batches.append(_widened(batch, longest, model.pad_id) if arrangement == "padded" else batch)
    return batches


def _widened(batch: Batch, width: int, pad_id: int) -> Batch:
    missing = ((0, 0), (0, max(0, width - batch.input_ids.shape[1])))
    ids, mask, types = batch
    return Batch(np.pad(ids, missing, constant_values=pad_id), np.pad(mask, missing), np.pad(types, missing))
