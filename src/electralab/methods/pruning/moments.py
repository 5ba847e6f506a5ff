"""What enters dense layers: mean products of their inputs over calibration rows, which one-shot pruning reads."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn

from electralab.finetune.examples import EncodedExamples, evaluation_batches
from electralab.finetune.trained_model import TrainedModel

BATCH_SIZE = 32


def input_moments(
    model: TrainedModel, network: nn.Module, layers: Collection[str], rows: EncodedExamples, device: str
) -> dict[str, Tensor]:
    """H = mean(x x^T) of the inputs x of layers over real tokens, [in, in] each, by the layer's name.

    Args:
        model: answers batches, with `network` in it.
        network: has the layers.
        layers: their names in it.
        rows: calibration rows.
        device: where the model is.
    """
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(layers, 0)
    mask: list[Tensor | None] = [None]

    def watch(name: str, inputs: Tensor) -> None:
        vectors = inputs.detach()
        if vectors.dim() == 3 and mask[0] is not None and vectors.shape[:2] == mask[0].shape:
            vectors = vectors[mask[0]]
        vectors = vectors.reshape(-1, vectors.shape[-1]).float()
        sums[name] = sums.get(name, 0) + vectors.T @ vectors
        counts[name] += len(vectors)

    hooks = [
        network.get_submodule(name).register_forward_pre_hook(lambda _, inputs, name=name: watch(name, inputs[0]))
        for name in layers
    ]
    try:
        with torch.inference_mode():
            for batch in evaluation_batches(np.arange(len(rows)), rows.lengths, BATCH_SIZE):
                ids, mask[0], types, _ = rows.batch(batch).to(device)
                model(ids, mask[0], types)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (total / counts[name]).cpu() for name, total in sums.items()}
