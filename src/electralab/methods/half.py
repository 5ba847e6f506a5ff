"""16-bit storage: half the bytes; computed in 32 bits, so that hardly an answer changes, or in 16."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from electralab.artifacts import Left, copy_beside, read_manifest
from electralab.config import Half
from electralab.errors import RunFailed, Unsuitable
from electralab.files import read_json, staged_folder, write_json
from electralab.methods.job import Job, Outcome
from electralab.methods.opening import derived
from electralab.model_files import CONFIG
from electralab.speed.bf16 import multiplies_bf16

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
COMPUTED = {"fp32": "float32", "bf16": "bfloat16"}  # in `config.json`


def run(job: Job) -> Outcome:
    """Write the weights in 16 bits, and answer with what was written.

    Raises:
        Unsuitable: bf16 is to be computed with on a device that has no instructions for it.
        RunFailed: a weight is too large for 16 bits.
    """
    settings = job.spec.settings
    assert isinstance(settings, Half) and job.start is not None
    if settings.compute == "bf16" and not multiplies_bf16(job.device):
        raise Unsuitable(
            f"{job.spec.title}: this machine's {torch.device(job.device).type} has no instructions for bf16 and would "
            "emulate it, slower than fp32: set compute to fp32, or run it elsewhere"
        )
    torch.set_num_threads(job.threads)
    source, manifest = job.start.parent, read_manifest(job.start)
    with staged_folder(job.artifact) as staging:
        weights = sorted(source.glob("*.safetensors"))
        copy_beside(source, staging, *(path.name for path in weights))
        for path in weights:
            _halve(path, staging / path.name, DTYPES[settings.storage], job.spec.title)
        # What `transformers` and `opening` compute in. With fp32 they unpack the weights, since most CPUs compute in
        # 16 bits slowly, and less exactly.
        write_json(staging / CONFIG, read_json(source / CONFIG) | {"dtype": COMPUTED[settings.compute]})
    return derived(job, Left(form="huggingface", reads=manifest.reads), [])


def _halve(source: Path, target: Path, dtype: torch.dtype, title: str) -> None:
    tensors = {}
    for name, tensor in load_file(source).items():
        tensors[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if tensor.isfinite().all() and not tensors[name].isfinite().all():
            raise RunFailed(f"{title}: {name} holds a number too large for {dtype}: use storage bf16")
    save_file(tensors, target, metadata={"format": "pt"})
