"""A model fine-tuned whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import Form
from electralab.config.methods.training import Training

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
        "epochs_by_task": LONGER_TASKS,  # `run_glue.py`
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


class WholeTraining(Training):
    """Training of every parameter of an encoder under a head."""

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

    @property
    def no_artifact(self) -> str | None:
        """No class of transformers could open the model."""
        if (self.head, self.pooling) == ("huggingface", "mean"):
            return "transformers has no ELECTRA with head: huggingface on pooling: mean: change one of them"
        return None


class FullFinetuning(WholeTraining):
    """Full fine-tuning with layerwise learning-rate decay and a linear head (ELECTRA paper, appendix B)."""

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["full"] = "full"
    recipe: Literal["paper", "google_code", "rc2020", "huggingface"] = Field(
        "paper", description="Sets the defaults of the other options; any of them can be overridden."
    )
    save_model: bool = Field(
        True,
        description="Keep the trained model, which other links of a chain open and `transformers` loads; `false` saves "
        "disk. With `head: huggingface` on `pooling: mean`, which `transformers` lacks, nothing is kept.",
    )

    @property
    def no_artifact(self) -> str | None:
        """The model is not wanted, or no class of transformers could open it."""
        if not self.save_model:
            return "with save_model: false it keeps no model: set it to true"
        return super().no_artifact

    @classmethod
    def recipe_defaults(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe's, but for `epochs_by_task` where `epochs` is given: that is meant for every task."""
        found = FINETUNING_RECIPES.get(str(values.get("recipe", "paper")), {})
        return {key: value for key, value in found.items() if not (key == "epochs_by_task" and "epochs" in values)}
