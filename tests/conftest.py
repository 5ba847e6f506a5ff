"""What every test shares: where the repository is, and how a user would call it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# One thread a process: on few cores, the pools of numpy and torch slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach a model hub by accident; those that test the hub say so themselves.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Under nohup, which tests of a closed terminal would inherit, the signal is ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("electralab", deadline=None)
settings.load_profile("electralab")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def downloads() -> Path:
    """Where downloaded packages are kept: the same folder as a user's, so that they are fetched once."""
    folder = Path(os.environ.get("ELECTRALAB_DOWNLOADS", ROOT / "artifacts" / "downloads"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def electralab() -> Run:
    """Run `python -m electralab ...`; keyword arguments go to `subprocess.run`."""

    def run(*arguments: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "electralab", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, **{"cwd": ROOT, **more})

    return run


@pytest.fixture(scope="session")
def snakemake() -> Run:
    """Run the workflow in a folder of its own: `snakemake(folder, *arguments, prefix=[])`."""

    def run(folder: Path, *arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", *arguments]
        return subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)

    return run
