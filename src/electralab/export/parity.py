"""Whether an exported model answers as the artifact that it came from."""

from __future__ import annotations

import string
from pathlib import Path
from typing import NamedTuple

import numpy as np

from electralab.data.example import Example
from electralab.deploy.package import open_deployed
from electralab.deploy.texts import Text
from electralab.errors import UserError
from electralab.methods.opening import open_artifact

LARGEST = 1e-3  # difference of a probability, or of a score in units of its range: runtimes add in other orders
MADE_TEXTS = 32


class Parity(NamedTuple):
    """How two models agree."""

    texts: int
    of_task: int  # of these texts
    same: float | None  # share with the same label; None of a regression
    largest: float  # difference of a probability, or of a score in units of its range

    def __str__(self) -> str:
        """In words."""
        what = "score, in units of its range" if self.same is None else "probability"
        labels = "" if self.same is None else f"{self.same:.1%} of the labels are the same, "
        largest = f"largest difference of a {what} {self.largest:.1g}"
        return f"{self.texts} texts ({self.of_task} of the task): {labels}{largest}"


def check_parity(before: Path, after: Path, rows: list[Example], threads: int) -> Parity:
    """Ask both models the same texts: rows of the task, and made ones of every length.

    Args:
        before: manifest of the artifact.
        after: manifest of what was exported from it.
        rows: of the task, if there are any.
        threads: CPU threads.

    Raises:
        UserError: they differ by more than `LARGEST`.
    """
    manifest, opened = open_artifact(before, "cpu")
    pairs = bool(rows and rows[0].pair is not None) if opened.reads.pairs is None else opened.reads.pairs
    examples = [*rows, *made_texts(opened.reads.max_length, pairs)]
    expected = opened.answer(examples, "cpu", str(before.parent))
    found = open_deployed(after, threads).answer([Text(*example[:3]) for example in examples])
    if manifest.labels:
        same, largest = float((expected.argmax(1) == found.argmax(1)).mean()), np.abs(np.exp(expected) - np.exp(found))
    else:
        low, high = manifest.score_range or (0.0, 1.0)
        same, largest = None, np.abs(expected - found) / (high - low)
    parity = Parity(len(examples), len(rows), same, float(largest.max()))
    if not parity.largest <= LARGEST:
        raise UserError(
            f"{before} is not exported, because what came out of it answers otherwise than the run; {parity} (at most "
            f"{LARGEST:g} is allowed)"
        )
    return parity


def made_texts(max_length: int, pairs: bool) -> list[Example]:
    """Random words, from none to more than are read."""
    generator = np.random.default_rng(0)
    letters = np.array(list(string.ascii_lowercase + string.digits + ".,!?'"))

    def text(words: int) -> str:
        return " ".join("".join(generator.choice(letters, generator.integers(1, 8))) for _ in range(words))

    def pair(words: int) -> str | None:
        return text(int(generator.integers(0, words + 1))) if pairs else None

    lengths = np.linspace(0, 1.5 * max_length, MADE_TEXTS).astype(int)
    return [
        Example(f"made-{n}", text(n), text(int(generator.integers(0, n + 1))) if pairs else None, None) for n in lengths
    ]
