"""Parameter-efficient fine-tuning: what is trained beside a frozen model, through PEFT.

One class for every method. All share the options of training and say which layers they touch; a new method is a class
here and an entry in `electralab/methods/adapters/adapt.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from electralab.config.base import Fraction, Positive
from electralab.config.methods.link import Form
from electralab.config.methods.training import Training

Rank = Annotated[int, Field(ge=1)]
# Layers by their role; `electralab/methods/adapters/targets.py` names them for every architecture.
Role = Literal["query_value", "attention", "attention+ffn", "all-linear"]

# What `as_published` sets when a key is not given: the mistakes that explain published surprises. Efficient ELECTRA
# timed its adapters unmerged, switched checkpointing on for LoRA and QLoRA alone, and then found them slow to train.
UNMERGED = {"merge_for_inference": False}
CHECKPOINTED = {**UNMERGED, "gradient_checkpointing": True}


class Adapter(Training):
    """What all adapters share: a frozen model, and a head that is trained in full."""

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained"})
    leaves: ClassVar[Form | None] = "adapter"
    as_published: ClassVar[dict[str, Any]] = UNMERGED

    recipe: Literal["fixed", "as_published"] = Field(
        "fixed", description="`as_published`: with the published mistake, where there is one (docs/methods.md)."
    )
    targets: Role | list[str] = Field(
        "attention",
        description="Layers to adapt, by role, or the ends of module names. `attention`: query, key and value.",
    )
    gradient_checkpointing: bool = Field(False, description="Recompute activations: less memory, more time.")
    merge_for_inference: bool = Field(True, description="Fold the adapter into the weights where that is exact.")

    @classmethod
    def recipe_defaults(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """What `as_published` sets."""
        return cls.as_published if values.get("recipe") == "as_published" else {}

    @property
    def cannot_merge(self) -> str | None:
        """Why the adapter cannot be folded into the weights exactly; None if it can."""
        return None


class Lora(Adapter):
    """Low-rank adaptation (Hu et al. 2021); `rslora` scales by alpha / sqrt(rank), `dora` learns magnitudes apart."""

    as_published: ClassVar[dict[str, Any]] = CHECKPOINTED

    kind: Literal["lora", "rslora", "dora"] = "lora"
    rank: Rank = Field(8, description="Rank of the update.")
    alpha: Positive = Field(
        16.0, description="The update is scaled by alpha / rank, that of `rslora` by alpha / sqrt(rank)."
    )
    adapter_dropout: Fraction = Field(0.1, description="Dropout of the adapter's input.")


class Qlora(Adapter):
    """LoRA over a model whose linear layers are stored in few bits (Dettmers et al. 2023), through bitsandbytes."""

    as_published: ClassVar[dict[str, Any]] = CHECKPOINTED

    kind: Literal["qlora"] = "qlora"
    rank: Rank = Field(8, description="Rank of the update.")
    alpha: Positive = Field(16.0, description="The update is scaled by alpha / rank.")
    adapter_dropout: Fraction = Field(0.1, description="Dropout of the adapter's input.")
    storage: Literal["nf4", "fp4", "int8"] = Field("nf4", description="How the frozen linear layers are stored.")
    double_quantization: bool = Field(True, description="Quantize the scales too (4-bit only).")

    @property
    def cannot_merge(self) -> str | None:
        """int8 layers round their inputs too."""
        return "int8 layers round their inputs, which no merged weight can repeat" if self.storage == "int8" else None


class AdaLora(Adapter):
    """LoRA whose rank is moved to the layers that need it (Zhang et al. 2023)."""

    kind: Literal["adalora"] = "adalora"
    initial_rank: Rank = Field(12, description="Rank of every layer at the start.")
    target_rank: Rank = Field(8, description="Mean rank at the end.")
    alpha: Positive = Field(32.0, description="Scale of the update.")
    adapter_dropout: Fraction = Field(0.1, description="Dropout of the adapter's input.")
    start_fraction: Fraction = Field(0.1, description="Share of the steps before ranks are reduced.")
    final_fraction: Fraction = Field(0.3, description="Share of the steps at the end with fixed ranks.")
    every_steps: Annotated[int, Field(ge=1)] = Field(10, description="Steps between two reductions.")


class Prefix(Adapter):
    """Learnt keys and values in front of every layer's (Li and Liang 2021). Cannot be merged."""

    kind: Literal["prefix"] = "prefix"
    virtual_tokens: Annotated[int, Field(ge=1)] = Field(30, description="Length of the prefix.")

    @property
    def cannot_merge(self) -> str | None:
        """It changes no weights."""
        return "a prefix is no change of weights"


class Prompt(Adapter):
    """Learnt embeddings in front of the text (Lester et al. 2021). Cannot be merged."""

    kind: Literal["prompt"] = "prompt"
    virtual_tokens: Annotated[int, Field(ge=1)] = Field(20, description="Length of the prompt.")

    @property
    def cannot_merge(self) -> str | None:
        """It changes no weights."""
        return "a prompt is no change of weights"


class Ia3(Adapter):
    """Learnt factors on keys, values and the feed-forward layer (Liu et al. 2022); `targets` does not apply."""

    kind: Literal["ia3"] = "ia3"


class Loha(Adapter):
    """Hadamard product of two low-rank updates (`loha`), or a Kronecker product (`lokr`), as in LyCORIS."""

    kind: Literal["loha", "lokr"] = "loha"
    rank: Rank = Field(8, description="Rank of the update.")
    alpha: Positive = Field(8.0, description="The update is scaled by alpha / rank.")
    rank_dropout: Fraction = Field(0.0, description="Dropout of ranks.")
    module_dropout: Fraction = Field(0.0, description="Dropout of whole layers' updates.")


class Oft(Adapter):
    """Learnt rotations of blocks of every layer's input (Qiu et al. 2023)."""

    kind: Literal["oft"] = "oft"
    block_size: Annotated[int, Field(ge=2)] = Field(32, description="Width of a block; must divide the layer's width.")
    module_dropout: Fraction = Field(0.0, description="Dropout of whole layers' rotations.")
