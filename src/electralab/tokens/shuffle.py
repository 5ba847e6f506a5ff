"""Counter-based randomness: a random number or a shuffled position is a function of its index and nothing else.

Resuming at batch n then needs n alone, and an epoch over billions of sequences needs no stored permutation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint64]]
FEISTEL_ROUNDS = 4  # enough for a pseudo-random permutation (Luby and Rackoff, 1988)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def scramble(words: Words) -> Words:
    """SplitMix64's finalizer (Steele, Lea and Flood, 2014): 64 well-mixed bits from each 64-bit word."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def draw(seed: int, stream: int, index: Words) -> Words:
    """64 random bits for every index; `stream` keeps uses of the same seed and index apart."""
    key = scramble(scramble(np.array([seed % 2**64, stream], np.uint64) + _GOLDEN)).sum(dtype=np.uint64)
    return scramble(scramble(index * _GOLDEN + key) + key)


def uniform(bits: Words) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random bits to floats in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(position: Words, length: int, seed: int) -> Words:
    """The element of [0, length) at a position of an endless sequence of shuffled epochs.

    Positions [e * length, (e + 1) * length) hold every element once, in an order of their own for each epoch e.
    A Feistel network over the mixed-radix digits (left, right) of the position, left < rows and right < columns;
    the few results outside [0, length) are sent through it again (cycle walking; Black and Rogaway, 2002).
    """
    columns = math.isqrt(length - 1) + 1
    rows = -(-length // columns)
    epoch, element = np.divmod(position, np.uint64(length))
    key = draw(seed, 0, epoch)
    element = _feistel(element, key, rows, columns)
    while (outside := element >= length).any():
        element[outside] = _feistel(element[outside], key[outside], rows, columns)
    return element


def _feistel(element: Words, key: Words, rows: int, columns: int) -> Words:
    left, right = np.divmod(element, np.uint64(columns))
    for _ in range(FEISTEL_ROUNDS // 2):
        left = (left + scramble(right + key) % np.uint64(rows)) % np.uint64(rows)
        key = key + _GOLDEN
        right = (right + scramble(left + key) % np.uint64(columns)) % np.uint64(columns)
        key = key + _GOLDEN
    return left * np.uint64(columns) + right
