"""The errors that a user is meant to see, each told in one line, and how they suggest a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the config, the data or the machine.

    The message says what is wrong, where, and what to do, in one line, also where it quotes several. The command line
    prints it without a traceback (unless ``--debug``) and exits 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(r"\s*[\n\r]\s*", " ", message))


class RunFailed(UserError):  # noqa: N818 - it names what became of a run
    """A run that came to nothing by itself: it diverged, or its memory was full.

    It becomes a record with the status `failed` and this reason; other runs go on.
    """


class Unsuitable(UserError):  # noqa: N818
    """A method that cannot be run here: it does not suit its model or task, or a library or device is missing.

    It becomes a record with the status `skipped` and this reason; other runs go on.
    """


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'tiny'?` for a name that is close to an allowed one, or nothing."""
    nearest = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
