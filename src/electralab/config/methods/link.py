"""What every method declares about its place in a chain, so that a chain that cannot work is refused before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from electralab.config.base import Strict

# What stands between two links: no model at all, a model before fine-tuning, a plain fine-tuned model, an adapter
# beside its base, a Hugging Face model with weights in few bits, or a graph of another runtime.
Form = Literal["nothing", "pretrained", "huggingface", "adapter", "low_bit", "onnx", "openvino"]
FEW_BITS: frozenset[Form] = frozenset({"low_bit", "onnx", "openvino"})  # nothing follows these


class Link(Strict):
    """One method of a chain."""

    opens: ClassVar[frozenset[Form]]
    leaves: ClassVar[Form | None]

    @property
    def no_artifact(self) -> str | None:
        """Why these settings leave no artifact although others of the kind do; None if they leave one."""
        return None

    def unsuitable_after(self, before: Sequence[Link]) -> str | None:  # noqa: ARG002
        """Why this cannot follow these links, as far as settings tell; `before` is never empty."""
        return None
