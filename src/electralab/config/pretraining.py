"""One ELECTRA pretraining: shape, recipe and every option."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from electralab.config.base import Distinct, Fraction, Name, Positive, Seed, Strict

Initialization = Literal["normal", "truncated_normal", "position_aware_init"]


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

    @property
    def network(self) -> dict[str, int]:
        """The discriminator's own sizes, by their names in `electralab.electra.encoder.ElectraConfig`."""
        return self.model_dump(exclude={"head_size"})


# What the three recipes set when a key is not given (sources: ELECTRA paper; google-research/electra;
# cccwam/rc2020_electra). `paper` is the paper's text; `google_code` adds what only its code does.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "google_code": {
        "mask_selection": "with_replacement",
        "mask_unknown": True,
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


# Keys by which a pretraining is watched and kept. They decide no weight: a change of them trains nothing anew.
WATCHING = ("evaluation_every", "evaluation_sequences", "checkpoint_every", "snapshots")


class Pretraining(Strict):
    """One ELECTRA pretraining, repeated over generator sizes and seeds."""

    corpus: Name = Field(description="Corpus name.")
    tokenizer: Name = Field(description="Tokenizer name.")
    start_from: Name | None = Field(
        None,
        description="EXTENSION over the paper: go on from given weights, those of another pretraining (of the same "
        "generator size and seed) or of a downloaded ELECTRA discriminator among `models`. Shape and vocabulary must "
        "be the same; the optimizer starts anew.",
    )
    start_generator_from: Name | None = Field(
        None,
        description="The generator among `models` that goes with a downloaded discriminator. Without it the generator "
        "has the discriminator's embeddings, and its layers are drawn.",
    )
    recipe: Literal["paper", "google_code", "rc2020"] = Field(
        "paper", description="Sets the defaults of the options below; any of them can be overridden."
    )
    discriminator: Shape = Field(Shape(), description="The discriminator's shape; ELECTRA-Small's unless given.")
    generator_sizes: list[float] = Field(
        [0.25],
        min_length=1,
        description="Generator widths as fractions of the discriminator's, each in (0, 1].",
    )
    seeds: Distinct[Seed] = Field([0], min_length=1, description="One pretraining per size and seed.")

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
        10_000,
        description="Steps over which the learning rate rises linearly from 0; unless given, a tenth of `steps` if "
        "that is less.",
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
        "`with_replacement`: as many draws, so fewer distinct positions, and those drawn twice count twice "
        "(Google's code); `bernoulli`: each token on its own (RC2020).",
    )
    mask_unknown: bool = Field(False, description="Whether [UNK] can be drawn (it can in Google's code).")
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
    evaluation_every: Annotated[int, Field(ge=1)] = Field(
        10_000, description="Steps between held-out evaluations; unless given, a tenth of `steps` if that is less."
    )
    evaluation_sequences: Annotated[int, Field(ge=1)] = Field(512, description="Held-out sequences per evaluation.")
    checkpoint_every: Annotated[int, Field(ge=1)] = Field(
        10_000, description="Steps between checkpoints; unless given, a tenth of `steps` if that is less."
    )
    snapshots: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [],
        description="Shares of the steps after which the discriminator is kept too, to be fine-tuned as it was then "
        "(paper, table 1). The learning rate is that of the whole run: it has not decayed yet.",
    )

    @classmethod
    def recipe_defaults(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the recipe sets, and what follows from the number of steps."""
        of_recipe = RECIPES.get(str(values.get("recipe", "paper")), {})
        steps = values.get("steps")
        if not isinstance(steps, int) or steps >= 100_000:
            return of_recipe
        tenth = max(0, steps // 10)
        return {"warmup_steps": tenth, "evaluation_every": max(1, tenth), "checkpoint_every": max(1, tenth)} | of_recipe

    @model_validator(mode="after")
    def _consistent(self) -> Pretraining:
        for size in self.generator_sizes:
            if not 0 < size <= 1:
                raise ValueError(f"generator size {size:g} is outside (0, 1]")
        for key in ("generator_sizes", "snapshots"):
            for one, other in pairwise(sorted(getattr(self, key))):
                if f"{one * 100:g}" == f"{other * 100:g}":
                    raise ValueError(f"{key} {one!r} and {other!r} share the name {one * 100:g} %: leave one out")
        if len(self.snapshot_steps) < len(self.snapshots):
            raise ValueError(f"snapshots {self.snapshots} fall on one of the {self.steps} steps: leave one out")
        if self.start_generator_from and not self.start_from:
            raise ValueError("start_generator_from needs start_from, the discriminator that it goes with")
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
        named = {
            "position_aware_init": self.initialization == "position_aware_init",
            "unigram_warmup": self.unigram_warmup > 0,
            "start_from": self.start_from is not None,
        }
        return [name for name, used in named.items() if used]

    @property
    def snapshot_steps(self) -> dict[int, float]:
        """After which step each of `snapshots` is taken."""
        return {max(1, round(share * self.steps)): share for share in self.snapshots}
