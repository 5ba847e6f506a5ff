"""`pytest tests/golden --update-golden` writes the golden numbers anew."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden numbers instead of comparing them")
