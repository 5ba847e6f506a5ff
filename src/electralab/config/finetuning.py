"""Fine-tuning methods and baselines."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from electralab.config.base import Fraction, Name, Positive, Strict

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

Answers = Literal["label_words", "as_published"]
ANSWERS = (
    "Decoders only. `label_words`: the word with the space before it, against the other label words; `as_published`: "
    "the bare word behind a space, against the whole vocabulary in training (the study of OPT, docs/methods.md)."
)


class Training(Strict):
    """How a model is trained on a task, whatever part of it is trained."""

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
    dropout: Fraction = Field(
        0.1, description="Dropout of hidden states, attention weights and the classifier's input."
    )
    max_length: Annotated[int, Field(ge=8)] = Field(
        128, description="Longest input in tokens, special tokens included; longer ones are cut."
    )
    max_train_rows: Annotated[int, Field(ge=16)] | None = Field(
        None, description="Use a seeded sample of the training rows."
    )
    answer_test: bool = Field(True, description="Answer the test rows too, which submissions need.")
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


class FullFinetuning(Training):
    """Full fine-tuning with layerwise learning-rate decay and a linear head (ELECTRA paper, appendix B)."""

    kind: Literal["full"] = "full"
    recipe: Literal["paper", "google_code", "rc2020", "huggingface"] = Field(
        "paper", description="Sets the defaults of the options below; any of them can be overridden."
    )
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

    save_model: bool = Field(False, description="Keep the trained model as a Hugging Face directory, `model/`.")

    @model_validator(mode="after")
    def _can_be_saved(self) -> FullFinetuning:
        if self.save_model and (self.head, self.pooling) == ("huggingface", "mean"):
            raise ValueError("save_model: transformers has no ELECTRA with `head: huggingface` on `pooling: mean`")
        return self

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
