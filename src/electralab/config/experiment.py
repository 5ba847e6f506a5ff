"""The whole experiment: the named parts, and which of them `run` uses."""

from __future__ import annotations

from itertools import chain, product
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from electralab.config.base import Name, Strict
from electralab.config.methods import AdapterMethod, Method
from electralab.config.methods.chains import check_chain, with_prefixes
from electralab.config.methods.in_context import InContext
from electralab.config.methods.tfidf import TfidfBaseline
from electralab.config.methods.training import Training
from electralab.config.models import DownloadedModel, Model, RandomInitModel
from electralab.config.pretraining import Pretraining
from electralab.config.search import Grid, Search
from electralab.config.tasks import GlueFolder, Task, WordOrderTask
from electralab.config.text import Corpus, Tokenizer, TrainedTokenizer
from electralab.names import chain_name, model_name, pretraining_name


class FinetuneRuns(Strict):
    """A block of runs: every model with every task, chain of methods and seed in it."""

    models: list[str] = Field(
        min_length=1,
        description="Names of `models`, of pretrainings (all sizes) or of one size (`tiny-g25`).",
    )
    snapshots: bool = Field(False, description="Also the `snapshots` of every pretrained model of the block.")
    tasks: list[Name] = Field(min_length=1, description="Names of tasks.")
    methods: list[Name] = Field([], description="Names of methods or grids: each is a chain of one link.")
    chains: list[Annotated[list[Name], Field(min_length=1)]] = Field(
        [],
        description="Chains of methods: each link goes on from what the one before it left, `[lora, merge, half]`. "
        "Every beginning of a chain is a run of its own, shared by all chains that begin with it.",
    )
    seeds: list[int] = Field(
        [0, 1, 2], min_length=1, description="Each sets the order of the rows, dropout and the head's initial values."
    )

    @model_validator(mode="after")
    def _something_runs(self) -> FinetuneRuns:
        if not (self.methods or self.chains):
            raise ValueError("a block needs methods or chains")
        return self


class Run(Strict):
    """Which of the named things this experiment uses."""

    pretraining: list[Name] = Field([], description="Names of pretrainings.")
    finetuning: list[FinetuneRuns] = Field([], description="Blocks of fine-tuning runs.")
    baselines: list[Name] = Field([], description="Names of baseline methods, run on every fine-tuning task.")
    searches: list[Name] = Field([], description="Names of searches.")
    pretraining_seed: int = Field(0, description="The pretraining seed whose discriminator is fine-tuned.")


class Experiment(Strict):
    """`config.yaml`: a complete experiment."""

    name: Name = Field(description="Results go to `results/<name>/`.")
    corpora: dict[Name, Corpus] = Field({})
    tokenizers: dict[Name, Tokenizer] = Field({})
    tasks: dict[Name, Task] = Field({})
    pretraining: dict[Name, Pretraining] = Field({})
    glue: GlueFolder = GlueFolder()
    models: dict[Name, Model] = Field({})
    methods: dict[Name, Method] = Field({})
    grids: dict[Name, Grid] = Field({})
    searches: dict[Name, Search] = Field({})
    run: Run = Run()

    @model_validator(mode="after")
    def _names_exist(self) -> Experiment:
        for name, tokenizer in self.tokenizers.items():
            if isinstance(tokenizer, TrainedTokenizer):
                _known(f"tokenizers.{name}.corpus", tokenizer.corpus, self.corpora)
        for name, task in self.tasks.items():
            if isinstance(task, WordOrderTask):
                _known(f"tasks.{name}.corpus", task.corpus, self.corpora)
        for name, pretraining in self.pretraining.items():
            _known(f"pretraining.{name}.corpus", pretraining.corpus, self.corpora)
            _known(f"pretraining.{name}.tokenizer", pretraining.tokenizer, self.tokenizers)
        for name, model in self.models.items():
            if isinstance(model, RandomInitModel):
                _known(f"models.{name}.like", model.like, self.pretraining)
        for name, grid in self.grids.items():
            _known(f"grids.{name}.method", grid.method, self.methods)
        for name, search in self.searches.items():
            _known(f"searches.{name}.model", search.model, self.model_names())
            _known(f"searches.{name}.task", search.task, self.tasks)
            _known(f"searches.{name}.method", search.method, self._trained_methods())
            options = set(type(self.methods[search.method]).model_fields) - {"recipe"}
            for option in search.space:
                _known(f"searches.{name}.space", option, options)
        self._run_names_exist()
        return self

    def _run_names_exist(self) -> None:
        for name in self.run.pretraining:
            _known("run.pretraining", name, self.pretraining)
        for name in self.run.baselines:
            _known("run.baselines", name, self._baselines())
        for name in self.run.searches:
            _known("run.searches", name, self.searches)
        for index, block in enumerate(self.run.finetuning):
            where = f"run.finetuning[{index}]"
            for task in block.tasks:
                _known(f"{where}.tasks", task, self.tasks)
            for model in block.models:
                _known(f"{where}.models", model, self.model_names())
            self._check_chains(where, block)

    def _check_chains(self, where: str, block: FinetuneRuns) -> None:
        """Refuse a chain whose links are unknown, do not fit each other, or do not fit a model of the block."""
        allowed = {*self.methods, *self.grids} - self._baselines()
        for key, chains in (("methods", [[name] for name in block.methods]), ("chains", block.chains)):
            for name in chain.from_iterable(chains):
                _known(f"{where}.{key}", name, allowed)
        library = self.all_methods()
        for names in self.chains(block):
            wrong = check_chain([library[name] for name in names], names)
            if wrong:
                raise ValueError(f"{where}: chain {chain_name(names)}: {wrong}")
            for model in block.models:
                self._fits(model, names[-1])

    def _fits(self, model: str, method: str) -> None:
        """The shape of a downloaded model is known only when it is there."""
        if isinstance(self.models.get(model), DownloadedModel):
            return
        params, longest = self.all_methods()[method], self.pretraining_of(model).discriminator.max_positions
        if isinstance(params, InContext):
            raise ValueError(f"methods.{method} is for decoders, and {model} is none")
        if isinstance(params, AdapterMethod) and isinstance(self.models.get(model), RandomInitModel):
            raise ValueError(f"methods.{method} adapts a pretrained model, and {model} is untrained")
        if isinstance(params, Training) and params.max_length > longest:
            raise ValueError(
                f"methods.{method}.max_length {params.max_length} is longer than the max_positions {longest} of model "
                f"{model}"
            )

    def chains(self, block: FinetuneRuns) -> list[tuple[str, ...]]:
        """The runs of a block as chains of method names: grids expanded, every beginning of a chain before the rest."""
        written = [[name] for name in block.methods] + block.chains
        return with_prefixes(found for names in written for found in product(*map(self.expanded, names)))

    def _baselines(self) -> set[str]:
        return {name for name, method in self.methods.items() if isinstance(method, TfidfBaseline)}

    def _trained_methods(self) -> list[str]:
        return [name for name, method in self.methods.items() if isinstance(method, Training)]

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

    def pretraining_of(self, model: str) -> Pretraining:
        """The pretraining that gives a model, which must not be a downloaded one, its shape and tokenizer."""
        described = self.models.get(model)
        if isinstance(described, RandomInitModel):
            return self.pretraining[described.like]
        return self.pretraining[pretraining_name(model)]


def _known(where: str, name: str, allowed: Any) -> None:
    if name not in allowed:
        raise ValueError(f"{where}: unknown name {name!r}; allowed: {', '.join(sorted(allowed)) or 'none is defined'}")
