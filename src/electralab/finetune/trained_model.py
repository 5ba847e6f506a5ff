"""What the training loop asks of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from electralab.finetune.distillation import Teacher
    from electralab.finetune.examples import LabelledBatch
    from electralab.finetune.objective import Objective


class TrainedModel(nn.Module):
    """Logits [B, outputs] from `forward(input_ids, attention_mask, token_type_ids)`, and hooks of the loop.

    Only parameters with `requires_grad` are trained. `encoder_layers` is given by models whose parameters are named as
    our `Classifier`'s are: only those can have layerwise rates.
    """

    encoder_layers: int | None = None
    teacher: Teacher | None = None

    def loss(self, objective: Objective, logits: Tensor, batch: LabelledBatch) -> Tensor:
        """What is minimised on a batch: the loss of its labels, unless a teacher has a say."""
        own = objective.loss(logits, batch.labels)
        return own if self.teacher is None else self.teacher.loss(own, objective, logits, batch)

    def penalty(self) -> Tensor | None:
        """Added to the loss of the current batch, after its forward pass; None for nothing."""
        return None

    def after_update(self, step: int) -> None:
        """Called after update number `step` (from 1), while the gradients are still there."""
