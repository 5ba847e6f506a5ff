"""Distillation: a smaller encoder that learns a task from labels, and from what a fine-tuned one says and computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from electralab.artifacts import Reads
from electralab.config import CopiedStudent, Distil
from electralab.electra.encoder import Encoder
from electralab.errors import Unsuitable
from electralab.finetune.encoder.classifier import Classifier
from electralab.finetune.encoder.start import refuse_answers, starting_encoder, untrained_encoder
from electralab.finetune.examples import EncodedExamples, LabelledBatch
from electralab.finetune.hidden_states import HiddenLoss, HiddenStates, uniform_map
from electralab.finetune.objective import Objective, objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.continued import FinetunedEncoder, finetuned_encoder
from electralab.methods.full import WholeEncoder, whole_model
from electralab.methods.job import Job, Outcome
from electralab.methods.onnx.network import PlainEncoder
from electralab.methods.pruning.removal import with_layers
from electralab.methods.teacher import read_teacher, teacher_checksum
from electralab.methods.training import Kept, train
from electralab.specs import RandomInit
from electralab.tokens.tokenizer import TextEncoder, load_tokenizer


def run(job: Job) -> Outcome:
    """Train the student and keep it; its teacher stays as it was.

    Raises:
        Unsuitable: the model is a decoder, the teacher does not fit, or a layer or neuron that is asked for is not
            there.
        RunFailed: the loss is no longer a finite number.
    """
    settings = job.spec.settings
    assert isinstance(settings, Distil)
    if job.starts_from_decoder:
        raise Unsuitable(f"{job.spec.title}: distil is for encoders, and {job.spec.model} is a decoder: leave it out")
    refuse_answers(job.spec)
    outcome = train(job, settings, Distilling(job, settings))
    outcome.checksums.update(teacher_checksum(job))
    return outcome


class Student(Classifier):
    """A classifier that may also learn what stands between its teacher's layers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.hidden_weight = 0.0
        self.to_teacher: HiddenLoss | None = None

    def loss(self, objective: Objective, logits: Tensor, batch: LabelledBatch) -> Tensor:
        """That of labels and the teacher's logits, and how far hidden states are from the teacher's."""
        loss = super().loss(objective, logits, batch)  # in which the teacher reads the batch
        if self.to_teacher is None:
            return loss
        distance: Tensor = self.to_teacher(batch.attention_mask)
        return loss + self.hidden_weight * distance


class Distilling(WholeEncoder):
    """A student under its teacher; see `training.Approach`."""

    settings: Distil

    def __init__(self, job: Job, settings: Distil) -> None:
        assert job.tokenizer is not None, "every encoder has one"
        text_encoder, title = load_tokenizer(job.tokenizer), job.spec.title
        self.teacher = read_teacher(job, settings, text_encoder.checksum)
        self.before: FinetunedEncoder | None = None  # where the student is made of the teacher
        if settings.student.start == "teacher":
            before = finetuned_encoder(job, job.teacher, settings)
            encoder, source = copied(before.network.encoder, settings.student, title), before.source
            self.before = before.with_encoder(encoder)
        else:
            encoder, source = _begun(job, settings, text_encoder)
        super().__init__(job, settings, encoder, source, text_encoder, objective_of(job.data, settings))
        if self.teacher is not None and settings.hidden_weight:
            assert isinstance(self.teacher.model, PlainEncoder)
            taught_by = self.teacher.model.encoder
            self.layer_map = mapped(settings, len(taught_by.layers), title)
            self.width, self.told = taught_by.config.hidden_size, HiddenStates(taught_by)

    def fresh(self, _: int) -> Student:
        """The student before its first step; what is new in it depends on the seed alone."""
        if self.before is None:
            model = self.classifier(Student)
        else:
            model = self.before.classifier(Student, self.settings, self.objective, self.job.spec.seed)
        if self.settings.is_taught:
            model.teacher = self.teacher
        if self.settings.hidden_weight:
            model.hidden_weight = self.settings.hidden_weight
            model.to_teacher = HiddenLoss(model.encoder, self.told, self.width, self.layer_map)
        return model

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The student without its projections; of the teacher's architecture where it is made of its layers."""
        assert isinstance(model, Student)
        if model.to_teacher is not None:
            model.to_teacher.own.release()
            model.to_teacher = None
        if self.before is None:
            return super().keep(model, folder, reads, validation)
        left = self.before.save(folder, model, self.objective, reads)
        return whole_model(model, model.head, left, self.objective, validation, self.job.device)


def copied(encoder: Encoder, student: CopiedStudent, title: str) -> Encoder:
    """The student's layers of an encoder.

    Raises:
        Unsuitable: a layer is not there, or its layers would have more neurons than those that are copied.
    """
    last, neurons = len(encoder.layers) - 1, encoder.config.intermediate_size
    if max(student.layers) > last:
        raise Unsuitable(
            f"{title}: there is no layer {max(student.layers)} to copy, the model's are 0 to {last}: correct "
            "student.layers"
        )
    wanted = neurons if student.intermediate_size is None else student.intermediate_size
    if wanted > neurons:
        raise Unsuitable(
            f"{title}: student.intermediate_size {wanted} is wider than the {neurons} neurons of the layers that are "
            "copied: lower it"
        )
    return with_layers(encoder, student.layers, wanted)


def mapped(settings: Distil, teacher: int, title: str) -> list[int]:
    """The teacher's layer, of so many, for each of the student's.

    Raises:
        Unsuitable: a layer is not there, or the student has more layers than its teacher and no map.
    """
    if settings.layer_map == "uniform":
        if settings.student.depth > teacher:
            raise Unsuitable(
                f"{title}: a student of {settings.student.depth} layers has no uniform map to the {teacher} of its "
                "teacher: list them in layer_map"
            )
        return uniform_map(settings.student.depth, teacher)
    if max(settings.layer_map) >= teacher:
        raise Unsuitable(
            f"{title}: layer_map names layer {max(settings.layer_map)}, and the teacher's are 0 to {teacher - 1}: "
            "correct it"
        )
    return settings.layer_map


def _begun(job: Job, settings: Distil, tokenizer: TextEncoder) -> tuple[Encoder, str]:
    """A student that nothing has trained on the task, and where its weights are from."""
    student, seed = settings.student, job.spec.seed
    if isinstance(student, CopiedStudent):
        encoder, source = starting_encoder(job.spec, tokenizer, job.start, student.start == "generator")
        return copied(encoder, student, job.spec.title), source
    drawn = RandomInit(shape=student.shape, initialization=student.initialization, sequence_length=settings.max_length)
    return untrained_encoder(drawn, seed, tokenizer), f"{student.initialization}, seed {seed}"
