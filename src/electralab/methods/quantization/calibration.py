"""Rows on which ranges of activations are seen: of the training split alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from electralab.artifacts import read_manifest
from electralab.deploy.graphs import Integers
from electralab.errors import Unsuitable
from electralab.finetune.examples import encode_examples, sample_examples
from electralab.methods.job import Job
from electralab.methods.onnx.session import graph_inputs
from electralab.model_files import TOKENIZER
from electralab.tokens.tokenizer import load_tokenizer


def calibration_batches(job: Job, rows: int, batch_size: int | None) -> Iterator[dict[str, Integers]]:
    """Training rows drawn by seed, as a graph takes them.

    Args:
        job: a run after an encoder.
        rows: how many, or all if there are fewer.
        batch_size: rows of a batch; None puts all into one.

    Raises:
        Unsuitable: the task has no training row.
    """
    assert job.start is not None, "the configuration lets it follow a fine-tuned model only"
    sample, reads = sample_examples(job.data.train, rows, job.spec.seed), read_manifest(job.start).reads
    assert reads is not None
    if not sample:
        raise Unsuitable(f"{job.spec.title}: the task has no training rows to calibrate on: use dynamic_int8")
    encoded = encode_examples(sample, load_tokenizer(job.start.with_name(TOKENIZER)), reads.max_length)
    size = batch_size or len(encoded)
    for start in range(0, len(encoded), size):
        ids, mask, types, _ = encoded.batch(np.arange(start, min(start + size, len(encoded))))
        yield graph_inputs(ids, mask, types)
