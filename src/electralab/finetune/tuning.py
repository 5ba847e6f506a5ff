"""Which learning rate: the choice that each run makes for itself, on rows that it does not train on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from electralab.electra.encoder import Encoder
from electralab.finetune.classifier import Classifier, with_dropout
from electralab.finetune.examples import EncodedExamples, tuning_split
from electralab.finetune.loop import predict, train_classifier
from electralab.finetune.metrics import mean_loss
from electralab.plan import FinetuneSpec


class Trial(NamedTuple):
    """One learning rate, trained and scored on the tuning rows."""

    learning_rate: float
    accuracy: float
    loss: float


class Tuned(NamedTuple):
    """The model of the best learning rate, and how it was found."""

    classifier: Classifier
    learning_rate: float
    trials: list[Trial]  # empty where there was no choice
    train_rows: int
    tuning_rows: int
    tokens: int  # real tokens read in training, those of the rejected rates included


def train_best(
    spec: FinetuneSpec, encoder: Encoder, train: EncodedExamples, labels: int, device: str, run: str
) -> Tuned:
    """Train with every learning rate and keep the best.

    One rate is trained on all rows. Several are each trained on the same 90 % of the rows; the other 10 % choose by
    accuracy (between equals: by loss), and the chosen model is kept as it is, not trained again on all rows.

    Args:
        spec: the run.
        encoder: where every rate starts from; it is not changed.
        train: the training split.
        labels: number of classes.
        device: where to compute.
        run: names the run in progress and errors.

    Raises:
        UserError: the loss of a rate is no longer a finite number.
    """
    rates = spec.settings.learning_rates
    rows, tuning_rows = np.arange(len(train)), np.arange(0)
    if len(rates) > 1:
        rows, tuning_rows = tuning_split(len(train), spec.seed)
    classifiers, trials, tokens = [], [], 0
    for rate in rates:
        classifier = _fresh_classifier(spec, encoder, labels).to(device)
        rate_run = f"{run}, learning rate {rate:g}"
        tokens += train_classifier(classifier, train, rows, spec.settings, rate, spec.seed, device, rate_run)
        classifiers.append(classifier)
        if len(rates) > 1:
            log_probabilities = predict(classifier, train, tuning_rows, device, rate_run)
            answers = train.labels[tuning_rows]
            accuracy = float((log_probabilities.argmax(axis=1) == answers).mean())
            trials.append(Trial(rate, accuracy, mean_loss(answers, log_probabilities)))
    best = max(range(len(trials)), key=lambda index: (trials[index].accuracy, -trials[index].loss), default=0)
    return Tuned(classifiers[best], rates[best], trials, len(rows), len(tuning_rows), tokens)


def _fresh_classifier(spec: FinetuneSpec, encoder: Encoder, labels: int) -> Classifier:
    """A copy of the encoder with a head and a dropout stream that depend on the seed alone."""
    copied = with_dropout(encoder, spec.settings.dropout)
    torch.manual_seed(spec.seed)
    return Classifier(copied, labels, spec.settings.pooling, spec.settings.dropout)
