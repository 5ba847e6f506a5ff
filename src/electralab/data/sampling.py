"""A sample of what is too long to be held."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def reservoir(items: Iterable[T], count: int, rng: random.Random) -> list[T]:
    """Up to `count` items in random order, each as likely as any other (reservoir sampling)."""
    kept: list[T] = []
    for number, item in enumerate(items):
        place = rng.randint(0, number)
        if len(kept) < count:
            kept.append(item)
            kept[place], kept[-1] = kept[-1], kept[place]
        elif place < count:
            kept[place] = item
    return kept
