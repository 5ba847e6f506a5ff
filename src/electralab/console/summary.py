"""The most important sentences of an experiment: the answers that its tables begin with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

LONGEST = 240  # characters


def answers(tables: Path, order: Iterable[str]) -> list[str]:
    """The answer of every table that has one, in this order: the first sentence below its title.

    What is longer than a sentence to be read in a terminal is none.
    """
    found = []
    for name in order:
        try:
            text = (tables / f"{name}.md").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        below_title = re.sub(r"\A#[^\n]*\n+", "", text)
        first = re.split(r"\n\n|\n- ", below_title, maxsplit=1)[0]  # a paragraph, or the first item of a list
        paragraph = " ".join(first.removeprefix("- ").split())
        if paragraph and paragraph[0] not in "|#<![`":
            found.append(re.split(r"(?<=[.!?]) (?=[A-Z*])", paragraph.replace("**", ""), maxsplit=1)[0])
    return [sentence for sentence in dict.fromkeys(found) if len(sentence) <= LONGEST]  # two pages may begin alike
