"""Texts that the splits of a task share: a row that was trained on says little when it is scored."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from electralab.data.example import LABELLED, Example

MOST_SHARED = 0.05  # of the rows of a scored split; GLUE's tasks share less


def shared_rows(splits: Mapping[str, Sequence[Example]], unordered: bool) -> dict[str, int]:
    """How many rows of each other split have a text, or both texts of a pair, that a training row has too.

    Args:
        splits: the rows of a task, `train` among them.
        unordered: the order of the two texts means nothing.

    Texts are compared by letters and digits alone: case, punctuation and white space make no other text.
    """
    trained_on = {_compared(example, unordered) for example in splits["train"]}
    return {
        split: sum(_compared(example, unordered) in trained_on for example in examples)
        for split, examples in splits.items()
        if split != "train"
    }


def overlap_notes(shared: Mapping[str, int], splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """A sentence for every split that shares rows with the training rows."""
    return [f"Overlap: {_share(split, shared, splits)}." for split in shared if shared[split]]


def refusal(shared: Mapping[str, int], splits: Mapping[str, Sequence[Example]]) -> str | None:
    """Why a task may not be trained on without a word of its user's; None if its scored splits share little."""
    scored = [split for split in LABELLED if split in shared]
    too_many = [split for split in scored if shared[split] > MOST_SHARED * len(splits[split])]
    if not too_many:
        return None
    return (
        f"{' and '.join(_share(split, shared, splits) for split in too_many)}: a score says little about other texts; "
        "take these rows out of train, or set accept_overlap: true in the task's config and every table will say it"
    )


def _share(split: str, shared: Mapping[str, int], splits: Mapping[str, Sequence[Example]]) -> str:
    rows = len(splits[split])
    return f"{shared[split]:,} of the {rows:,} {split} rows ({shared[split] / rows:.1%}) are also rows of train"


def _compared(example: Example, unordered: bool) -> int:
    texts = [_letters(text) for text in (example.text, example.pair) if text is not None]
    return hash(tuple(sorted(texts) if unordered else texts))


def _letters(text: str) -> str:
    """A text without letter case, punctuation and white space; as it is where nothing else is in it."""
    return text.casefold().translate(_KEPT) or text.strip()


class _Kept(dict[int, str | None]):
    """For `str.translate`: letters, digits and the marks on them stay (Unicode's categories L, N and M)."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        self[code] = character if unicodedata.category(character)[0] in "LNM" else None
        return self[code]


_KEPT = _Kept()
