"""The files that a pretraining reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Inputs(NamedTuple):
    """Paths; the last two only of a pretraining that goes on from given weights."""

    tokens: Path
    """Manifest of the token cache."""
    tokenizer: Path
    """The `tokenizer.json` that made the cache."""
    start: Path | None = None
    """What vouches for the weights: the record of a pretraining, or the manifest of a downloaded discriminator."""
    start_generator: Path | None = None
    """Manifest of the generator that goes with a downloaded discriminator, where there is one."""
