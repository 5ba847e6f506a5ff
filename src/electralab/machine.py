"""This machine: its interpreter and its accelerators, told without importing torch (the Snakefile asks)."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from pathlib import Path
from typing import IO

from electralab.errors import UserError
from electralab.files import locked

_held: list[IO[bytes]] = []  # locks of GPUs, until this process ends


def put_interpreter_on_path() -> None:
    """Let jobs run the interpreter that runs Snakemake, also when its environment was not activated."""
    folder = str(Path(sys.executable).parent)
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if paths[0] != folder:
        os.environ["PATH"] = os.pathsep.join([folder, *paths])


def available_cores() -> int:
    """Cores that processes started here may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus_per_job(device: str = "auto") -> int:
    """GPU slots that a training job asks Snakemake for.

    Args:
        device: the experiment's. `auto`: 1 where this machine has an NVIDIA GPU, else 0, since a job that asked for a
            GPU on a machine without one would be serialised for nothing. `gpu`: 1, also where the machine that submits
            has none. `cpu`: 0.
    """
    if device != "auto":
        return int(device == "gpu")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    drivers = Path("/proc/driver/nvidia/gpus")
    return 1 if drivers.is_dir() and any(drivers.iterdir()) else 0


def select_device(requested: str = "auto", *, spread: bool = False) -> str:
    """The torch device of a job.

    Args:
        requested: `auto` is a GPU where torch sees one, else the CPU; `gpu` is a GPU; anything else is taken as given.
        spread: whether the job may use all GPUs that it sees; else it gets one of them for itself, as far as they go.

    Raises:
        UserError: `gpu`, and torch sees none.
    """
    if requested not in ("auto", "gpu"):
        return requested
    import torch

    if not torch.cuda.is_available():
        if requested == "gpu":
            raise UserError(
                "device: gpu, but PyTorch sees no GPU here: ask the cluster for one (the rules' resource gpu), install "
                "a PyTorch with CUDA, or set device: auto to train on the CPU"
            )
        if gpus_per_job():
            print("this machine has a GPU, but PyTorch sees none: the CPU is used", file=sys.stderr)
        return "cpu"
    count = torch.cuda.device_count()
    return "cuda" if spread or count == 1 else f"cuda:{_free_gpu(count)}"


def _free_gpu(count: int) -> int:
    """The number of a GPU that the fewest of this user's jobs on this machine use.

    A job holds a lock of the kernel as long as it lives. GPUs are known by their own names, because their numbers
    depend on CUDA_VISIBLE_DEVICES.
    """
    import torch

    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]
    for round_ in itertools.count():
        for number, name in enumerate(names):
            path = Path(tempfile.gettempdir()) / f"electralab-{os.getuid()}" / f"{name}-{round_}.lock"
            try:
                _held.append(locked(path, wait=False))
                return number
            except BlockingIOError:
                continue
            except OSError:  # no place for locks here
                return number
    raise AssertionError("a later round always has a free lock")
