"""`transformers` with the package flash-attn, which needs a GPU and 16 bits."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from electralab.benchmark.backends.torch_model import TorchModel, open_transformers
from electralab.errors import Unsuitable


def open_model(manifest: Path, threads: int, device: str, name: str) -> TorchModel:
    """See `backends`."""
    if not device.startswith("cuda"):
        raise Unsuitable("not run: needs CUDA")
    if importlib.util.find_spec("flash_attn") is None:
        raise Unsuitable("not run: the package flash-attn is not installed")
    opened, vocabulary = open_transformers(manifest, threads, device, name)
    opened.model.to(torch.bfloat16)
    model = TorchModel(opened.model, opened.encode, vocabulary, device)
    model.kernel = name
    return model
