"""What every method is given and what it gives back: the contract of `methods/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from electralab.artifacts import Left
from electralab.data.example import Example
from electralab.data.models import DECODERS
from electralab.data.tasks import TaskData
from electralab.files import read_json
from electralab.finetune.metrics import Floats
from electralab.model_files import CONFIG
from electralab.specs import RunSpec, weights_folder


@dataclass(frozen=True)
class Job:
    """One run, its task read and its folder there."""

    spec: RunSpec
    data: TaskData
    start: Path | None
    """Vouches for what it starts from: the record of a pretraining, the manifest of a downloaded model or of the
    artifact that the link before left; None for an untrained model and for methods without a model."""
    tokenizer: Path | None
    """`tokenizer.json` of the model; None where an artifact brings its own, and without a model."""
    folder: Path
    device: str
    threads: int
    after_epoch: Callable[[int, float], None] | None = None
    """Called with the number of every finished epoch but the last, from 1 over all learning rates, and the score."""
    teacher: Path | None = None
    """The manifest of what a teacher left."""
    corpus: Path | None = None
    """The manifest of text that is mixed into the training rows."""

    @property
    def weights(self) -> Path:
        """The Hugging Face directory that it starts from."""
        assert self.start is not None, "an untrained model has none"
        return weights_folder(self.spec, self.start)

    @property
    def starts_from_decoder(self) -> bool:
        """Whether the model that it starts from is a causal language model."""
        return self.start is not None and read_json(self.weights / CONFIG).get("model_type") in DECODERS

    @property
    def artifact(self) -> Path:
        """Where the method leaves its artifact."""
        return self.folder / "model"


@dataclass(frozen=True)
class Outcome:
    """What a method came to: how it answers, what that cost, and what it left."""

    answer: Callable[[list[Example]], Floats]
    """[N] examples to log-probabilities [N, classes], or to the scores [N] of a regression."""
    scored: TaskData
    """The rows to answer and to score."""
    left: Left
    metrics: dict[str, float]
    parameters: dict[str, int]
    checksums: dict[str, str]
    """Of what was read beside the task."""
    peaks: dict[str, int] = field(default_factory=dict)
    """`records.peak_bytes` when the method's own work was done; without it, when the run was."""
    tokens: int | None = None
    """Read in training; None where nothing reads tokens."""
    notes: list[str] = field(default_factory=list)
    mnli_validation: Literal["matched", "matched_and_mismatched"] = "matched"


Method = Callable[[Job], Outcome]
