"""The part of an experiment that its `run` uses."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from electralab.config.experiment import Experiment
from electralab.config.models import RandomInitModel
from electralab.config.tasks import WordOrderTask
from electralab.config.text import TrainedTokenizer

T = TypeVar("T")


def used(experiment: Experiment) -> Experiment:
    """The experiment without what nothing in `run` needs."""
    run = experiment.run
    searches = _only(experiment.searches, run.searches)
    named = {name for block in run.finetuning for names in (block.methods, *block.chains) for name in names}
    grids = _only(experiment.grids, named)
    named |= {*run.baselines, *(grid.method for grid in grids.values()), *(s.method for s in searches.values())}
    tuned = {task for block in run.finetuning for task in block.tasks}
    tasks = _only(experiment.tasks, tuned | {search.task for search in searches.values()})
    models = _only(experiment.models, experiment.started_models())
    shapes = {model.like for model in models.values() if isinstance(model, RandomInitModel)}
    pretraining = _only(experiment.pretraining, {*run.pretraining, *experiment.finetuned_pretrainings(), *shapes})
    tokenizers = _only(experiment.tokenizers, {settings.tokenizer for settings in pretraining.values()})
    corpora = {settings.corpus for settings in pretraining.values()}
    corpora |= {trained.corpus for trained in tokenizers.values() if isinstance(trained, TrainedTokenizer)}
    corpora |= {task.corpus for task in tasks.values() if isinstance(task, WordOrderTask)}
    parts = {
        "searches": searches,
        "methods": _only(experiment.methods, named),
        "grids": grids,
        "tasks": tasks,
        "models": models,
        "pretraining": pretraining,
        "tokenizers": tokenizers,
        "corpora": _only(experiment.corpora, corpora),
    }
    return experiment.model_copy(update=parts)


def _only(library: dict[str, T], names: Collection[str]) -> dict[str, T]:
    return {name: described for name, described in library.items() if name in names}
