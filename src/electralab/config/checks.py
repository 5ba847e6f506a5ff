"""What must hold between the parts of an experiment: names that exist and mean one thing, and runs that are possible.

Every function raises a `ValueError` of one line that names the key.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING

from electralab.config.methods import AdapterMethod, Method
from electralab.config.methods.chains import check_chain
from electralab.config.methods.distillation import Taught
from electralab.config.methods.in_context import InContext
from electralab.config.methods.mixing import Mixing
from electralab.config.methods.tfidf import TfidfBaseline
from electralab.config.methods.training import Training
from electralab.config.models import DownloadedModel, RandomInitModel
from electralab.config.tasks import WordOrderTask
from electralab.config.text import ModelTokenizer, TrainedTokenizer
from electralab.errors import did_you_mean
from electralab.names import NO_MODEL, chain_name, pretraining_name, run_log

if TYPE_CHECKING:
    from electralab.config.experiment import Experiment, FinetuneRuns

LONGEST_FILE_NAME = 255  # bytes, on every usual file system; names are ASCII


def check_library(experiment: Experiment) -> None:
    """Every name that a named thing mentions exists, and no name means two things."""
    _check_unique(experiment)
    for name, tokenizer in experiment.tokenizers.items():
        if isinstance(tokenizer, TrainedTokenizer):
            _known(f"tokenizers.{name}.corpus", tokenizer.corpus, experiment.corpora)
        elif isinstance(tokenizer, ModelTokenizer):
            _known(f"tokenizers.{name}.model", tokenizer.model, _downloaded(experiment))
    for name, task in experiment.tasks.items():
        if isinstance(task, WordOrderTask):
            _known(f"tasks.{name}.corpus", task.corpus, experiment.corpora)
    for name, pretraining in experiment.pretraining.items():
        _known(f"pretraining.{name}.corpus", pretraining.corpus, experiment.corpora)
        _known(f"pretraining.{name}.tokenizer", pretraining.tokenizer, experiment.tokenizers)
        _check_start(experiment, name)
    for name, model in experiment.models.items():
        if isinstance(model, RandomInitModel):
            _known(f"models.{name}.like", model.like, experiment.pretraining)
    for name, grid in experiment.grids.items():
        _known(f"grids.{name}.method", grid.method, experiment.methods)
    for name, method in experiment.methods.items():
        if isinstance(method, Taught):
            _check_teacher(experiment, name, method)
        if isinstance(method, Mixing) and method.mix_corpus:
            _known(f"methods.{name}.mix_corpus", method.mix_corpus, experiment.corpora)
    _check_searches(experiment)
    _check_benchmarks(experiment)
    for name, measured in experiment.retention.items():
        _known(f"retention.{name}.corpus", measured.corpus, experiment.corpora)
        if measured.generator is not None:
            _known(f"retention.{name}.generator", measured.generator, experiment.generator_names())


def _check_teacher(experiment: Experiment, name: str, method: Taught) -> None:
    """A teacher is a chain that leaves a fine-tuned encoder and does not need this method to be run first."""
    where, library = f"methods.{name}.teacher", experiment.all_methods()
    if method.teacher_model is not None:
        _known(f"{where}_model", method.teacher_model, experiment.model_names())
        if not method.teacher:
            raise ValueError(f"{where}_model is given without teacher: name the chain of methods that tunes it")
    if not method.teacher:
        return
    for link in method.teacher:
        _known(where, link, library)
    links = [library[link] for link in method.teacher]
    wrong = check_chain(links, method.teacher)
    if wrong:
        raise ValueError(f"{where}: chain {chain_name(method.teacher)}: {wrong}")
    if links[-1].leaves != "huggingface" or links[-1].no_artifact:
        raise ValueError(f"{where}: {chain_name(method.teacher)} leaves no fine-tuned model: name a chain that does")
    taught = [link for link, found in zip(method.teacher, links) if isinstance(found, Taught) and found.teacher]
    if taught:
        raise ValueError(f"{where}: {taught[0]} has a teacher itself: name one that learns from labels alone")


def _check_start(experiment: Experiment, name: str) -> None:
    """What a pretraining goes on from exists and has its shape, sizes and seeds."""
    key, settings = f"pretraining.{name}", experiment.pretraining[name]
    if settings.start_from is None:
        return
    _known(f"{key}.start_from", settings.start_from, {*experiment.pretraining, *_downloaded(experiment)})
    if settings.start_generator_from is not None:
        _known(f"{key}.start_generator_from", settings.start_generator_from, _downloaded(experiment))
    if settings.start_from not in experiment.pretraining:
        return
    experiment.ancestors(name)
    if settings.start_generator_from is not None:
        raise ValueError(f"{key}.start_generator_from: {settings.start_from} has a generator of its own: leave it out")
    start = experiment.pretraining[settings.start_from]
    for option in ("discriminator", "tokenizer", "tied_embeddings"):
        if getattr(settings, option) != getattr(start, option):
            raise ValueError(f"{key}.{option} is not that of {settings.start_from}, from which it goes on: make it so")
    for option in ("generator_sizes", "seeds"):
        missing = sorted(set(getattr(settings, option)) - set(getattr(start, option)))
        if missing:
            raise ValueError(f"{key}.{option}: {settings.start_from}, from which it goes on, has no {missing[0]:g}")


def check_run(experiment: Experiment) -> None:
    """What `run` names exists, and its runs are possible."""
    run = experiment.run
    for name in run.pretraining:
        _known("run.pretraining", name, experiment.pretraining)
    for name in run.baselines:
        _known("run.baselines", name, _baselines(experiment))
    for name in run.searches:
        _known("run.searches", name, experiment.searches)
        search = experiment.searches[name]
        _check_fit(experiment, search.model, search.method, experiment.methods[search.method])
    for index, block in enumerate(run.finetuning):
        where = f"run.finetuning[{index}]"
        for task in block.tasks:
            _known(f"{where}.tasks", task, experiment.tasks)
        for model in block.models:
            _known(f"{where}.models", model, experiment.model_names())
        for name in block.retention:
            _known(f"{where}.retention", name, experiment.retention)
            for model in block.models:
                _check_retention(experiment, name, model)
        _check_chains(experiment, where, block)
        _check_length(experiment, where, block)
    for name in run.benchmarks:
        _known("run.benchmarks", name, experiment.benchmarks)
        _check_timed(experiment, name)
    _check_pretrainings(experiment)


def _check_unique(experiment: Experiment) -> None:
    for key in ("models", "pretraining"):
        if NO_MODEL in getattr(experiment, key):
            raise ValueError(f"{key}.{NO_MODEL}: the name is taken by runs without a model: choose another")
    for name in experiment.models.keys() & experiment.pretraining.keys():
        raise ValueError(f"models.{name} and pretraining.{name} have one name: rename one of them")
    taken = {*experiment.methods, *experiment.grids}
    for name in experiment.methods.keys() & experiment.grids.keys():
        raise ValueError(f"methods.{name} and grids.{name} have one name: rename one of them")
    for name, grid in experiment.grids.items():
        if grid.method not in experiment.methods:
            continue
        made = experiment.expanded(name)
        for method in taken.intersection(made):
            raise ValueError(f"grids.{name} makes a method {method}, and that name is taken: rename one of them")
        taken.update(made)


def _check_searches(experiment: Experiment) -> None:
    trained = [name for name, method in experiment.methods.items() if isinstance(method, Training)]
    for name, search in experiment.searches.items():
        _known(f"searches.{name}.model", search.model, experiment.model_names())
        _known(f"searches.{name}.task", search.task, experiment.tasks)
        _known(f"searches.{name}.method", search.method, trained)
        options = set(type(experiment.methods[search.method]).model_fields) - {"recipe"}
        for option in search.space:
            _known(f"searches.{name}.space", option, options)


def _check_benchmarks(experiment: Experiment) -> None:
    for name, benchmark in experiment.benchmarks.items():
        where = f"benchmarks.{name}"
        _known(f"{where}.model", benchmark.model, set(experiment.model_names()) - experiment.pretraining.keys())
        _known(f"{where}.task", benchmark.task, experiment.tasks)
        for link in chain.from_iterable(benchmark.chains):
            _known(f"{where}.variants", link, experiment.all_methods())


def _check_timed(experiment: Experiment, name: str) -> None:
    """What is timed is also scored: a time without a score compares nothing."""
    benchmark = experiment.benchmarks[name]
    model, task, seed = benchmark.model, benchmark.task, benchmark.seed
    blocks = [
        block
        for block in experiment.run.finetuning
        if {model, pretraining_name(model)} & {*block.models} and task in block.tasks and seed in block.seeds
    ]
    scored = {found for block in blocks for found in experiment.chains(block)}
    for timed in benchmark.chains:
        if timed not in scored:
            raise ValueError(
                f"benchmarks.{name}.variants: {chain_name(timed)} of {model} on {task}, seed {seed}, is none of the "
                "runs of this experiment: add it to run.finetuning"
            )


def _check_chains(experiment: Experiment, where: str, block: FinetuneRuns) -> None:
    """Refuse a chain whose links are unknown, do not fit each other, or do not fit a model of the block."""
    allowed = {*experiment.methods, *experiment.grids} - _baselines(experiment)
    for key, chains in (("methods", [block.methods]), ("chains", block.chains)):
        for name in chain.from_iterable(chains):
            _known(f"{where}.{key}", name, allowed)
    library = experiment.all_methods()
    for names in experiment.chains(block):
        wrong = check_chain([library[name] for name in names], names)
        if wrong:
            raise ValueError(f"{where}: chain {chain_name(names)}: {wrong}")
        for model in block.models:
            _check_fit(experiment, model, names[-1], library[names[-1]])


def _check_length(experiment: Experiment, where: str, block: FinetuneRuns) -> None:
    """Refuse runs whose log would have a longer name than a file may have."""
    started = tuple(f"{model}-" for model in block.models)  # sizes and snapshots of a pretraining go on so
    models = [name for name in experiment.model_names() if f"{name}-".startswith(started)]
    chains = map(chain_name, experiment.chains(block))
    parts = [max(names, key=len) for names in (models, block.tasks, chains, map(str, block.seeds))]
    name = PurePath(f"{run_log(*parts)}.benchmark.tsv").name
    if len(name) > LONGEST_FILE_NAME:
        raise ValueError(
            f"{where}: model, task and methods make a file name of {len(name)} letters ({name}), and a file may have "
            f"{LONGEST_FILE_NAME}: shorten their names"
        )


def _check_fit(experiment: Experiment, model: str, name: str, method: Method) -> None:
    """A method on a model; the shape of a downloaded model is known only when it is there."""
    described = experiment.models.get(model)
    if isinstance(described, DownloadedModel):
        return
    longest = experiment.pretraining_of(model).discriminator.max_positions
    if isinstance(method, InContext):
        raise ValueError(f"methods.{name} is for decoders, and {model} is none")
    if isinstance(method, AdapterMethod) and isinstance(described, RandomInitModel):
        raise ValueError(f"methods.{name} adapts a pretrained model, and {model} is untrained")
    if isinstance(method, Training) and method.max_length > longest:
        raise ValueError(
            f"methods.{name}.max_length {method.max_length} is longer than the max_positions {longest} of model {model}"
        )


def _check_retention(experiment: Experiment, name: str, model: str) -> None:
    """What is pretrained here reads windows as long, and the generator reads with the model's tokenizer."""
    measured, where = experiment.retention[name], f"retention.{name}"
    own = [other for other in (model, measured.generator) if other and other not in _downloaded(experiment)]
    for other in own:
        longest = experiment.pretraining_of(other).discriminator.max_positions
        if measured.window > longest:
            raise ValueError(
                f"{where}.window {measured.window} is longer than the max_positions {longest} of {other}: lower it"
            )
    tokenizers = [experiment.pretraining_of(other).tokenizer for other in own]
    if len(set(tokenizers)) > 1:
        raise ValueError(
            f"{where}.generator: {measured.generator} reads with the tokenizer {tokenizers[1]} and {model} with "
            f"{tokenizers[0]}: name a generator with the model's tokenizer"
        )


