"""`transformers` with PyTorch's fused attention: the kernel that PyTorch chooses, or one that is asked for.

A kernel counts only if it is seen to run: a published comparison of attention kernels timed one kernel twice.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from torch.nn.attention import SDPBackend, sdpa_kernel

from electralab.benchmark.backends.torch_model import TorchModel, open_transformers, seen_kernels
from electralab.errors import Unsuitable

KERNELS = {
    "sdpa_math": (SDPBackend.MATH, "attention_math"),
    "sdpa_flash": (SDPBackend.FLASH_ATTENTION, "flash_attention"),
    "sdpa_efficient": (SDPBackend.EFFICIENT_ATTENTION, "efficient_attention"),
}


def open_model(manifest: Path, threads: int, device: str, name: str) -> TorchModel:
    """See `backends`."""
    opened, vocabulary = open_transformers(manifest, threads, device, "sdpa")
    chosen, wanted = KERNELS.get(name, (None, ""))
    around = nullcontext if chosen is None else partial(sdpa_kernel, [chosen])
    model = TorchModel(opened.model, opened.encode, vocabulary, device, around)
    try:
        seen = seen_kernels(model)
    except RuntimeError as error:
        raise Unsuitable(
            f"PyTorch has no {name} for this model on {device}: {next(iter(str(error).splitlines()))}"
        ) from None
    if not any(wanted in kernel for kernel in seen):
        raise Unsuitable(f"{name} was asked for, and {', '.join(seen) or 'no fused kernel'} ran")
    model.kernel = ", ".join(seen)
    return model
