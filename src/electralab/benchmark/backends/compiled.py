"""Our own encoder under torch.compile, compiled once for every batch size and length."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from electralab.benchmark.backends.own import own_network
from electralab.benchmark.backends.torch_model import TorchModel
from electralab.errors import Unsuitable


def open_model(manifest: Path, threads: int, device: str, name: str) -> TorchModel:
    """See `backends`."""
    if device == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        raise Unsuitable("not run: torch.compile needs a C++ compiler, and there is none here")
    network, encode = own_network(manifest, threads, device)
    compiled = torch.compile(network, dynamic=True)
    model = TorchModel(compiled, encode, network.encoder.config.vocab_size, device)
    model.kernel = name
    return model
