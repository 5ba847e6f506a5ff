"""The typed experiment: every key of `config.yaml`, its default, its limits and its documentation.

This package is the one source of the JSON schema (`workflow/schemas/config.schema.json`) and of
`docs/configuration.md`. Corpora, tokenizers, tasks, pretrainings, models and methods are named once in their
section; `run` says by name which of them an experiment uses. A name means one thing: a preset adds names to the
library of `config.yaml` and replaces the lists of `run`, so artifacts are shared between presets.
"""

from electralab.config.base import Strict
from electralab.config.experiment import Experiment, model_name
from electralab.config.finetuning import FINETUNING_RECIPES, FullFinetuning, TfidfBaseline
from electralab.config.loading import json_schema, load_experiment, read_experiment
from electralab.config.models import DownloadedModel, HubModel, LocalModel, PackageModel, RandomInitModel
from electralab.config.pretraining import RECIPES, Initialization, Pretraining, Shape
from electralab.config.tasks import (
    GlueFolder,
    GlueHub,
    GlueName,
    GlueTask,
    HubTask,
    LocalTask,
    PackageTask,
    TableColumns,
    Task,
    WordOrderTask,
)
from electralab.config.text import (
    MAX_VOCABULARY,
    Corpus,
    HubText,
    HubTokenizer,
    LocalText,
    PackageText,
    PackageTokenizer,
    Tokenizer,
    TrainedTokenizer,
)

__all__ = [
    "FINETUNING_RECIPES",
    "MAX_VOCABULARY",
    "RECIPES",
    "Corpus",
    "DownloadedModel",
    "Experiment",
    "FullFinetuning",
    "GlueFolder",
    "GlueHub",
    "GlueName",
    "GlueTask",
    "HubModel",
    "HubTask",
    "HubText",
    "HubTokenizer",
    "Initialization",
    "LocalModel",
    "LocalTask",
    "LocalText",
    "PackageModel",
    "PackageTask",
    "PackageText",
    "PackageTokenizer",
    "Pretraining",
    "RandomInitModel",
    "Shape",
    "Strict",
    "TableColumns",
    "Task",
    "TfidfBaseline",
    "Tokenizer",
    "TrainedTokenizer",
    "WordOrderTask",
    "json_schema",
    "load_experiment",
    "model_name",
    "read_experiment",
]
