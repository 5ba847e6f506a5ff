"""Experiments for tests of the config: the default one with a change, a small one, and how one is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from electralab.config import load_experiment
from electralab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DEFAULT: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())


def refused(values: dict[str, Any]) -> str:
    """The one line with which an experiment is refused."""
    with pytest.raises(UserError) as caught:
        load_experiment(values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The default experiment with one key set."""
    values = copy.deepcopy(DEFAULT)
    *parents, last = path.split(".")
    inner = values
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return values


def with_block(library: dict[str, Any], **block: Any) -> dict[str, Any]:
    """The default experiment with more methods and one block of runs, of a downloaded model unless it says other."""
    values = copy.deepcopy(DEFAULT)
    values["models"]["minilm"] = {"kind": "package"}
    values["methods"] |= library
    values["run"] = {"finetuning": [{"models": ["minilm"], "tasks": ["movie_sentiment"], **block}]}
    return values
