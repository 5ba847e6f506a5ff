"""The one error a user is meant to see, and how it suggests a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the config, the data or the machine, told in one line.

    The message says what is wrong, where, and what to do. The command line prints it without a traceback
    (unless ``--debug``) and exits 1.
    """


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'tiny'?` for a name that is close to an allowed one, or nothing."""
    nearest = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
