"""A smaller encoder that is trained under a fine-tuned one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from electralab.config.base import Strict
from electralab.config.methods.distillation import Taught
from electralab.config.methods.full import WholeTraining
from electralab.config.methods.link import Form
from electralab.config.pretraining import Initialization, Shape

LayerNumber = Annotated[int, Field(ge=0)]


class CopiedStudent(Strict):
    """Some layers of a model that is there, with its embeddings."""

    start: Literal["teacher", "pretrained", "generator"] = Field(
        description="Whose: `teacher`: the fine-tuned teacher's, with its head and pooling; `pretrained`: of the model "
        "that the chain begins with; `generator`: of the generator that was pretrained with it."
    )
    layers: list[LayerNumber] = Field(
        min_length=1, description="Their numbers, from 0 at the embeddings, in the order that the student has them."
    )
    intermediate_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Feed-forward neurons that every layer keeps: those with the largest weights in and out."
    )

    @property
    def depth(self) -> int:
        """How many layers it has."""
        return len(self.layers)


class RandomStudent(Strict):
    """A network that is drawn by the run's seed."""

    start: Literal["random"] = Field(description="Drawn anew: no layer is copied.")
    shape: Shape = Field(description="Its sizes; the vocabulary is that of the chain's model.")
    initialization: Initialization = Field("normal", description="Its initial values, as those of a pretraining.")

    @property
    def depth(self) -> int:
        """How many layers it has."""
        return self.shape.layers


class Distil(Taught, WholeTraining):
    """A student with fewer layers, neurons or dimensions than its teacher, all of it trained (TinyBERT, Jiao 2020)."""

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["distil"] = "distil"
    student: Annotated[CopiedStudent | RandomStudent, Field(discriminator="start")] = Field(
        description="What is trained."
    )
    hidden_weight: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="Weight of the squared distance between the student's hidden states, projected, and the teacher's; "
        "0 is off. With 0 here and `distillation_alpha: 0` it is the same student fine-tuned alone.",
    )
    layer_map: Literal["uniform"] | list[LayerNumber] = Field(
        "uniform",
        description="Which layer of the teacher each of the student's learns to give, by their numbers from 0; "
        "`uniform`: of n, every n-th, up to the last. Embeddings learn from embeddings.",
    )

    @property
    def is_taught(self) -> bool:
        """Whether a loss asks the teacher."""
        return self.distillation_alpha > 0 or self.hidden_weight > 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """There is a teacher where one is needed, and a layer of it for each of the student's."""
        if not self.teacher and self.is_taught:
            raise ValueError(
                "nobody teaches: give teacher, a chain of methods as [full], or set distillation_alpha and "
                "hidden_weight to 0 for the student alone"
            )
        if not self.teacher and self.student.start == "teacher":
            raise ValueError("student.start teacher copies layers of a teacher: give teacher, a chain of methods")
        if isinstance(self.student, RandomStudent) and self.max_length > self.student.shape.max_positions:
            raise ValueError(
                f"max_length {self.max_length} is longer than student.shape.max_positions "
                f"{self.student.shape.max_positions}: change one of them"
            )
        if self.layer_map != "uniform" and len(self.layer_map) != self.student.depth:
            raise ValueError(
                f"layer_map has {len(self.layer_map)} layers of the teacher for the student's {self.student.depth}: "
                "give one for each"
            )
        return self
