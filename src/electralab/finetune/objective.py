"""What a head's outputs mean: classes, trained with cross-entropy, or one score, trained with squared error."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from electralab.config import Training
from electralab.data.tasks import TaskData


@dataclass(frozen=True)
class Classification:
    """One output per class."""

    outputs: int

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of logits [B, classes] and class numbers [B], in nats."""
        return F.cross_entropy(logits.float(), labels)

    def answers(self, logits: Tensor) -> Tensor:
        """Log-probabilities, [B, classes]."""
        return logits.double().log_softmax(dim=-1)


@dataclass(frozen=True)
class Regression:
    """One output, which stands for the score `offset + scale * output`."""

    offset: float = 0.0
    scale: float = 1.0
    outputs: int = 1

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error of logits [B, 1] against the targets of scores [B], in units of the target."""
        targets = (labels - self.offset) / self.scale
        return F.mse_loss(logits.squeeze(-1).float(), targets.float())

    def answers(self, logits: Tensor) -> Tensor:
        """Scores in the task's own range, [B]."""
        return self.offset + self.scale * logits.squeeze(-1).double()


Objective = Classification | Regression


def objective_of(data: TaskData, settings: Training) -> Objective:
    """Classes, or a regression to 0..1 (google-research/electra, `STS`) or to the scores as they are (RC2020)."""
    if data.score_range is None:
        return Classification(len(data.labels))
    if settings.regression_target == "raw":
        return Regression()
    low, high = data.score_range
    return Regression(low, high - low)
