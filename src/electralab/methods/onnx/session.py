"""A graph that answers as a model of PyTorch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from electralab.deploy.graphs import Integers, open_graph
from electralab.finetune.trained_model import TrainedModel


class GraphEncoder(TrainedModel):
    """A graph of a fine-tuned encoder, run on the CPU with as many threads as PyTorch has.

    Args:
        folder: of the artifact.
        form: of the artifact, `onnx` or `openvino`.
    """

    def __init__(self, folder: Path, form: str = "onnx") -> None:
        super().__init__()
        self._graph = open_graph(folder, form, torch.get_num_threads())

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits [B, outputs]; arguments as in `Classifier`."""
        return torch.from_numpy(self._graph(**graph_inputs(input_ids, attention_mask, token_type_ids)))


def graph_inputs(
    input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
) -> dict[str, Integers]:
    """A batch as a graph takes it, [B, S] each; it has no defaults."""
    ids = input_ids.numpy(force=True)
    mask = np.ones_like(ids) if attention_mask is None else attention_mask.long().numpy(force=True)
    types = np.zeros_like(ids) if token_type_ids is None else token_type_ids.numpy(force=True)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
