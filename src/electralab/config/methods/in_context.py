"""Answers from a prompt, without training."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import Form, Link
from electralab.config.methods.training import ANSWERS, Answers


class InContext(Link):
    """A decoder answers from a prompt with solved examples in it; nothing is trained."""

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained", "huggingface", "adapter"})
    leaves: ClassVar[Form | None] = None

    kind: Literal["in_context"] = "in_context"
    shots: Annotated[int, Field(ge=0)] = Field(0, description="Solved training examples in the prompt, drawn by seed.")
    max_length: Annotated[int, Field(ge=8)] = Field(1024, description="Longest prompt in tokens; longer ones are cut.")
    max_validation_rows: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Score a seeded sample of the validation rows."
    )
    mnli_validation: Literal["matched", "matched_and_mismatched"] = Field(
        "matched", description="Rows behind the score of MNLI."
    )
    answers: Answers = Field("label_words", description=ANSWERS)
    storage: Literal["fp32", "bf16", "nf4", "fp4", "int8"] = Field(
        "fp32", description="How the weights are stored: large decoders fit into a GPU in few bits alone."
    )
    double_quantization: bool = Field(True, description="Quantize the scales too (4-bit only).")
