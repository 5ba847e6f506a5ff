"""The whole experiment: the named parts, and which of them `run` uses."""

from __future__ import annotations

from itertools import chain, product
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from electralab.config.base import Distinct, Name, Seed, Strict
from electralab.config.benchmarks import Benchmark
from electralab.config.checks import check_library, check_run
from electralab.config.methods import Method
from electralab.config.methods.chains import with_prefixes
from electralab.config.models import Model, RandomInitModel
from electralab.config.pretraining import Pretraining
from electralab.config.retention import Retention
from electralab.config.search import Grid, Search
from electralab.config.tasks import GlueFolder, Task
from electralab.config.text import Corpus, Tokenizer
from electralab.names import model_name, pretraining_name


class FinetuneRuns(Strict):
    """A block of runs: every model with every task, chain of methods and seed in it."""

    models: Distinct[str] = Field(
        min_length=1,
        description="Names of `models`, of pretrainings (all sizes) or of one size (`tiny-g25`).",
    )
    snapshots: bool = Field(False, description="Also the `snapshots` of every pretrained model of the block.")
    tasks: Distinct[Name] = Field(min_length=1, description="Names of tasks.")
    methods: Distinct[Name] = Field([], description="Names of methods or grids: each is a chain of one link.")
    chains: list[Annotated[list[Name], Field(min_length=1)]] = Field(
        [],
        description="Chains of methods: each link goes on from what the one before it left, `[lora, merge, half]`. "
        "Every beginning of a chain is a run of its own, shared by all chains that begin with it.",
    )
    seeds: Distinct[Seed] = Field(
        [0, 1, 2], min_length=1, description="Each sets the order of the rows, dropout and the head's initial values."
    )
    retention: Distinct[Name] = Field(
        [],
        description="Names of `retention`: what each model of the block, and each of its runs, still knows of "
        "pretraining. It makes no run anew.",
    )

    @model_validator(mode="after")
    def _something_runs(self) -> FinetuneRuns:
        if not (self.methods or self.chains):
            raise ValueError("a block needs methods or chains")
        return self


class Run(Strict):
    """Which of the named things this experiment uses."""

    pretraining: Distinct[Name] = Field([], description="Names of pretrainings.")
    finetuning: list[FinetuneRuns] = Field([], description="Blocks of fine-tuning runs.")
    baselines: Distinct[Name] = Field([], description="Names of baseline methods, run on every fine-tuning task.")
    searches: Distinct[Name] = Field([], description="Names of searches.")
    benchmarks: Distinct[Name] = Field([], description="Names of benchmarks; their runs must be among the above.")
    pretraining_seed: Seed = Field(0, description="The pretraining seed whose discriminator is fine-tuned.")


class Experiment(Strict):
    """`config.yaml`: a complete experiment."""

    name: Name = Field(description="Results go to `results/<name>/`.")
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="Where jobs train. `auto`: on a GPU where the machine that runs Snakemake has one. `gpu`: every "
        "training job asks for a GPU and stops where there is none: for jobs that are submitted from a machine without "
        "one (`--config device=gpu`, or in a profile).",
    )
    corpora: dict[Name, Corpus] = Field({})
    tokenizers: dict[Name, Tokenizer] = Field({})
    tasks: dict[Name, Task] = Field({})
    pretraining: dict[Name, Pretraining] = Field({})
    glue: GlueFolder = GlueFolder()
    models: dict[Name, Model] = Field({})
    methods: dict[Name, Method] = Field({})
    grids: dict[Name, Grid] = Field({})
    searches: dict[Name, Search] = Field({})
    benchmarks: dict[Name, Benchmark] = Field({})
    retention: dict[Name, Retention] = Field({})
    run: Run = Run()

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        check_library(self)
        check_run(self)
        return self

    def chains(self, block: FinetuneRuns) -> list[tuple[str, ...]]:
        """The runs of a block as chains of method names: grids expanded, every beginning of a chain before the rest."""
        written = [[name] for name in block.methods] + block.chains
        return with_prefixes(found for names in written for found in product(*map(self.expanded, names)))

    def expanded(self, method: str) -> list[str]:
        """The methods that a name of a block stands for: itself, or every combination of a grid."""
        return list(self._grid_methods(method)) if method in self.grids else [method]

    def all_methods(self) -> dict[str, Method]:
        """Every method by name, those of grids included."""
        return self.methods | {name: found for grid in self.grids for name, found in self._grid_methods(grid).items()}

    def _grid_methods(self, name: str) -> dict[str, Method]:
        grid = self.grids[name]
        base = self.methods[grid.method]
        found = {}
        for values in product(*grid.over.values()):
            options = dict(zip(grid.over, values))
            try:
                method = type(base).model_validate({**base.without_defaults(), **options})
                found["_".join([name, *(f"{option}{getattr(method, option)}" for option in options)])] = method
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"grids.{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return found

    def model_names(self) -> list[str]:
        """Everything that `run.finetuning[].models` may name."""
        sizes = [model_name(name, size) for name, p in self.pretraining.items() for size in p.generator_sizes]
        snapshots = [
            model_name(name, size, share)
            for name, p in self.pretraining.items()
            for size in p.generator_sizes
            for share in p.snapshots
        ]
        return [*self.models, *self.pretraining, *sizes, *snapshots]

    def generator_names(self) -> list[str]:
        """Models that have a generator, or may be one: those pretrained here, by size, and downloaded ones."""
        sizes = [model_name(name, size) for name, p in self.pretraining.items() for size in p.generator_sizes]
        return [*(name for name, model in self.models.items() if not isinstance(model, RandomInitModel)), *sizes]

    def started_models(self) -> set[str]:
        """Names that fine-tuning and searches start from, as they are written."""
        searched = (self.searches[name].model for name in self.run.searches)
        return {*chain.from_iterable(block.models for block in self.run.finetuning), *searched}

    def finetuned_pretrainings(self) -> set[str]:
        """Pretrainings of which a model is fine-tuned."""
        return {model.partition("-")[0] for model in self.started_models() - self.models.keys()}

    def exam_pretrainings(self) -> set[str]:
        """Pretrainings whose generator sets the exam of a retention that is measured."""
        measured = {name for block in self.run.finetuning for name in block.retention}
        generators = {self.retention[name].generator for name in measured}
        return {name.partition("-")[0] for name in generators if name and name not in self.models}

    def ancestors(self, pretraining: str) -> list[str]:
        """The pretrainings whose weights a pretraining goes on from, the nearest first.

        Raises:
            ValueError: they go round in a circle.
        """
        found: list[str] = []
        name = self.pretraining[pretraining].start_from
        while name in self.pretraining:
            if name in (pretraining, *found):
                raise ValueError(f"pretraining.{pretraining}.start_from: {' <- '.join([pretraining, *found, name])}")
            found.append(name)
            name = self.pretraining[name].start_from
        return found

    def extensions(self, pretraining: str) -> list[str]:
        """Departures from the paper in a pretraining and in those that it goes on from."""
        names = [pretraining, *self.ancestors(pretraining)]
        return sorted({extension for name in names for extension in self.pretraining[name].extensions})

    def pretraining_of(self, model: str) -> Pretraining:
        """The pretraining that gives a model, which must not be a downloaded one, its shape and tokenizer."""
        described = self.models.get(model)
        if isinstance(described, RandomInitModel):
            return self.pretraining[described.like]
        return self.pretraining[pretraining_name(model)]
