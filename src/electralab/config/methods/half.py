"""Weights stored in 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import Form, Link


class Half(Link):
    """Weights stored in 16 bits: half the bytes, nearly the same answers."""

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["half"] = "half"
    storage: Literal["fp16", "bf16"] = Field(
        "fp16", description="`fp16` keeps 11 bits of a weight, `bf16` 8 and the range of fp32."
    )
    compute: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="`bf16` multiplies in 16 bits; where the processor does that in software only, the run is skipped.",
    )

    def unsuitable_after(self, before: Sequence[Link]) -> str | None:
        """Once is enough."""
        return "the weights are stored in 16 bits already" if any(isinstance(link, Half) for link in before) else None
