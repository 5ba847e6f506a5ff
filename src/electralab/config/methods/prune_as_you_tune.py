"""Pruning interleaved with LoRA under a distillation loss."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from electralab.config.base import Positive
from electralab.config.methods.distillation import Taught
from electralab.config.methods.growth import GROWTH, Growing, Growth
from electralab.config.methods.link import Form
from electralab.config.methods.mixing import Mixing
from electralab.config.methods.pruning import Sparsity
from electralab.config.methods.training import Training


class PruneAsYouTune(Growing, Mixing, Taught, Training):
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
    among: Literal["layer", "global"] = Field(
        "layer", description="Compared within a layer, or over all layers, as published: these then differ in sparsity."
    )
    growth: Growth = Field("agp", description=GROWTH)
    teacher_recipe: Literal["fixed", "as_published"] = Field(
        "fixed",
        description="`fixed`: the run that `teacher` names; `as_published`: a copy of the model before fine-tuning "
        "under a head that nothing has trained (Prune As You Tune).",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """There is one teacher, who is needed where rows have no labels; columns are compared within a layer."""
        if self.teacher and self.teacher_recipe == "as_published":
            raise ValueError("teacher_recipe as_published has a teacher of its own: leave teacher out")
        if self.among == "global" and self.structure == "columns":
            raise ValueError("among: global is for single weights: use among: layer")
        if self.mix_corpus and not self.teacher and self.teacher_recipe == "fixed":
            raise ValueError("mix_corpus: its lines need labels: name a teacher, or teacher_recipe: as_published")
        if self.mix_corpus and len(self.learning_rates) > 1:
            raise ValueError("mix_corpus is for one learning rate: several are chosen on rows that have labels")
        return self
