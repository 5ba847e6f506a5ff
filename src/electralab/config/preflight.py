"""What is checked before a run beyond the config itself: files of this machine, and names that are taken."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from electralab.config.experiment import Experiment
from electralab.config.loading import load_experiment, read_values
from electralab.config.local import local_model_as_found, local_task_as_found, text_as_found
from electralab.config.models import LocalModel
from electralab.config.tasks import GlueFolder, GlueTask, LocalTask
from electralab.config.text import LocalText
from electralab.config.used import used
from electralab.errors import UserError


def load_to_run(values: dict[str, Any], default: Path) -> Experiment:
    """The experiment of a merged config that is about to run here.

    Args:
        values: the default experiment's config with overlays merged into it.
        default: the file of the default experiment.

    Raises:
        UserError: the config is wrong, it would write into the results of the default experiment or of a preset, or
            local data that it uses is not there.
    """
    experiment = load_experiment(values)
    _check_own_name(experiment, values, default)
    for key, path in _local_paths(used(experiment)):
        if not os.path.exists(path) and not glob.glob(path, recursive=True):  # noqa: PTH110, PTH207
            elsewhere = " or give its place with --config 'glue={path: /where/it/is}'" if key == "glue.path" else ""
            raise UserError(f"config: {key}: there is no {path!r}, seen from {Path.cwd()}: put it there{elsewhere}")
    for key, given, found in _given_checksums(used(experiment)):
        if given != found:
            raise UserError(f"config: {key}: the files have the checksum {found}, not {given}: they are others")
    return experiment


def _check_own_name(experiment: Experiment, values: dict[str, Any], default: Path) -> None:
    """The default experiment's name and those of the presets are taken; a preset's file is called as it is."""
    base = read_values([default])
    files = [default]
    if base.get("name") != experiment.name:
        files.append(default.parent / "workflow" / "presets" / f"{experiment.name}.yaml")
        if not files[-1].exists():
            return
        base = read_values(files)
    if values != base and _what_runs(experiment) != _what_runs(load_experiment(base)):
        raise UserError(
            f"config: this is not what {files[-1]} runs, but it has the same name and would write into "
            f"results/{experiment.name}: give it a name of its own, as name: mine in the overlay or --config name=mine"
        )


def _what_runs(experiment: Experiment) -> str:
    """Where GLUE lies and which devices there are makes no other experiment."""
    return used(experiment).model_copy(update={"glue": GlueFolder(), "device": "auto"}).canonical()


def _given_checksums(experiment: Experiment) -> Iterator[tuple[str, str, str | None]]:
    """Keys of checksums that the config gives, what it gives, and the checksum of what is there."""
    for name, corpus in experiment.corpora.items():
        for index, part in enumerate(corpus.parts):
            if isinstance(part, LocalText) and part.sha256 is not None:
                yield f"corpora.{name}.parts[{index}].sha256", part.sha256, text_as_found(part).sha256
    for name, task in experiment.tasks.items():
        if isinstance(task, LocalTask) and task.sha256 is not None:
            yield f"tasks.{name}.sha256", task.sha256, local_task_as_found(task).sha256
    for name, model in experiment.models.items():
        if isinstance(model, LocalModel) and model.sha256 is not None:
            yield f"models.{name}.sha256", model.sha256, local_model_as_found(model).sha256


def _local_paths(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Keys that hold a path, and the path."""
    for name, corpus in experiment.corpora.items():
        for index, part in enumerate(corpus.parts):
            if isinstance(part, LocalText):
                yield f"corpora.{name}.parts[{index}].path", part.path
    for name, task in experiment.tasks.items():
        if isinstance(task, LocalTask):
            yield f"tasks.{name}.path", task.path
        elif isinstance(task, GlueTask) and task.location is None:
            yield "glue.path", experiment.glue.path
        elif isinstance(task, GlueTask) and isinstance(task.location, GlueFolder):
            yield f"tasks.{name}.location.path", task.location.path
    for name, model in experiment.models.items():
        if isinstance(model, LocalModel):
            yield f"models.{name}.path", model.path
