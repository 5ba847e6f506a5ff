"""Decoders that answer in words as approaches to a task: trained whole, or with an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from electralab.artifacts import Left, Prompt, Reads
from electralab.config import FullFinetuning, Training
from electralab.data.example import Example
from electralab.errors import Unsuitable
from electralab.files import staged_folder
from electralab.finetune.decoder.model import EncodedPrompts, VerbalizedDecoder, check_positions, encode_prompts
from electralab.finetune.decoder.prompts import PromptTokenizer, Template, template_of
from electralab.finetune.encoder.start import checked_weights
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.objective import Classification
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.base_models import load_causal, quiet
from electralab.methods.full import whole_model
from electralab.methods.job import Job
from electralab.methods.training import Kept
from electralab.model_files import copy_tokenizer


class Prompts(NamedTuple):
    """How a task is put to a decoder."""

    template: Template
    tokenizer: PromptTokenizer
    label_ids: list[int]
    max_length: int

    def encode(self, examples: list[Example], _regression: bool = False) -> EncodedPrompts:
        """Examples as prompts without answers."""
        return encode_prompts(examples, self.template, self.tokenizer, self.max_length)

    @property
    def described(self) -> Prompt:
        """What an artifact says of it."""
        return Prompt(text=self.template.text, words=self.template.words, gap=self.template.gap)


def prompts_of(job: Job, settings: Training) -> Prompts:
    """The prompts of a task for the decoder that a job starts from.

    Raises:
        Unsuitable: the task has no words to answer with, the model cannot say them, or it reads shorter prompts.
    """
    template, tokenizer = template_of(job.data, settings.answers), PromptTokenizer(job.weights)
    label_ids = tokenizer.label_ids(template)
    check_positions(job.weights, settings.max_length, job.spec.method)
    return Prompts(template, tokenizer, label_ids, settings.max_length)


class WholeDecoder:
    """A decoder that answers in words; every parameter is trained."""

    def __init__(self, job: Job, settings: FullFinetuning) -> None:
        if settings.layerwise_lr_decay != 1:
            raise Unsuitable(f"method {job.spec.method}: a decoder has no layerwise rates: set layerwise_lr_decay to 1")
        self.job, self.settings, self.prompts = job, settings, prompts_of(job, settings)
        self.encode, self.tokenizer = self.prompts.encode, self.prompts.tokenizer.checksum
        assert job.start is not None, "a decoder is downloaded"
        self.source = checked_weights(job.spec, job.weights, job.start)

    def fresh(self, _: int) -> VerbalizedDecoder:
        """Nothing in it is new; dropout depends on the seed alone."""
        network = load_causal(self.job.weights, self.settings, self.job.device)
        model = VerbalizedDecoder(network, self.prompts.label_ids, self.settings.answers)
        torch.manual_seed(self.job.spec.seed)
        return model

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The model, unless it is not to be saved; the number of parameters and the time to answer."""
        assert isinstance(model, VerbalizedDecoder)
        reason = self.settings.no_artifact
        left = Left(form=None, reason=reason)
        if reason is None:
            save_decoder(folder, model.model, self.job.weights)
            left = Left(form="huggingface", reads=reads.model_copy(update={"prompt": self.prompts.described}))
        objective = Classification(len(self.prompts.label_ids))
        return whole_model(model, None, left, objective, validation, self.job.device)


def save_decoder(folder: Path, network: Any, tokenizer: Path) -> None:
    """Write a causal language model and its tokenizer."""
    with staged_folder(folder) as staging:
        with quiet():
            network.save_pretrained(staging)
        copy_tokenizer(tokenizer, staging, network.config.max_position_embeddings)
