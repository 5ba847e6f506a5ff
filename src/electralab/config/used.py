"""The part of an experiment that its `run` uses."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from electralab.config.experiment import Experiment
from electralab.config.methods.distillation import Taught
from electralab.config.methods.mixing import Mixing
from electralab.config.models import RandomInitModel
from electralab.config.tasks import WordOrderTask
from electralab.config.text import ModelTokenizer, TrainedTokenizer

T = TypeVar("T")


def used(experiment: Experiment) -> Experiment:
    """The experiment without what nothing in `run` needs."""
    run = experiment.run
    searches = _only(experiment.searches, run.searches)
    named = {name for block in run.finetuning for names in (block.methods, *block.chains) for name in names}
    grids = _only(experiment.grids, named)
    named |= {*run.baselines, *(grid.method for grid in grids.values()), *(s.method for s in searches.values())}
    asked = _only(experiment.all_methods(), named).values()
    teachers = [method for method in asked if isinstance(method, Taught)]
    mixed = {method.mix_corpus for method in asked if isinstance(method, Mixing) and method.mix_corpus}
    named |= {link for method in teachers for link in method.teacher}
    tuned = {task for block in run.finetuning for task in block.tasks}
    tasks = _only(experiment.tasks, tuned | {search.task for search in searches.values()})
    started = experiment.started_models()
    controls = _only(experiment.models, started).values()
    shapes = {model.like for model in controls if isinstance(model, RandomInitModel)}
    trained = {*run.pretraining, *experiment.finetuned_pretrainings(), *experiment.exam_pretrainings(), *shapes}
    retention = _only(experiment.retention, {name for block in run.finetuning for name in block.retention})
    generators = {measured.generator for measured in retention.values() if measured.generator}
    trained |= {ancestor for name in trained for ancestor in experiment.ancestors(name)}
    pretraining = _only(experiment.pretraining, trained)
    tokenizers = _only(experiment.tokenizers, {settings.tokenizer for settings in pretraining.values()})
    starts = {name for p in pretraining.values() for name in (p.start_from, p.start_generator_from) if name}
    owners = {tokenizer.model for tokenizer in tokenizers.values() if isinstance(tokenizer, ModelTokenizer)}
    taught_by = {method.teacher_model for method in teachers if method.teacher_model}
    models = _only(experiment.models, {*started, *starts, *owners, *taught_by, *generators})
    corpora = {settings.corpus for settings in pretraining.values()}
    corpora |= {trained.corpus for trained in tokenizers.values() if isinstance(trained, TrainedTokenizer)}
    corpora |= {measured.corpus for measured in retention.values()}
    corpora |= mixed | {task.corpus for task in tasks.values() if isinstance(task, WordOrderTask)}
    parts = {
        "searches": searches,
        "benchmarks": _only(experiment.benchmarks, run.benchmarks),
        "retention": retention,
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
