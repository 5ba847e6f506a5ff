"""A vocabulary without the word pieces that a task does not use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import Form, Link


class TrimVocabulary(Link):
    """Only the word pieces of the task's training rows keep an embedding; not lossless, unlike what its size suggests.

    Single characters, with and without `##`, special and added tokens always stay, so that every word still has pieces.
    """

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["trim_vocabulary"] = "trim_vocabulary"
    min_count: Annotated[int, Field(ge=1)] = Field(
        1, description="How often a word piece must occur in the training rows to be kept."
    )

    def unsuitable_after(self, before: Sequence[Link]) -> str | None:
        """The same rows would keep the same pieces."""
        again = any(isinstance(link, TrimVocabulary) for link in before)
        return "the vocabulary is trimmed already" if again else None
