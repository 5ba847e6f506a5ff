"""What the steps came to, read from the device only when somebody wants to know: reading makes a GPU wait."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from electralab.errors import RunFailed


class Reading(NamedTuple):
    """One optimizer step."""

    step: int
    """Counted from 1."""
    loss: float
    """The weighted sum of the two losses."""
    gradient_norm: float
    """Before clipping."""


class Readings:
    """Loss and gradient norm of the steps since the last reading."""

    def __init__(self) -> None:
        self.latest = Reading(0, math.nan, math.nan)
        self._unread: list[tuple[int, Tensor, Tensor]] = []

    def add(self, step: int, loss: Tensor, gradient_norm: Tensor) -> None:
        """Note a step, counted from 1; both values stay where they are."""
        self._unread.append((step, loss, gradient_norm))

    def read(self) -> list[Reading]:
        """The steps since the last reading.

        Raises:
            RunFailed: a loss or a gradient is not finite.
        """
        if not self._unread:
            return []
        values = torch.stack([torch.stack(pair).float() for _, *pair in self._unread]).tolist()
        read = [Reading(step, *pair) for (step, *_), pair in zip(self._unread, values)]
        self._unread.clear()
        for reading in read:
            for what, value in (("loss", reading.loss), ("gradient", reading.gradient_norm)):
                if not math.isfinite(value):
                    raise RunFailed(f"the {what} is {value} at step {reading.step}")
        self.latest = read[-1]
        return read
