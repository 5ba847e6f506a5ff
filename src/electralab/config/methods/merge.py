"""An adapter folded into the weights that it adapts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from electralab.config.methods.adapters import Adapter
from electralab.config.methods.link import Form, Link


class Merge(Link):
    """An adapter becomes a plain Hugging Face model, which needs no PEFT."""

    opens: ClassVar[frozenset[Form]] = frozenset({"adapter"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["merge"] = "merge"

    def unsuitable_after(self, before: Sequence[Link]) -> str | None:
        """Some adapters cannot be merged exactly."""
        last = before[-1]
        return last.cannot_merge if isinstance(last, Adapter) else None
