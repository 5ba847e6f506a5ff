"""A folder, a task and a small encoder for every file of tests; a file that needs others has its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from chains import fetched
from finetune_task import write_task


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return tmp_path_factory.mktemp(Path(request.node.name).stem)


@pytest.fixture(scope="module")
def task(root: Path) -> Path:
    return write_task(root / "words")


@pytest.fixture(scope="module")
def encoder(root: Path) -> Path:
    return fetched(root, "encoder")
