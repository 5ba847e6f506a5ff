"""How token ids of a text, or of a pair of texts, become the row that a model reads: one way, in training and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

EVALUATION_BATCH_SIZE = 128


class TokenRow(NamedTuple):
    """`[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`; what follows the first [SEP] has token type 1."""

    ids: list[int]
    first_length: int  # tokens up to the first [SEP], it included


def token_row(text: Sequence[int], pair: Sequence[int] | None, cls: int, sep: int, max_length: int) -> TokenRow:
    """Put ids, which hold no special tokens, into a row of at most `max_length` tokens (at least 8), special ones
    included."""
    if pair is None:
        ids = [cls, *text[: max_length - 2], sep]
        return TokenRow(ids, len(ids))
    first, second = pair_lengths(len(text), len(pair), max_length - 3)
    return TokenRow([cls, *text[:first], sep, *pair[:second], sep], first + 2)


def pair_lengths(text: int, pair: int, budget: int) -> tuple[int, int]:
    """Lengths after dropping tokens one by one from the end of the longer text, or of the pair when they are equal.

    Source: google-research/bert, `_truncate_seq_pair`.
    """
    half = budget // 2
    if text + pair <= budget:
        return text, pair
    if pair <= half:
        return budget - pair, pair
    if text <= budget - half:
        return text, budget - text
    return budget - half, half
