"""Pruning interleaved with LoRA under a distillation loss."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from electralab.config.base import Positive
from electralab.config.methods.distillation import Share, Taught
from electralab.config.methods.link import Form
from electralab.config.methods.pruning import Sparsity
from electralab.config.methods.training import Training


class PruneAsYouTune(Taught, Training):
    """LoRA of every dense layer of an encoder, more and more of whose weights are zero; left merged, its zeros kept."""

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["prune_as_you_tune"] = "prune_as_you_tune"
    rank: Annotated[int, Field(ge=1)] = Field(32, description="Rank of every update.")
    alpha: Positive = Field(32.0, description="Scale of the updates, see `rank_stabilized`.")
    rank_stabilized: bool = Field(
        True, description="Scale alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023) instead of alpha / rank."
    )
    sparsity: Sparsity = Field(0.5, description="Share of the weights of every dense layer that is zero in the end.")
    structure: Literal["unstructured", "columns"] = Field(
        "unstructured", description="`unstructured`: single weights by size; `columns`: whole inputs by their l2 norm."
    )
    growth: Literal["agp", "linear"] = Field(
        "agp", description="How sparsity grows: fast first (Zhu and Gupta 2017), or evenly."
    )
    prune_from: Share = Field(0.05, description="Share of the steps before the first pruning.")
    prune_until: Share = Field(0.6, description="Share of the steps after which sparsity is complete.")
    prune_every: Annotated[int, Field(ge=1)] | Literal["epoch"] = Field(
        5, description="Steps between two prunings, or `epoch`: at the end of every one."
    )
    teacher_recipe: Literal["fixed", "as_published"] = Field(
        "fixed",
        description="`fixed`: the run that `teacher` names; `as_published`: a copy of the model before fine-tuning "
        "under a head that nothing has trained (Prune As You Tune).",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Pruning needs steps, and there is one teacher."""
        if self.prune_from >= self.prune_until:
            raise ValueError("prune_from must be before prune_until")
        if self.teacher and self.teacher_recipe == "as_published":
            raise ValueError("teacher_recipe as_published has a teacher of its own: leave teacher out")
        return self
