"""What a task is made of."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """A labelled text or pair of texts; `label` is a number in the task's list of labels."""

    id: str
    text: str
    pair: str | None
    label: int
