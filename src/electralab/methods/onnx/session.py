"""An ONNX graph that answers as a model of PyTorch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from electralab.errors import UserError
from electralab.finetune.trained_model import TrainedModel

GRAPH = "model.onnx"


class OnnxEncoder(TrainedModel):
    """A graph of a fine-tuned encoder, run by ONNX Runtime on the CPU with as many threads as PyTorch has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # classes of its own, made at run time
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"ONNX Runtime {onnxruntime.__version__} does not open {path}: {reason}") from error

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits [B, outputs]; arguments as in `Classifier`."""
        (logits,) = self._session.run(None, graph_inputs(input_ids, attention_mask, token_type_ids))
        return torch.from_numpy(logits)


def graph_inputs(
    input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
) -> dict[str, npt.NDArray[np.int64]]:
    """A batch as a graph takes it, [B, S] each; it has no defaults."""
    ids = input_ids.numpy(force=True)
    mask = np.ones_like(ids) if attention_mask is None else attention_mask.long().numpy(force=True)
    types = np.zeros_like(ids) if token_type_ids is None else token_type_ids.numpy(force=True)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
