"""What a teacher says of a batch, as a loss (Hinton, Vinyals and Dean 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from electralab.finetune.examples import LabelledBatch
from electralab.finetune.objective import Objective, Regression


@dataclass(frozen=True)
class Teacher:
    """A model that is asked and not trained.

    `alpha` is its weight beside the labels'; `objective` is what its outputs mean.
    """

    model: nn.Module
    objective: Objective
    alpha: float
    temperature: float

    def loss(self, own: Tensor, objective: Objective, logits: Tensor, batch: LabelledBatch) -> Tensor:
        """(1 - alpha) * own + alpha * what the teacher says.

        Args:
            own: the loss of the labels.
            objective: what the student's outputs mean.
            logits: the student's, [B, outputs].
            batch: what both read.
        """
        self.model.eval()
        with torch.no_grad():
            told = self.model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        if isinstance(objective, Regression):
            targets = (self.objective.answers(told) - objective.offset) / objective.scale
            taught = F.mse_loss(logits.squeeze(-1).float(), targets.float())
        else:
            taught = softened_divergence(logits, told, self.temperature)
        return (1 - self.alpha) * own + self.alpha * taught


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """temperature² * KL(teacher || student) of probabilities softened by a temperature, a row on average, in nats.

    The factor keeps gradients as large as those of labels, whatever the temperature.
    """
    said = (student.float() / temperature).log_softmax(dim=-1)
    told = (teacher.float() / temperature).log_softmax(dim=-1)
    return temperature**2 * F.kl_div(said, told, reduction="batchmean", log_target=True)
