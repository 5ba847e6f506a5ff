"""Any edit of any experiment of the project either plans, with paths that can be written, or is refused in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from experiments import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from electralab.config import load_experiment
from electralab.config.loading import read_values
from electralab.errors import UserError
from electralab.names import run_log
from electralab.plan import Plan

PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))
LONGEST_FILE_NAME = 255  # bytes (POSIX: NAME_MAX of the usual file systems)
LONGEST_LINE = 2000
SECTIONS = ("pretraining", "models", "methods", "searches", "grids", "retention", "run")
# What people leave, mistype and mean.
VALUES = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**70, 0.5, -0.5, 1e-9, 1e300, float("nan"), float("inf")),
        *(
            "",
            " ",
            "1e4",
            "tiny",
            "tiny-g25",
            "no_model",
            "Tiny",
            "a/b",
            "..",
            "x" * 300,
            "na\nme",
            "ü",
            "yes",
            "paper",
        ),
        *([], [[]], [0], [0, 0], [-1], [0.25, 0.25], ["tiny"], ["tiny", "tiny"], {}, {"a": {}}, {"tiny": 3}),
    ]
)


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and every item of a config."""
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield (*path, key)
            yield from places(value, (*path, key))


@cache
def experiment(preset: Path | None) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """A merged config, and the places of it that decide what runs."""
    values = read_values([ROOT / "config.yaml", *([preset] if preset else [])])
    return values, [path for path in places(values) if path[0] in SECTIONS]


def edited(values: dict[str, Any], path: tuple[Any, ...], how: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(values)
    *parents, last = path
    inner: Any = values
    for key in parents:
        inner = inner[key]
    if how == "replace":
        inner[last] = value
    elif how == "remove":
        del inner[last]
    elif how == "repeat" and isinstance(inner, list):
        inner.append(inner[last])
    elif how == "misspell" and isinstance(inner, dict):
        inner[f"{last}s"] = inner.pop(last)
    return values


def check_plan(plan: Plan) -> None:
    """Everything that Snakemake asks a plan before anything runs."""
    runs = [*plan.finetuning_runs, *plan.baseline_runs]
    for run in plan.pretraining_runs:
        json.loads(plan.pretrain_spec(*run))
    for run in runs:
        json.loads(plan.run_spec(*run))
    for name in plan.experiment.run.searches:
        json.loads(plan.search_spec(name))
    for measured in plan.retention_runs:
        json.loads(plan.retention_spec(*measured))
    paths = [*plan.records, *plan.retention_records, *plan.search_results, *plan.results(plan.tables, plan.figures)]
    paths += [f"{run_log(*run)}.benchmark.tsv" for run in runs]
    assert len(set(paths)) == len(paths)
    assert max((len(part) for path in paths for part in PurePosixPath(path).parts), default=0) <= LONGEST_FILE_NAME


@pytest.mark.parametrize("preset", [None, *PRESETS], ids=lambda path: path.stem if path else "default")
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_edit_plans_or_is_one_line(preset: Path | None, data: st.DataObject) -> None:
    values, everywhere = experiment(preset)
    path = data.draw(st.sampled_from(everywhere))
    how = data.draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat", "misspell"]))
    try:
        changed = load_experiment(edited(values, path, how, data.draw(VALUES)))
    except UserError as error:
        assert str(error).startswith("config: ") and "\n" not in str(error)
        assert len(str(error)) < LONGEST_LINE
        return
    check_plan(Plan(changed))
