"""Training that also listens to a teacher."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from electralab.config.base import Name, Positive, Strict

Share = Annotated[float, Field(ge=0, le=1)]


class Taught(Strict):
    """A loss of labels, and of what a teacher says of the same rows (Hinton et al. 2015)."""

    teacher: list[Name] = Field(
        [],
        description="The chain of methods whose run on the same task and seed is the teacher, `[full]`: a fine-tuned "
        "encoder, run first if it has not been. Without one labels alone are trained on.",
    )
    teacher_model: str | None = Field(
        None, description="The teacher's model, where it is another one: with the same tokenizer."
    )
    distillation_alpha: Share = Field(0.5, description="Weight of the teacher; labels have the rest.")
    temperature: Positive = Field(
        2.0, description="Of the probabilities that are compared; the loss is times its square."
    )
