"""What several unit tests start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_experiment import Builder


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """An experiment without a run; it writes its records below the test's own folder."""
    return Builder(tmp_path / "artifacts")


@pytest.fixture
def study(builder: Builder) -> Builder:
    """Full fine-tuning, five other methods and a prompt on two tasks."""
    builder.adapter_study()
    return builder