def _check_pretrainings(experiment: Experiment) -> None:
    """The pretrainings that run, and those whose models are fine-tuned or set an exam."""
    wanted = experiment.finetuned_pretrainings() | experiment.exam_pretrainings()
    seed = experiment.run.pretraining_seed
    for name in sorted(wanted):
        seeds = experiment.pretraining[name].seeds
        if seed not in seeds:
            raise ValueError(
                f"run.pretraining_seed {seed} is none of pretraining.{name}.seeds ({', '.join(map(str, seeds))})"
            )
    for name in sorted(wanted | {*experiment.run.pretraining}):
        settings = experiment.pretraining[name]
        if settings.warmup_steps >= settings.steps:
            raise ValueError(
                f"pretraining.{name}.warmup_steps {settings.warmup_steps} leave none of its {settings.steps} steps at "
                "the learning rate: lower warmup_steps"
            )


def _baselines(experiment: Experiment) -> set[str]:
    return {name for name, method in experiment.methods.items() if isinstance(method, TfidfBaseline)}


def _downloaded(experiment: Experiment) -> set[str]:
    return {name for name, model in experiment.models.items() if isinstance(model, DownloadedModel)}


def _known(where: str, name: str, allowed: Iterable[str]) -> None:
    names = sorted(allowed)
    if name not in names:
        listed = ", ".join(names) or "none is defined"
        raise ValueError(f"{where}: unknown name {name!r}{did_you_mean(name, names) or ';'} allowed: {listed}")
