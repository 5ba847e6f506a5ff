"""The typed experiment: every key of `config.yaml`, its default, its limits and its documentation.

This package is the one source of the JSON schema (`workflow/schemas/config.schema.json`) and of
`docs/configuration.md`. Corpora, tokenizers, tasks, pretrainings, models and methods are named once in their
section; `run` says by name which of them an experiment uses. A name means one thing: a preset adds names to the
library of `config.yaml` and replaces the lists of `run`, so artifacts are shared between presets.
"""

from electralab.config.base import Strict
from electralab.config.benchmarks import (
    TORCH_BACKENDS,
    BackendName,
    Benchmark,
    ColdStart,
    Latency,
    TaskLengths,
    Variant,
)
from electralab.config.experiment import Experiment, FinetuneRuns
from electralab.config.loading import json_schema, load_experiment, read_experiment, read_values
from electralab.config.methods import AdapterMethod, FinetuningMethod, Method
from electralab.config.methods.adapters import (
    AdaLora,
    Adapter,
    Ia3,
    Loha,
    Lora,
    Oft,
    Prefix,
    Prompt,
    Qlora,
    Role,
)
from electralab.config.methods.chains import check_chain, with_prefixes
from electralab.config.methods.distil import CopiedStudent, Distil, RandomStudent
from electralab.config.methods.distillation import Taught
from electralab.config.methods.full import FINETUNING_RECIPES, FullFinetuning, WholeTraining
from electralab.config.methods.half import Half
from electralab.config.methods.in_context import InContext
from electralab.config.methods.linear_probe import LinearProbe
from electralab.config.methods.link import Form, Link
from electralab.config.methods.low_bit import BnbInt8, LowBit, Nf4
from electralab.config.methods.merge import Merge
from electralab.config.methods.mixing import Mixing
from electralab.config.methods.prune_as_you_tune import PruneAsYouTune
from electralab.config.methods.pruning import CALIBRATED, Prune, PruneFull, Pruning, Recover, Remove, RemoveHeads
from electralab.config.methods.qat import Qat
from electralab.config.methods.quantization import (
    DynamicInt8,
    OpenvinoInt8,
    StaticInt8,
    WeightOnlyInt4,
    WeightOnlyInt8,
    WeightScope,
)
from electralab.config.methods.tfidf import TfidfBaseline
from electralab.config.methods.training import Answers, Training
from electralab.config.methods.trim_vocabulary import TrimVocabulary
from electralab.config.models import DownloadedModel, HubModel, LocalModel, PackageModel, RandomInitModel
from electralab.config.preflight import load_to_run
from electralab.config.pretraining import RECIPES, WATCHING, Initialization, Pretraining, Shape
from electralab.config.retention import Retention
from electralab.config.search import Grid, Range, Search
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
    ModelTokenizer,
    PackageText,
    PackageTokenizer,
    Tokenizer,
    TrainedTokenizer,
)
from electralab.config.used import used

__all__ = [
    "CALIBRATED",
    "FINETUNING_RECIPES",
    "MAX_VOCABULARY",
    "RECIPES",
    "TORCH_BACKENDS",
    "WATCHING",
    "AdaLora",
    "Adapter",
    "AdapterMethod",
    "Answers",
    "BackendName",
    "Benchmark",
    "BnbInt8",
    "ColdStart",
    "CopiedStudent",
    "Corpus",
    "Distil",
    "DownloadedModel",
    "DynamicInt8",
    "Experiment",
    "FinetuneRuns",
    "FinetuningMethod",
    "Form",
    "FullFinetuning",
    "GlueFolder",
    "GlueHub",
    "GlueName",
    "GlueTask",
    "Grid",
    "Half",
    "HubModel",
    "HubTask",
    "HubText",
    "HubTokenizer",
    "Ia3",
    "InContext",
    "Initialization",
    "Latency",
    "LinearProbe",
    "Link",
    "LocalModel",
    "LocalTask",
    "LocalText",
    "Loha",
    "Lora",
    "LowBit",
    "Merge",
    "Method",
    "Mixing",
    "ModelTokenizer",
    "Nf4",
    "Oft",
    "OpenvinoInt8",
    "PackageModel",
    "PackageTask",
    "PackageText",
    "PackageTokenizer",
    "Prefix",
    "Pretraining",
    "Prompt",
    "Prune",
    "PruneAsYouTune",
    "PruneFull",
    "Pruning",
    "Qat",
    "Qlora",
    "RandomInitModel",
    "RandomStudent",
    "Range",
    "Recover",
    "Remove",
    "RemoveHeads",
    "Retention",
    "Role",
    "Search",
    "Shape",
    "StaticInt8",
    "Strict",
    "TableColumns",
    "Task",
    "TaskLengths",
    "Taught",
    "TfidfBaseline",
    "Tokenizer",
    "TrainedTokenizer",
    "Training",
    "TrimVocabulary",
    "Variant",
    "WeightOnlyInt4",
    "WeightOnlyInt8",
    "WeightScope",
    "WholeTraining",
    "WordOrderTask",
    "check_chain",
    "json_schema",
    "load_experiment",
    "load_to_run",
    "read_experiment",
    "read_values",
    "used",
    "with_prefixes",
]
