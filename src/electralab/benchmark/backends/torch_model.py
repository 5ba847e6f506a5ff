"""What the backends of PyTorch share: arrays in, a network called without gradients, logits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from electralab.benchmark.models import Batch, fixed_batch
from electralab.data.example import Example
from electralab.deploy.rows import TokenRow
from electralab.deploy.texts import Text
from electralab.errors import Unsuitable
from electralab.finetune.examples import EncodedExamples
from electralab.methods.opening import Opened, network_of, open_artifact

Encode = Callable[[list[Example], bool], EncodedExamples]
ATTENTION = "scaled_dot_product"
WHOLE = "aten::scaled_dot_product_attention"  # which calls the kernel


class TorchModel:
    """A network of PyTorch as a `Model`; padding that is not there is not told, as in the project's own loop."""

    kernel = ""

    def __init__(
        self,
        network: nn.Module | Callable[..., Tensor],
        encode: Encode,
        vocabulary: int,
        device: str,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._network, self._encode, self.vocabulary, self._device = network, encode, vocabulary, device
        self._around = around
        self.pad_id = encode([Example("", "a", None, None)], False).pad_id

    def rows(self, texts: Sequence[Text]) -> list[TokenRow]:
        """See `Model`."""
        encoded = self._encode([Example(text.id, text.text, text.pair, None) for text in texts], False)
        ends = encoded.offsets
        return [
            TokenRow(encoded.tokens[start:end].tolist(), int(first))
            for start, end, first in zip(ends, ends[1:], encoded.first_lengths)
        ]

    def __call__(self, batch: Batch) -> npt.NDArray[Any]:
        """See `Model`."""
        with torch.inference_mode(), self._around():
            logits = self._network(*self.tensors(batch))
            return np.asarray(logits.float().cpu().numpy())  # which waits for a GPU

    def tensors(self, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """A batch on the device."""
        ids, mask, types = (torch.from_numpy(array) for array in batch)
        real = None if bool(mask.all()) else mask.bool().to(self._device)
        return ids.to(self._device), real, types.to(self._device) if bool(types.any()) else None


def open_transformers(manifest: Path, threads: int, device: str, attention: str) -> tuple[Opened, int]:
    """The artifact as `transformers` and PEFT open it, with this implementation of attention; and its vocabulary.

    Raises:
        Unsuitable: it is a graph, or the implementation is not to be had.
    """
    torch.set_num_threads(threads)
    found, opened = open_artifact(manifest, device)
    if found.form not in ("huggingface", "adapter", "low_bit"):
        raise Unsuitable(f"PyTorch does not run the form {found.form}")
    network = network_of(opened.model)
    try:
        network.set_attn_implementation(attention)
    except (ImportError, ValueError) as error:
        raise Unsuitable(f"transformers does not give {attention} here: {' '.join(str(error).split())}") from None
    return opened, int(network.config.vocab_size)


def seen_kernels(model: TorchModel) -> list[str]:
    """The attention kernels that a call is seen to run, by PyTorch's names; none where attention is written out."""
    batch = fixed_batch(model, 2, 8)
    model(batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        model(batch)
    names = {event.key for event in profile.key_averages() if ATTENTION in event.key}
    return sorted(name.removeprefix("aten::").lstrip("_") for name in names - {WHOLE})
