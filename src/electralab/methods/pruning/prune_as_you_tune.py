"""Prune As You Tune: LoRA whose merged weights are pruned while it trains, with a teacher."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from electralab.artifacts import Left, Reads
from electralab.config import PruneAsYouTune
from electralab.data.corpora import corpus_checksum
from electralab.data.example import Example
from electralab.errors import Unsuitable
from electralab.files import staged_folder
from electralab.finetune.distillation import Teacher
from electralab.finetune.encoder.classifier import Classifier, with_dropout
from electralab.finetune.encoder.huggingface import save_classifier
from electralab.finetune.encoder.start import refuse_answers, starting_encoder
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.loop import predict
from electralab.finetune.objective import objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.full import whole_model
from electralab.methods.job import Job, Outcome
from electralab.methods.pruning.masked import dense_layers
from electralab.methods.pruning.masked_lora import MaskedLora, prune_updates
from electralab.methods.pruning.mixing import MIXED, mixed
from electralab.methods.pruning.prune import check_shapes
from electralab.methods.pruning.schedule import prunings
from electralab.methods.pruning.sparsity import counted
from electralab.methods.teacher import read_teacher, teacher_checksum
from electralab.methods.training import Kept, ReadsTexts, train, unit_scores
from electralab.model_files import copy_tokenizer
from electralab.speed.onednn import use_onednn
from electralab.tokens.tokenizer import load_tokenizer


def run(job: Job) -> Outcome:
    """Tune, prune, and keep what is left, merged.

    Raises:
        Unsuitable: the model is a decoder, the teacher does not fit, the steps leave no room for pruning, every column
            would go, or other text cannot be mixed into the task.
    """
    settings = job.spec.settings
    assert isinstance(settings, PruneAsYouTune)
    if job.starts_from_decoder:
        raise Unsuitable(f"{job.spec.title}: prune_as_you_tune is for encoders: tune {job.spec.model} with lora")
    refuse_answers(job.spec)
    approach = PrunedWhileTuned(job, settings)
    if settings.mix_corpus is None:
        outcome = train(job, settings, approach)
    else:
        job, lines = mixed(job, settings, approach, approach.teacher)
        outcome = train(job, settings.model_copy(update={"max_train_rows": None}), approach)
        outcome.metrics.update(train_rows=outcome.metrics["train_rows"] - lines, mixed_rows=lines)
        assert job.corpus is not None, "lines were read from it"
        outcome.checksums["corpus"] = corpus_checksum(job.corpus)
    outcome.checksums.update(teacher_checksum(job))
    return outcome


class LoraClassifier(Classifier):
    """A frozen encoder under masked updates and a head; both are trained, and the mask grows."""

    settings: PruneAsYouTune
    schedule: dict[int, float]

    def add_updates(self, settings: PruneAsYouTune) -> None:
        """Put an update over every dense layer of the encoder."""
        scale = settings.alpha / (math.sqrt(settings.rank) if settings.rank_stabilized else settings.rank)
        self.encoder.requires_grad_(False)
        for name, layer in list(self.encoder.named_modules()):
            if isinstance(layer, nn.Linear):
                parent, _, own = name.rpartition(".")
                masked = MaskedLora(layer, settings.rank, scale, parts=3 if own == "qkv" else 1)
                setattr(self.encoder.get_submodule(parent), own, masked)

    def after_update(self, step: int) -> None:
        """Prune where it is time."""
        if step in self.schedule:
            layers = [layer for layer in self.modules() if isinstance(layer, MaskedLora)]
            prune_updates(layers, self.schedule[step], self.settings.structure, self.settings.among)

    def merged(self) -> Classifier:
        """The same answers from plain dense layers."""
        teacher, self.teacher = self.teacher, None  # which is not copied
        copied = copy.deepcopy(self)
        self.teacher = teacher
        for name, layer in list(copied.encoder.named_modules()):
            if isinstance(layer, MaskedLora):
                parent, _, own = name.rpartition(".")
                setattr(copied.encoder.get_submodule(parent), own, layer.as_linear())
        use_onednn(copied)
        return copied


class PrunedWhileTuned(ReadsTexts):
    """See `training.Approach`."""

    def __init__(self, job: Job, settings: PruneAsYouTune) -> None:
        assert job.tokenizer is not None, "every encoder has one"
        super().__init__(settings, load_tokenizer(job.tokenizer))
        self.job, self.settings = job, settings
        self.encoder, self.source = starting_encoder(job.spec, self.text_encoder, job.start)
        self.objective = objective_of(job.data, settings)
        as_published = settings.teacher_recipe == "as_published"
        self.teacher = self._untrained() if as_published else read_teacher(job, settings, self.tokenizer)

    def encode(self, examples: list[Example], regression: bool) -> EncodedExamples:
        """Rows that were mixed in come first, in every epoch where they are to."""
        encoded = super().encode(examples, regression)
        first = self.settings.mix_order == "old_first"
        return replace(encoded, read_first=sum(example.id.startswith(MIXED) for example in examples) if first else 0)

    def _untrained(self) -> Teacher:
        """As published: the model before fine-tuning, under a head of its own that nothing trains."""
        torch.manual_seed(self.job.spec.seed + 1)
        model = Classifier(with_dropout(self.encoder, 0.0), self.objective.outputs, "cls", 0.0)
        model.eval().requires_grad_(False).to(self.job.device)
        return Teacher(model, self.objective, self.settings.distillation_alpha, self.settings.temperature)

    def fresh(self, steps: int) -> LoraClassifier:
        """A copy of the encoder with updates, a head and a dropout stream that depend on the seed alone."""
        settings = self.settings
        torch.manual_seed(self.job.spec.seed)
        model = LoraClassifier(
            with_dropout(self.encoder, settings.dropout), self.objective.outputs, "cls", settings.dropout
        )
        check_shapes(dense_layers(model, "encoder"), settings.structure, settings.sparsity, self.job.spec.title)
        model.add_updates(settings)
        model.settings, model.schedule = settings, prunings(settings, steps)
        model.teacher = self.teacher if settings.distillation_alpha else None
        model.after_update(0)
        return model

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The merged model, what of it is zero, and how far its answers are from those that were trained."""
        assert isinstance(model, LoraClassifier)
        merged, rows = model.merged(), np.arange(len(validation))
        title, device = self.job.spec.title, self.job.device
        answers = [predict(asked, self.objective, validation, rows, device, title) for asked in (model, merged)]
        with staged_folder(folder) as staging:
            pooling = save_classifier(staging, merged, self.job.data.labels, self.objective)
            assert self.job.tokenizer is not None
            copy_tokenizer(self.job.tokenizer.parent, staging, reads.max_length)
        left = Left(form="huggingface", reads=unit_scores(reads).model_copy(update={"pooling": pooling}))
        kept = whole_model(merged, merged.head, left, self.objective, validation, device)
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        metrics = kept.metrics | counted(folder)
        metrics |= {"trainable_parameters": trained, "merge_error": float(np.abs(answers[0] - answers[1]).max())}
        return kept._replace(metrics=metrics, parameters=kept.parameters | {"trainable": trained})
