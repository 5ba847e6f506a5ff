"""Choices on tuning rows, a part of the training rows: a run's among its learning rates, a search's among trials."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
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


def on_tuning_rows(data: TaskData, seed: int) -> TaskData:
    """The task as a trial of a search sees it: a part of its training rows, drawn by seed, is what is scored."""
    read, tuning = tuning_split(len(data.train), seed)
    return replace(
        data, splits={"train": [data.train[row] for row in read], "validation": [data.train[row] for row in tuning]}
    )


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
        after_epoch: called with the model and the number of every finished epoch but the last, whose model is scored
            anyway; epochs are counted from 1, and on from one rate to the next.

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
    last = settings.epochs * len(rates)
    best: tuple[Trial, TrainedModel, float] | None = None
    trials, tokens = [], 0
    for number, rate in enumerate(rates):
        model = fresh(steps).to(device)
        rate_run = f"{run}, learning rate {rate:g}"
        on_epoch = None if after_epoch is None else _counted(after_epoch, model, number * settings.epochs, last)
        started = time.perf_counter()
        tokens += train_model(model, objective, train, read, settings, rate, spec.seed, device, rate_run, on_epoch)
        seconds = time.perf_counter() - started
        trial = Trial(rate, math.nan, math.nan)
        if len(rates) > 1:
            answers = predict(model, objective, train, tuning_rows, device, rate_run)
            metrics = task_metrics(data.metrics, train.labels[tuning_rows], answers, data.score_range)
            trial = Trial(rate, metrics["score"], metrics["loss"])
            trials.append(trial)
        if best is None or (trial.score, -trial.loss) > (best[0].score, -best[0].loss):
            best = trial, model, seconds
        del model, on_epoch  # a rejected model makes room for the next
    assert best is not None, "there is at least one rate"
    chosen, model, seconds = best
    return Tuned(model, chosen.learning_rate, trials, len(train_rows), len(tuning_rows), seconds, tokens)


def _counted(
    after_epoch: Callable[[int, TrainedModel], None], model: TrainedModel, before: int, last: int
) -> Callable[[int], None]:
    def on_epoch(epoch: int) -> None:
        if before + epoch < last:
            after_epoch(before + epoch, model)

    return on_epoch
