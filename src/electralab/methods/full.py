"""A model of ours under a head: fine-tuned whole, or frozen, of which the head alone is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

from electralab.artifacts import Left, Reads
from electralab.config import Distil, FullFinetuning, LinearProbe, PruneFull
from electralab.electra.encoder import Encoder
from electralab.errors import Unsuitable
from electralab.files import staged_folder
from electralab.finetune.encoder.classifier import Classifier, with_dropout
from electralab.finetune.encoder.huggingface import save_classifier
from electralab.finetune.encoder.start import refuse_answers, starting_encoder
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.inference import inference_seconds
from electralab.finetune.objective import Objective, objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.job import Job, Outcome
from electralab.methods.training import Kept, ReadsTexts, train, unit_scores
from electralab.model_files import copy_tokenizer
from electralab.tokens.tokenizer import TextEncoder, load_tokenizer

C = TypeVar("C", bound=Classifier)


def run(job: Job) -> Outcome:
    """Train a model whole or its head; encoders are ours, several times faster than those of `transformers`.

    Raises:
        Unsuitable: the model is a decoder, and there is no head to train.
    """
    settings = job.spec.settings
    assert isinstance(settings, FullFinetuning | LinearProbe)
    if job.starts_from_decoder:
        if isinstance(settings, LinearProbe):
            raise Unsuitable(
                f"{job.spec.title}: linear_probe trains a head, and this model answers with own words: use an adapter"
            )
        from electralab.methods.decoder import WholeDecoder

        return train(job, settings, WholeDecoder(job, settings))
    refuse_answers(job.spec)
    assert job.tokenizer is not None, "every encoder has one"
    text_encoder = load_tokenizer(job.tokenizer)
    encoder, source = starting_encoder(job.spec, text_encoder, job.start)
    objective = objective_of(job.data, settings)
    return train(job, settings, WholeEncoder(job, settings, encoder, source, text_encoder, objective))


class WholeEncoder(ReadsTexts):
    """Our own encoder with a head; every parameter is trained, or those of the head."""

    def __init__(
        self,
        job: Job,
        settings: FullFinetuning | LinearProbe | PruneFull | Distil,
        encoder: Encoder,
        source: str,
        tokenizer: TextEncoder,
        objective: Objective,
    ) -> None:
        super().__init__(settings, tokenizer)
        self.job, self.settings, self.encoder, self.source, self.objective = job, settings, encoder, source, objective

    def fresh(self, _: int) -> Classifier:
        """The model before its first step."""
        return self.classifier(Classifier)

    def classifier(self, kind: type[C]) -> C:
        """A copy of the encoder with a head and a dropout stream that depend on the seed alone."""
        copied = with_dropout(self.encoder, self.settings.dropout)
        head: Literal["linear", "huggingface"] = "linear"
        if isinstance(self.settings, LinearProbe):
            copied.requires_grad_(False)
        else:
            head = self.settings.head
        torch.manual_seed(self.job.spec.seed)
        return kind(copied, self.objective.outputs, self.settings.pooling, self.settings.dropout, head)

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The model, unless it is not to be saved; the number of parameters and the time to answer."""
        assert isinstance(model, Classifier)
        reason = self.settings.no_artifact
        left = Left(form=None, reason=reason)
        if reason is None:
            assert self.job.tokenizer is not None
            with staged_folder(folder) as staging:
                pooling = save_classifier(staging, model, self.job.data.labels, self.objective)
                copy_tokenizer(self.job.tokenizer.parent, staging, reads.max_length)
            reads = unit_scores(reads).model_copy(update={"pooling": pooling})
            left = Left(form="huggingface", reads=reads)
        return whole_model(model, model.head, left, self.objective, validation, self.job.device)


def whole_model(
    model: TrainedModel,
    head: nn.Module | None,
    left: Left,
    objective: Objective,
    validation: EncodedExamples,
    device: str,
) -> Kept:
    """What a model costs of which every parameter is trained, or those of the head."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    trained = parameters - sum(parameter.numel() for parameter in frozen)
    head_parameters = 0 if head is None else sum(parameter.numel() for parameter in head.parameters())
    seconds = inference_seconds({"whole": model}, objective, validation, device)["whole"]
    metrics = {
        "trainable_parameters": trained,
        "head_parameters": head_parameters,
        "base_parameters": parameters,
        "inference_seconds": seconds,
    }
    if frozen:
        metrics["weights_bytes"] = sum(parameter.nbytes for parameter in frozen)
    return Kept(left, metrics, {"total": parameters, "trainable": trained}, [])
