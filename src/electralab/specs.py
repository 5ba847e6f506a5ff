"""What one run is told, in full: a job gets its spec as JSON, and a record keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from electralab.config import WATCHING, DownloadedModel, Initialization, Method, Pretraining, Retention, Shape, Strict
from electralab.names import NO_MODEL, chain_name, snapshot_in


class PretrainSpec(Strict):
    """One pretraining run: a model name, one generator size, one seed and the recipe."""

    model: str
    generator_size: float
    seed: int
    settings: Pretraining

    @property
    def decides_weights(self) -> str:
        """Canonical JSON of what decides the weights beside the data, whatever that is called."""
        named = ("corpus", "tokenizer", "start_from", "start_generator_from", "generator_sizes", "seeds")
        settings = {
            key: value for key, value in self.settings.without_defaults().items() if key not in (*WATCHING, *named)
        }
        return json.dumps([self.generator_size, self.seed, settings], sort_keys=True)

    def watched(self, watching: str) -> PretrainSpec:
        """The same run, watched and kept in another way: JSON of keys of `config.WATCHING`."""
        settings = Pretraining.model_validate({**self.settings.without_defaults(), **json.loads(watching)})
        return self.model_copy(update={"settings": settings})


class RandomInit(Strict):
    """How to draw a discriminator that was never trained."""

    shape: Shape
    initialization: Initialization
    sequence_length: int


class RunSpec(Strict):
    """One run on a task: the last link of a chain. What the links before it left comes as an artifact."""

    model: str
    task: str
    chain: list[str] = Field(min_length=1, description="Names of methods, in their order.")
    seed: int
    settings: Method = Field(description="Of the last link.")
    random_init: RandomInit | None = Field(None, description="Set when the model is the untrained control.")
    downloaded: DownloadedModel | None = Field(None, description="Set when the model was not pretrained here.")
    snapshot: float | None = Field(None, description="Share of the pretraining's steps, where it is not the whole run.")
    extensions: list[str] = Field([], description="Departures from the paper in the model's pretraining.")
    pretraining_recipe: str | None = Field(None, description="None when the model was not pretrained here.")
    scored_on: Literal["validation", "tuning"] = Field(
        "validation", description="`tuning`: a trial of a search, which sees no validation row."
    )

    @property
    def method(self) -> str:
        """The chain as one name."""
        return chain_name(self.chain)

    @property
    def title(self) -> str:
        """What the run is called while it runs, and in errors."""
        if self.model == NO_MODEL:
            return f"{self.method} on {self.task}, seed {self.seed}"
        return f"{self.model} on {self.task}, {self.method}, seed {self.seed}"


class RetentionSpec(Strict):
    """One measurement of what is left of pretraining: in a run, or in the model before any."""

    name: str
    model: str
    task: str | None = Field(None, description="None: the pretrained model itself.")
    method: str | None = Field(None, description="The chain of methods, joined by `+`.")
    seed: int = Field(description="Of the run; of the pretraining where there is no run.")
    settings: Retention
    downloaded: DownloadedModel | None = Field(None, description="Set when the model was not pretrained here.")
    snapshot: float | None = Field(None, description="Share of the pretraining's steps, where it is not the whole run.")

    @property
    def title(self) -> str:
        """What the measurement is called while it runs, and in errors."""
        of = f"{self.model} on {self.task}, {self.method}, seed {self.seed}" if self.task else self.model
        return f"retention {self.name} of {of}"


def weights_folder(spec: RunSpec | RetentionSpec, start: Path) -> Path:
    """The Hugging Face directory that the record of a pretraining or the manifest of a downloaded model vouches for."""
    if spec.downloaded is not None:
        return start.parent
    if spec.snapshot is not None:
        return start.parent / snapshot_in(spec.snapshot)
    return start.parent / "discriminator"
