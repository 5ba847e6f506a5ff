"""What is refused before a run because of the files of this machine, or of what an experiment of the project writes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from experiments import DEFAULT, ROOT, changed

from electralab.config import Experiment, load_experiment, load_to_run, read_experiment, used
from electralab.config.loading import deep_merge, read_values
from electralab.errors import UserError
from electralab.plan import Plan

CONFIG = ROOT / "config.yaml"
PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))


def refused(values: dict[str, Any], default: Path = CONFIG) -> str:
    with pytest.raises(UserError) as caught:
        load_to_run(values, default)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is used ------------------------------------------------------------------------------------------------


def jobs(experiment: Experiment) -> dict[str, str]:
    """What every job of an experiment is told."""
    plan = Plan(experiment)
    told = dict.fromkeys(plan.records, "")
    told |= {f"{run}": plan.pretrain_spec(*run) for run in plan.pretraining_runs}
    told |= {f"{run}": plan.run_spec(*run) for run in [*plan.finetuning_runs, *plan.baseline_runs]}
    told |= {f"task {task}": plan.task_spec(task) for _, task, _, _ in plan.finetuning_runs}
    told |= {f"{run}": plan.retention_spec(*run) for run in plan.retention_runs}
    return told | {f"search {name}": plan.search_spec(name) for name in experiment.run.searches}


@pytest.mark.parametrize("preset", [None, *PRESETS], ids=lambda path: path.stem if path else "default")
def test_what_is_used_is_enough_for_every_job_and_is_all_that_is_needed(preset: Path | None) -> None:
    experiment = read_experiment([CONFIG, *([preset] if preset else [])])
    part = used(experiment)
    assert jobs(part) == jobs(experiment)
    assert load_experiment(part.model_dump()) == part == used(part)
    for key in ("corpora", "tokenizers", "tasks", "pretraining", "models", "methods", "grids", "searches", "retention"):
        for name in getattr(part, key):
            values = part.model_dump()
            del values[key][name]
            with pytest.raises(UserError, match=r"unknown name|none is defined"):
                load_experiment(values)


# --- a name of its own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pretraining.tiny.steps", 1000),
        ("methods.quick_full.epochs", 3),
        ("run.baselines", []),
        ("run.pretraining", ["tiny"]),
        ("corpora.bundled_english.shards", 2),
        ("searches.quick_search.trials", 3),
    ],
)
def test_what_changes_the_runs_needs_a_name_of_its_own(path: str, value: Any) -> None:
    line = refused(changed(path, value))
    assert [part for part in ("results/quick", "name: mine", "--config name=mine") if part not in line] == []
    assert load_to_run(changed(path, value) | {"name": "mine"}, CONFIG).name == "mine"


def test_the_names_of_presets_are_taken_too() -> None:
    smoke = read_values([CONFIG, CONFIG.parent / "workflow" / "presets" / "smoke.yaml"])
    assert load_to_run(smoke, CONFIG).name == "smoke"
    edited = deep_merge(smoke, {"pretraining": {"smoke": {"steps": 50}}})
    line = refused(edited)
    assert "smoke.yaml runs" in line and "results/smoke" in line
    assert load_to_run(edited | {"name": "mine"}, CONFIG).name == "mine"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("glue", {"path": "/elsewhere"}),
        ("methods.new", {"kind": "lora"}),
        ("tokenizers.new", {"kind": "package"}),
        ("tasks.cola", {"source": "glue", "task": "rte"}),
        ("pretraining.tiny.steps", "1600"),
        ("pretraining.tiny.recipe", "paper"),
    ],
)
def test_what_changes_no_run_needs_none(path: str, value: Any) -> None:
    assert load_to_run(changed(path, value), CONFIG).name == "quick"


def test_an_edited_default_experiment_needs_none(tmp_path: Path) -> None:
    edited = changed("pretraining.tiny.steps", 500)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(edited))
    assert load_to_run(edited, tmp_path / "config.yaml").name == "quick"


# --- local data --------------------------------------------------------------------------------------------------


def local(**used_parts: Any) -> dict[str, Any]:
    """An experiment of its own whose library holds local text, a task, a model, and GLUE in a folder."""
    values = copy.deepcopy(DEFAULT)
    values["name"] = "mine"
    parts = [{"source": "package", "datasets": ["xsum_documents"]}, {"source": "local", "path": "text"}]
    values["corpora"]["mine"] = {"parts": parts}
    values["tasks"]["mine"] = {"source": "local", "path": "task", "labels": ["a", "b"]}
    values["tasks"]["there"] = {"source": "glue", "task": "rte", "location": {"source": "local", "path": "my_glue"}}
    values["models"] |= {"local": {"kind": "local", "path": "model"}, "minilm": {"kind": "package"}}
    values["pretraining"]["mine"] = {"corpus": "mine", "tokenizer": "wordpiece_2k"}
    values["run"] = used_parts
    return values


def block(**parts: Any) -> dict[str, Any]:
    return {"models": ["minilm"], "tasks": ["movie_sentiment"], "methods": ["quick_full"], **parts}


@pytest.mark.parametrize(
    ("run", "key", "path"),
    [
        ({"pretraining": ["mine"]}, "corpora.mine.parts[1].path", "text"),
        ({"finetuning": [block(models=["local"])]}, "models.local.path", "model"),
        ({"finetuning": [block(tasks=["mine"])]}, "tasks.mine.path", "task"),
        ({"finetuning": [block(tasks=["rte"])]}, "glue.path", "data/glue"),
        ({"finetuning": [block(tasks=["there"])]}, "tasks.there.location.path", "my_glue"),
    ],
)
def test_local_data_that_is_used_must_be_there(
    run: dict[str, Any], key: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(local(**run))
    assert key in line and repr(path) in line
    (tmp_path / path).mkdir(parents=True)
    assert load_to_run(local(**run), CONFIG).name == "mine"


def test_local_data_that_nothing_uses_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_to_run(local(finetuning=[block()]), CONFIG).name == "mine"


@pytest.mark.parametrize(
    ("made", "path"), [("a/b.txt", "a/*.txt"), ("[2020] news/b.txt", "[2020] news"), ("b.txt", "b.txt")]
)
def test_a_path_may_be_a_file_a_folder_or_a_glob(
    made: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = local(pretraining=["mine"])
    values["corpora"]["mine"]["parts"][1]["path"] = path
    assert path in refused(values)
    (tmp_path / made).parent.mkdir(exist_ok=True)
    (tmp_path / made).write_text("text")
    assert load_to_run(values, CONFIG).name == "mine"
