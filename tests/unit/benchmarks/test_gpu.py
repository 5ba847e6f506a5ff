"""`benchmarks/gpu.py` without a GPU: GPUs are rare, so it must not fail there on a line that never ran."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TITLES = ("Correctness", "A pretraining step", "Two minutes of pretraining", "Fine-tuning and inference")


def report(root: Path, *arguments: str | Path) -> str:
    """What it prints, importing the package from where this test has it."""
    command = [sys.executable, root / "benchmarks" / "gpu.py", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_dry_run_runs_every_part(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    page = report(root, "--device", "cpu", "--tiny", "--out", out)
    assert out.read_text(encoding="utf-8") == page
    assert page.startswith("# DRY RUN, numbers mean nothing")
    assert all(f"## {title}\n" in page for title in TITLES)
    for failure in ("stopped", "FAILED", "not timed", "not run", "nan"):
        assert failure not in page, page
    assert page.count("| ok |") == 10
    assert page.count("Hugging Face, torch.compile, bf16") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="would take eight minutes")
def test_without_cuda_every_part_says_so(root: Path) -> None:
    assert report(root).count("not run: needs CUDA") == len(TITLES)
