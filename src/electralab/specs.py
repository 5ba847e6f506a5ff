"""What one run is told, in full: a job gets its spec as JSON, and a record keeps it."""

from __future__ import annotations

from pydantic import Field

from electralab.config import (
    DownloadedModel,
    FinetuningMethod,
    Initialization,
    Pretraining,
    Shape,
    Strict,
    TfidfBaseline,
)


class PretrainSpec(Strict):
    """One pretraining run: a model name, one generator size, one seed and the recipe."""

    model: str
    generator_size: float
    seed: int
    settings: Pretraining


class RandomInit(Strict):
    """How to draw a discriminator that was never trained."""

    shape: Shape
    initialization: Initialization
    sequence_length: int


class FinetuneSpec(Strict):
    """One fine-tuning run."""

    model: str
    task: str
    method: str
    seed: int
    settings: FinetuningMethod
    random_init: RandomInit | None = Field(None, description="Set when the model is the untrained control.")
    downloaded: DownloadedModel | None = Field(None, description="Set when the model was not pretrained here.")
    snapshot: float | None = Field(None, description="Share of the pretraining's steps, where it is not the whole run.")
    extensions: list[str]
    pretraining_recipe: str | None = Field(description="None when the model was not pretrained here.")

    @property
    def title(self) -> str:
        """What the run is called while it runs, and in errors."""
        return f"{self.model} on {self.task}, {self.method}, seed {self.seed}"


class BaselineSpec(Strict):
    """One baseline run."""

    task: str
    method: str
    settings: TfidfBaseline
