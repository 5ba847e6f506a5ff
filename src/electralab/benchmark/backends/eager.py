"""`transformers` with attention written out: matrix product, softmax, matrix product."""

from __future__ import annotations

from pathlib import Path

from electralab.benchmark.backends.torch_model import TorchModel, open_transformers, seen_kernels
from electralab.errors import Unsuitable


def open_model(manifest: Path, threads: int, device: str, name: str) -> TorchModel:
    """See `backends`."""
    opened, vocabulary = open_transformers(manifest, threads, device, name)
    model = TorchModel(opened.model, opened.encode, vocabulary, device)
    seen = seen_kernels(model)
    if seen:
        raise Unsuitable(f"eager attention was asked for, and {', '.join(seen)} ran")
    model.kernel = "eager"
    return model
