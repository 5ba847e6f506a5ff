"""Our own encoder under the artifact's head, with oneDNN's products where the processor has them."""

from __future__ import annotations

from pathlib import Path

import torch

from electralab.artifacts import read_manifest
from electralab.benchmark.backends.torch_model import Encode, TorchModel, seen_kernels
from electralab.errors import Unsuitable
from electralab.finetune.examples import encode_examples
from electralab.methods.onnx.network import PlainEncoder, read_network
from electralab.model_files import TOKENIZER
from electralab.speed.onednn import use_onednn
from electralab.tokens.tokenizer import load_tokenizer


def open_model(manifest: Path, threads: int, device: str, name: str) -> TorchModel:  # noqa: ARG001
    """See `backends`."""
    network, encode = own_network(manifest, threads, device)
    use_onednn(network)
    model = TorchModel(network, encode, network.encoder.config.vocab_size, device)
    model.kernel = ", ".join(seen_kernels(model))
    return model


def own_network(manifest: Path, threads: int, device: str) -> tuple[PlainEncoder, Encode]:
    """The network of a Hugging Face artifact, and how it reads texts.

    Raises:
        Unsuitable: the artifact is of another form, or a decoder.
    """
    torch.set_num_threads(threads)
    found = read_manifest(manifest)
    if found.form != "huggingface" or found.reads is None:
        raise Unsuitable(f"our own encoder opens Hugging Face folders, and this is of the form {found.form}")
    folder = manifest.parent
    network = read_network(folder, found.reads, str(folder)).to(device)
    tokenizer, longest = load_tokenizer(folder / TOKENIZER), found.reads.max_length
    return network, lambda examples, regression: encode_examples(examples, tokenizer, longest, regression)
