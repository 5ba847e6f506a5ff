"""Methods that train: what the kind of model and method decides is an `Approach`, the rest is the same for all."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from electralab.artifacts import Left, Reads
from electralab.config import Training
from electralab.data.example import Example
from electralab.data.tasks import TaskData
from electralab.files import read_json
from electralab.finetune.evaluation import MISMATCHED, without_test
from electralab.finetune.examples import EncodedExamples, encode_examples, sample_examples, swapped_pairs
from electralab.finetune.inference import TIMED_ROWS
from electralab.finetune.loop import predict, trains_in_bf16
from electralab.finetune.metrics import Floats, task_metrics
from electralab.finetune.objective import Regression, objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.job import Job, Outcome
from electralab.methods.tuning import Tuned, train_best
from electralab.names import EPOCH_SCORE
from electralab.records import peak_bytes
from electralab.tokens.tokenizer import TextEncoder


class Kept(NamedTuple):
    """What an approach left and measured of a trained model, and its numbers of parameters."""

    left: Left
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

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples, /) -> Kept:
        """Write what is worth keeping of a trained model, and time it on some rows of the validation split."""


class ReadsTexts:
    """What approaches share whose model reads token ids of texts.

    Args:
        settings: how long a row may be.
        text_encoder: of the model.
    """

    def __init__(self, settings: Training, text_encoder: TextEncoder) -> None:
        self.text_encoder, self.tokenizer, self._max_length = text_encoder, text_encoder.checksum, settings.max_length

    def encode(self, examples: list[Example], regression: bool) -> EncodedExamples:
        """`[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`."""
        return encode_examples(examples, self.text_encoder, self._max_length, regression)


def train(job: Job, settings: Training, approach: Approach) -> Outcome:
    """Train on the training rows, choosing a learning rate if there are several, and keep the model.

    Raises:
        RunFailed: the loss is no longer a finite number.
    """
    torch.set_num_threads(job.threads)
    spec, device = job.spec, job.device
    data = job.data if settings.answer_test else without_test(job.data)
    objective = objective_of(data, settings)
    sample = sample_examples(data.train, settings.max_train_rows, spec.seed)
    doubled = settings.double_unordered and data.unordered
    twins = swapped_pairs(sample) if doubled else []
    rows = approach.encode([*sample, *twins], data.regression)

    def answer(examples: list[Example], model: TrainedModel) -> Floats:
        encoded = approach.encode(examples, data.regression)
        return predict(model, objective, encoded, np.arange(len(encoded)), device, spec.title)

    by_epoch: dict[str, float] = {}

    def score_epoch(epoch: int, model: TrainedModel) -> None:
        assert job.after_epoch is not None
        labels = np.array([example.label for example in data.validation])
        scores = task_metrics(data.metrics, labels, answer(data.validation, model), data.score_range)
        by_epoch[f"{EPOCH_SCORE}{epoch}"] = scores["score"]
        job.after_epoch(epoch, scores["score"])

    on_epoch = None if job.after_epoch is None else score_epoch
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)  # a search runs one trial after another
    tuned = train_best(spec, settings, data, approach.fresh, rows, len(sample), device, spec.title, on_epoch)
    peaks = peak_bytes(device)  # a copy that is merged and timed is no cost of training
    timed = approach.encode(sample_examples(data.validation, TIMED_ROWS, 0), data.regression)
    kept = approach.keep(tuned.model, job.artifact, reads_of(settings, data), timed)
    return Outcome(
        answer=partial(answer, model=tuned.model),
        scored=data,
        left=kept.left,
        metrics=_metrics(settings, data, tuned) | by_epoch | kept.metrics,
        parameters=kept.parameters,
        checksums={"tokenizer": approach.tokenizer, "model": approach.source},
        peaks=peaks,
        tokens=tuned.tokens,
        notes=[*_notes(job, settings, data, tuned), *kept.notes],
        mnli_validation=settings.mnli_validation,
    )


def reads_of(settings: Training, data: TaskData) -> Reads:
    """How an artifact of this training reads rows and answers them."""
    objective = objective_of(data, settings)
    scores = {"offset": objective.offset, "scale": objective.scale} if isinstance(objective, Regression) else {}
    return Reads(
        max_length=settings.max_length,
        pairs=any(example.pair is not None for example in data.train),
        answers=settings.answers,
        mnli_validation=settings.mnli_validation,
        answer_test=settings.answer_test,
        **scores,
    )


def unit_scores(reads: Reads) -> Reads:
    """The same for a model whose last layer gives the scores of a regression as they are."""
    return reads.model_copy(update={"offset": 0.0, "scale": 1.0})


def _metrics(settings: Training, data: TaskData, tuned: Tuned) -> dict[str, float]:
    metrics = {
        "train_rows": tuned.train_rows,
        "tuning_rows": tuned.tuning_rows,
        "learning_rate": tuned.learning_rate,
        "epochs": settings.epochs,
        "train_seconds": tuned.seconds,
    }
    for trial in tuned.trials:
        metrics[f"tuning_{data.metrics[0]}_at_{trial.learning_rate:g}"] = trial.score
        metrics[f"tuning_loss_at_{trial.learning_rate:g}"] = trial.loss
    return metrics


def _notes(job: Job, settings: Training, data: TaskData, tuned: Tuned) -> list[str]:
    notes = []
    if tuned.trials:
        scores = ", ".join(f"{trial.learning_rate:g}: {trial.score:.3f}" for trial in tuned.trials)
        notes.append(
            f"learning rate {tuned.learning_rate:g} chosen by {data.metrics[0]} on {tuned.tuning_rows} training rows "
            f"that were set aside ({scores})"
        )
    if settings.precision == "bf16_where_native":
        native = trains_in_bf16(settings, job.device)
        said = "trained in bf16" if native else "this processor multiplies no bf16: computed in fp32"
        notes.append(f"bf16_where_native: {said}")
    if settings.double_unordered and data.unordered:
        notes.append("every training pair was read both ways round (double_unordered)")
    if MISMATCHED in data.splits and settings.mnli_validation == "matched_and_mismatched":
        notes.append("the score is of the matched and the mismatched validation rows together")
    if job.spec.downloaded is not None and job.start is not None and len(job.spec.chain) == 1:
        manifest = read_json(job.start)
        seen = manifest["trained_on"].get(data.glue)
        notes += [*manifest["notes"], *([seen] if seen else [])]
    return notes
