"""How long a trained model takes to answer."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from electralab.finetune.examples import EncodedExamples, Integers
from electralab.finetune.loop import predict
from electralab.finetune.objective import Objective
from electralab.finetune.trained_model import TrainedModel

TIMED_ROWS = 50  # enough for a stable median, and cheap beside the training
ROUNDS = 5


def inference_seconds(
    models: dict[str, TrainedModel], objective: Objective, examples: EncodedExamples, device: str
) -> dict[str, float]:
    """Seconds per 100 rows of every model: medians of interleaved rounds over all rows, after one to warm up."""
    rows: Integers = np.arange(len(examples))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for index in range(-1, ROUNDS):
        for name, model in models.items():
            started = time.perf_counter()
            predict(model, objective, examples, rows, device, f"timing of the {name} model")
            if index >= 0:
                seconds[name].append((time.perf_counter() - started) * 100 / len(rows))
    return {name: median(values) for name, values in seconds.items()}
