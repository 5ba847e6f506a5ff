"""How a method makes a model for a task, and what it keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import nn

from electralab.config import FullFinetuning
from electralab.data.example import Example
from electralab.electra.encoder import Encoder
from electralab.finetune.encoder.classifier import Classifier, save_classifier, with_dropout
from electralab.finetune.examples import EncodedExamples, encode_examples
from electralab.finetune.inference import inference_seconds
from electralab.finetune.objective import Objective
from electralab.finetune.trained_model import TrainedModel
from electralab.tokens.tokenizer import TextEncoder


class Kept(NamedTuple):
    """What an approach measured of a trained model, and its numbers of parameters."""

    metrics: dict[str, float]
    parameters: dict[str, int]
    notes: list[str]


class Approach(Protocol):
    """The part of a run that depends on the kind of model and method."""

    source: str  # checksum of the weights that it starts from, or how they were drawn
    tokenizer: str  # checksum

    def encode(self, examples: list[Example], regression: bool, /) -> EncodedExamples:
        """Examples as token ids."""

    def fresh(self, steps: int, /) -> TrainedModel:
        """A model that nothing has trained on this task; what is new in it depends on the seed alone."""

    def keep(self, model: TrainedModel, folder: Path, validation: EncodedExamples, /) -> Kept:
        """Write what is worth keeping of a trained model, and time it on some rows of the validation split."""


class WholeEncoder:
    """Our own encoder with a head; every parameter is trained."""

    def __init__(
        self,
        encoder: Encoder,
        source: str,
        tokenizer: TextEncoder,
        settings: FullFinetuning,
        objective: Objective,
        seed: int,
        device: str,
    ) -> None:
        self.encoder, self.source, self.text_encoder = encoder, source, tokenizer
        self.settings, self.objective, self.seed, self.device = settings, objective, seed, device
        self.tokenizer = tokenizer.checksum

    def encode(self, examples: list[Example], regression: bool) -> EncodedExamples:
        """`[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`."""
        return encode_examples(examples, self.text_encoder, self.settings.max_length, regression)

    def fresh(self, _: int) -> Classifier:
        """A copy of the encoder with a head and a dropout stream that depend on the seed alone."""
        copied = with_dropout(self.encoder, self.settings.dropout)
        torch.manual_seed(self.seed)
        return Classifier(
            copied, self.objective.outputs, self.settings.pooling, self.settings.dropout, self.settings.head
        )

    def keep(self, model: TrainedModel, folder: Path, validation: EncodedExamples) -> Kept:
        """The model, if asked for; the number of parameters and the time to answer."""
        assert isinstance(model, Classifier)
        if self.settings.leaves_artifact:
            save_classifier(folder / "model", model)
        return whole_model(model, model.head, self.objective, validation, self.device)


def whole_model(
    model: TrainedModel, head: nn.Module | None, objective: Objective, validation: EncodedExamples, device: str
) -> Kept:
    """What a model costs of which every parameter is trained."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    head_parameters = 0 if head is None else sum(parameter.numel() for parameter in head.parameters())
    seconds = inference_seconds({"whole": model}, objective, validation, device)["whole"]
    metrics = {
        "trainable_parameters": parameters,
        "head_parameters": head_parameters,
        "base_parameters": parameters,
        "inference_seconds": seconds,
    }
    return Kept(metrics, {"total": parameters, "trainable": parameters}, [])
