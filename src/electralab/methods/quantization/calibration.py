"""Rows on which ranges of activations are seen: of the training split alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from electralab.artifacts import read_manifest
from electralab.data.example import Example
from electralab.deploy.graphs import Integers
from electralab.errors import Unsuitable
from electralab.finetune.examples import encode_examples, sample_examples
from electralab.methods.job import Job
from electralab.methods.onnx.session import graph_inputs
from electralab.model_files import TOKENIZER
from electralab.tokens.tokenizer import load_tokenizer


def calibration_sample(job: Job, rows: int) -> list[Example]:
    """Training rows drawn by seed, or all if there are fewer.

    Raises:
        Unsuitable: the task has none.
    """
    sample = sample_examples(job.data.train, rows, job.spec.seed)
    if not sample:
        raise Unsuitable(f"{job.spec.title}: the task has no training rows to calibrate on: use dynamic_int8")
    return sample


def calibration_batches(job: Job, sample: list[Example], batch_size: int | None) -> Iterator[dict[str, Integers]]:
    """Rows as a graph takes them.

    Args:
        job: a run after an encoder.
        sample: the rows.
        batch_size: rows of a batch; None puts all into one.
    """
    assert job.start is not None, "the configuration lets it follow a fine-tuned model only"
    reads = read_manifest(job.start).reads
    assert reads is not None
    encoded = encode_examples(sample, load_tokenizer(job.start.with_name(TOKENIZER)), reads.max_length)
    size = batch_size or len(encoded)
    for start in range(0, len(encoded), size):
        ids, mask, types, _ = encoded.batch(np.arange(start, min(start + size, len(encoded))))
        yield graph_inputs(ids, mask, types)
