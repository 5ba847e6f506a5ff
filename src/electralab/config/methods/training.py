"""What all methods share that train a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from electralab.config.base import Distinct, Fraction, Name, Positive
from electralab.config.methods.link import Link

Answers = Literal["label_words", "as_published"]
ANSWERS = (
    "Decoders only. `label_words`: the word with the space before it, against the other label words; `as_published`: "
    "the bare word behind a space, against the whole vocabulary in training (the study of OPT, docs/methods.md)."
)


class Training(Link):
    """How a model is trained on a task, whatever part of it is trained."""

    learning_rates: Distinct[Positive] = Field(
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
    precision: Literal["fp32", "bf16_where_native"] = Field(
        "fp32",
        description="What a CPU multiplies in while it trains. `bf16_where_native`: bf16 where it has instructions for "
        "it, which is faster, and fp32 elsewhere; weights and scores are fp32. A GPU that has bf16 always uses it.",
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
    answer_test: bool = Field(True, description="Answer the test rows too, which submissions need (QQP: 390,965).")
    double_unordered: bool = Field(
        False, description="Train on every pair both ways round where order means nothing (MRPC, STS-B; Google's code)."
    )
    regression_target: Literal["unit", "raw"] = Field(
        "unit", description="STS-B's scores from 0 to 5 as numbers from 0 to 1, or as they are (RC2020)."
    )
    mnli_validation: Literal["matched", "matched_and_mismatched"] = Field(
        "matched", description="Rows behind the score of MNLI (RC2020 scored both together)."
    )
    answers: Answers = Field("label_words", description=ANSWERS)
