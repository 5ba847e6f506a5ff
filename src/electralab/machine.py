"""This machine: its interpreter and its accelerators, told without importing torch (the Snakefile asks)."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def put_interpreter_on_path() -> None:
    """Let jobs run the interpreter that runs Snakemake, also when its environment was not activated."""
    folder = str(Path(sys.executable).parent)
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if paths[0] != folder:
        os.environ["PATH"] = os.pathsep.join([folder, *paths])


def gpus_per_job() -> int:
    """GPU slots that a training job asks Snakemake for: 1 where this machine has an NVIDIA GPU, else 0.

    A job that asked for a GPU on a machine without one would be serialised for nothing. Cluster profiles set the
    resource themselves, because the machine that submits need not have a GPU.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    drivers = Path("/proc/driver/nvidia/gpus")
    return 1 if drivers.is_dir() and any(drivers.iterdir()) else 0


def select_device(requested: str = "auto") -> str:
    """`auto` is `cuda` where torch sees a GPU, else `cpu`; anything else is taken as given."""
    if requested != "auto":
        return requested
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
