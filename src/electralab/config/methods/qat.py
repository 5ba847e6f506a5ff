"""A model trained with quantization in the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from electralab.config.methods.full import WholeTraining
from electralab.config.methods.link import Form, Link
from electralab.config.methods.quantization import PER_CHANNEL, SCOPE, Scope, rounded_already


class Qat(WholeTraining):
    """Training that sees the rounding of weights and activations, and an ONNX graph in 8 bits that rounds likewise.

    First in a chain it is a fine-tuning; after one, it goes on from the fine-tuned model, whose head and pooling it
    keeps.
    """

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained", "huggingface"})
    leaves: ClassVar[Form | None] = "onnx"

    kind: Literal["qat"] = "qat"
    recipe: Literal["fixed", "as_published"] = Field(
        "fixed",
        description="`fixed`: training sees every rounding; `as_published`: it sees none, because the ranges are only "
        "watched (efficient ELECTRA): post-training quantization by another name.",
    )
    scope: Scope = Field("all", description=SCOPE)
    per_channel: bool = Field(True, description=PER_CHANNEL)

    def unsuitable_after(self, before: Sequence[Link]) -> str | None:
        """Weights are rounded once."""
        return rounded_already(before)
