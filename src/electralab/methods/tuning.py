"""Which learning rate: the choice that each run makes for itself, on rows that it does not train on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from electralab.config import Training
from electralab.data.tasks import TaskData
from electralab.finetune.examples import EncodedExamples, tuning_split
from electralab.finetune.loop import predict, train_model
from electralab.finetune.metrics import task_metrics
from electralab.finetune.objective import objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.specs import RunSpec


class Trial(NamedTuple):
    """One learning rate, trained and scored on the tuning rows."""

    learning_rate: float
    score: float
    loss: float


class Tuned(NamedTuple):
    """The model of the best learning rate, and how it was found."""

    model: TrainedModel
    learning_rate: float
    trials: list[Trial]  # empty where there was no choice
    train_rows: int  # without swapped twins
    tuning_rows: int
    seconds: float  # of training the chosen model
    tokens: int  # real tokens read in training, those of the rejected rates included


def train_best(
    spec: RunSpec,
    settings: Training,
    data: TaskData,
    fresh: Callable[[int], TrainedModel],
    train: EncodedExamples,
    rows: int,
    device: str,
    run: str,
    after_epoch: Callable[[int, TrainedModel], None] | None = None,
) -> Tuned:
    """Train with every learning rate and keep the best.

    One rate is trained on all rows. Several are each trained on the same 90 % of the rows; the other 10 % choose by
    the task's score (between equals: by loss), and the chosen model is kept as it is, not trained again on all rows.

    Args:
        spec: the run.
        settings: how it trains.
        data: the task, for what its labels mean.
        fresh: makes the model that every rate starts from, for a number of steps.
        train: the training split, followed by its swapped twins if pairs are trained on both ways round.
        rows: rows of `train` without the twins.
        device: where to compute.
        run: names the run in progress and errors.
        after_epoch: called with the number of every finished epoch, from 1, and the model.

    Raises:
        RunFailed: the loss of a rate is no longer a finite number.
    """
    rates, objective = settings.learning_rates, objective_of(data, settings)
    train_rows, tuning_rows = np.arange(rows), np.arange(0)
    if len(rates) > 1:
        train_rows, tuning_rows = tuning_split(rows, spec.seed)
    # A row and its twin stay on the same side: the twin of a tuning row is not trained on.
    read = train_rows if len(train) == rows else np.concatenate([train_rows, rows + train_rows])
    steps = settings.epochs * math.ceil(len(read) / settings.batch_size)
    models, seconds, trials, tokens = [], [], [], 0
    for rate in rates:
        model = fresh(steps).to(device)
        rate_run = f"{run}, learning rate {rate:g}"
        on_epoch = None if after_epoch is None else partial(_with_model, after_epoch, model)
        started = time.perf_counter()
        tokens += train_model(model, objective, train, read, settings, rate, spec.seed, device, rate_run, on_epoch)
        seconds.append(time.perf_counter() - started)
        models.append(model)
        if len(rates) > 1:
            answers = predict(model, objective, train, tuning_rows, device, rate_run)
            metrics = task_metrics(data.metrics, train.labels[tuning_rows], answers, data.score_range)
            trials.append(Trial(rate, metrics["score"], metrics["loss"]))
    best = max(range(len(trials)), key=lambda index: (trials[index].score, -trials[index].loss), default=0)
    return Tuned(models[best], rates[best], trials, len(train_rows), len(tuning_rows), seconds[best], tokens)


def _with_model(after_epoch: Callable[[int, TrainedModel], None], model: TrainedModel, epoch: int) -> None:
    after_epoch(epoch, model)
