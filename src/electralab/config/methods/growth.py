"""How sparsity grows in training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from electralab.config.base import Strict
from electralab.config.methods.distillation import Share

Growth = Literal["once", "agp", "linear"]
GROWTH = (
    "How sparsity grows. `once`: all of it before the first step, whatever `prune_from` and the others say; `agp`: "
    "fast first (Zhu and Gupta 2017); `linear`: evenly."
)


class Growing(Strict):
    """When weights are pruned."""

    growth: Growth = Field("once", description=GROWTH)
    prune_from: Share = Field(0.05, description="Share of the steps before the first pruning.")
    prune_until: Share = Field(0.6, description="Share of the steps after which sparsity is complete.")
    prune_every: Annotated[int, Field(ge=1)] | Literal["epoch", "epoch_start"] = Field(
        5,
        description="Steps between two prunings; `epoch`: at the end of every one; `epoch_start`: before it, the first "
        "included if `prune_from` is 0 (Prune As You Tune).",
    )
    epochs_between: Annotated[int, Field(ge=1)] = Field(
        1, description="Epochs from one pruning to the next, where `prune_every` names epochs."
    )

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        """Pruning needs steps."""
        if self.prune_from >= self.prune_until:
            raise ValueError("prune_from must be before prune_until")
        if self.epochs_between > 1 and isinstance(self.prune_every, int):
            raise ValueError("epochs_between is for prune_every: epoch or epoch_start")
        return self
