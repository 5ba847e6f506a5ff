"""Rows of another text among the training rows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from electralab.config.base import Name, Strict


class Mixing(Strict):
    """Lines of a corpus that are trained on too, with the labels that a teacher gives them."""

    mix_corpus: Name | None = Field(
        None, description="The corpus whose training text is mixed in, labelled by the teacher. Without one: none is."
    )
    mix_share: Annotated[float, Field(gt=0, le=10)] = Field(
        0.05, description="Lines that are mixed in, as a share of the training rows; rounded up."
    )
    mix_lines: Literal["random", "first"] = Field("random", description="Which lines: drawn by seed, or the first.")
    mix_order: Literal["random", "old_first"] = Field(
        "random", description="`random`: among the others; `old_first`: an epoch begins with them."
    )
