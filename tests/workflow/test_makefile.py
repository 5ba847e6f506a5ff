"""Set-up: it belongs to the folder that it was made in, and needs no entry in passwd."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(folder: Path, *arguments: str, **more: str | None) -> str:
    # Not what a make around this test (`make test`) hands down: it would be told of folders it enters, and of jobs.
    handed_down = dict.fromkeys(("MAKEFLAGS", "MFLAGS", "MAKELEVEL"))
    environment = {key: value for key, value in {**os.environ, **handed_down, **more}.items() if value is not None}
    done = subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that is set up, as far as make can tell; `python -m venv` writes the line."""
    folder = tmp_path / "A"
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "pyvenv.cfg").write_text(f"command = /usr/bin/python3 -m venv {folder}/.venv\n")
    for stamp in ("pipeline", "dev"):
        (folder / ".venv" / f"{stamp}.stamp").touch()
    return folder


def test_a_copied_or_moved_folder_is_set_up_again(checkout: Path) -> None:
    assert "venv" not in make(checkout, "--dry-run", "setup-dev")
    copy = shutil.copytree(checkout, checkout.with_name("B"))
    deeper = shutil.copytree(checkout, checkout / "x" / checkout.relative_to("/"))
    moved = checkout.rename(checkout.with_name("C"))
    for folder in (copy, moved, moved / deeper.relative_to(checkout)):
        planned = make(folder, "--dry-run", "setup-dev")
        assert "-m venv --clear .venv" in planned and "requirements-dev.txt" in planned


def test_set_up_builds_with_the_locked_setuptools(checkout: Path) -> None:
    """It is there before anything may have to be built, and nothing else is used to build."""
    (checkout / ".venv" / "pipeline.stamp").unlink()
    installs = [
        line for line in make(checkout, "--dry-run", "setup-dev").splitlines() if "pip" in line and "install" in line
    ]
    assert "--only-binary :all:" in installs[0] and "^setuptools==" in installs[0]
    assert all("--no-build-isolation" in line for line in installs[1:]) and len(installs) == 4


def test_a_user_without_a_name_gets_one(checkout: Path) -> None:
    show = ("--eval", 'show: ; @echo "$$USER $$HOME"', "show")
    user, home = make(checkout, *show, USER=None, HOME=None).split()
    assert user and home == str(checkout)
    assert make(checkout, *show, USER="me", HOME="/home/me").split() == ["me", "/home/me"]
