"""Lines of another text among the training rows, labelled by a teacher, as Prune As You Tune mixed them in."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from electralab.config import PruneAsYouTune
from electralab.data.corpora import iter_documents
from electralab.data.example import Example
from electralab.data.sampling import reservoir
from electralab.errors import Unsuitable, UserError
from electralab.finetune.distillation import Teacher
from electralab.finetune.examples import sample_examples
from electralab.finetune.loop import predict
from electralab.methods.job import Job
from electralab.methods.training import ReadsTexts

MIXED = "mixed-"  # how the names of such rows begin


def mixed(job: Job, settings: PruneAsYouTune, reads: ReadsTexts, teacher: Teacher | None) -> tuple[Job, int]:
    """The run with lines of a corpus before its training rows, which are those that it samples; and how many lines.

    Raises:
        Unsuitable: the task is about pairs or scores.
        UserError: the corpus is not given, or has fewer lines.
    """
    title, data = job.spec.title, job.data
    assert teacher is not None, "the configuration asks for one"
    if data.regression or any(example.pair is not None for example in data.train):
        raise Unsuitable(f"{title}: mix_corpus is for tasks of one text and classes: leave it out")
    if job.corpus is None:
        raise UserError(f"{title}: name the manifest of the corpus to mix in with --corpus")
    rows = sample_examples(data.train, settings.max_train_rows, job.spec.seed)
    count = math.ceil(settings.mix_share * len(rows))
    random_lines, lines = settings.mix_lines == "random", _lines(job.corpus)
    chosen = reservoir(lines, count, random.Random(job.spec.seed)) if random_lines else list(islice(lines, count))
    if len(chosen) < count:
        raise UserError(
            f"{title}: mix_share {settings.mix_share:g} is {count} lines, and {settings.mix_corpus} has {len(chosen)}"
        )
    asked = [Example(f"{MIXED}{number}", line, None, None) for number, line in enumerate(chosen)]
    encoded = reads.encode(asked, False)
    labels = predict(teacher.model, teacher.objective, encoded, np.arange(count), job.device, title).argmax(axis=1)
    told = [example._replace(label=int(label)) for example, label in zip(asked, labels)]
    return replace(job, data=replace(data, splits=data.splits | {"train": [*told, *rows]})), count


def _lines(corpus: Path) -> Iterator[str]:
    """Of its training text, the empty ones left out: the rows that WikiText has."""
    for document in iter_documents(corpus, "train"):
        yield from filter(str.strip, document.splitlines())
