"""Held-out evaluation of a pair: the same sequences, masks and draws at every step, seed and generator size.

They depend on `batch_size`, and not on the micro-batches that it is computed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from electralab.electra.objective import ElectraObjective, StepResult
from electralab.electra.pair import ElectraPair
from electralab.pretrain.detection import area_under_curve, detection_metrics
from electralab.pretrain.masked_batches import MaskedBatches

SEED = 1  # of the masks and draws; any fixed number, the same for every run


@dataclass(frozen=True)
class HeldOutEvaluation:
    """What is needed to score a pair on held-out text.

    Args:
        batches: held-out batches, each as large as an optimizer step's.
        sequences: how many sequences to use, at most one epoch of them.
        objective: the run's losses; its `unigram` gives the yardstick's replacements.
        at_once: sequences that are computed together.
        device: where the pair lives.
    """

    batches: MaskedBatches
    sequences: int
    objective: ElectraObjective
    at_once: int
    device: torch.device

    @torch.no_grad()
    def __call__(self, pair: ElectraPair) -> dict[str, float]:
        """Metrics of the generator, of the discriminator against it, and of the discriminator against unigram draws.

        Each generator size sets its own exam for its discriminator; the AUC on unigram replacements at the same
        positions is the yardstick that all sizes share.
        """
        was_training = pair.training
        pair.eval()
        generator = torch.Generator().manual_seed(SEED)
        own, unigram, language = _Detection(), _Detection(), _Language(self.objective.unigram)
        for index in range(self._batch_count):
            drawn = self.batches.draw(index, generator)
            for start in range(0, len(drawn.input_ids), self.at_once):
                batch = drawn.rows(start, start + self.at_once).to(self.device)
                masking = batch.masking
                result = self.objective(pair, *batch)
                own.add(result)
                hidden = pair.generator(
                    masking.generator_ids, batch.attention_mask, batch.token_type_ids, masking.positions
                )
                originals = batch.input_ids.flatten()[masking.positions]
                language.add(pair.generator_logits(hidden).float(), originals, result.sampled_ids, masking.weights)
                unigram.add(self.objective(pair, *batch, noise="unigram"))
        pair.train(was_training)
        yardstick = area_under_curve(*unigram.arrays())
        logits, replaced = own.arrays()
        return {
            **language.metrics(),
            **detection_metrics(logits.astype(np.float32), replaced),
            "rtd_auc_unigram": yardstick,
        }

    @property
    def _batch_count(self) -> int:
        batches = self.batches.batches
        return max(1, min(math.ceil(self.sequences / batches.batch_size), int(batches.epoch_batches)))


class _Detection:
    """Collects the discriminator's answers at the tokens that it is trained on."""

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._replaced: list[Tensor] = []

    def add(self, result: StepResult) -> None:
        counted = torch.ones_like(result.replaced) if result.counted is None else result.counted
        self._logits.append(result.rtd_logits.float()[counted].cpu())
        self._replaced.append(result.replaced[counted].cpu())

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return torch.cat(self._logits).double().numpy(), torch.cat(self._replaced).numpy()


class _Language:
    """Collects the generator's predictions of the selected tokens, beside those of the unigram model."""

    def __init__(self, unigram_counts: Tensor | None) -> None:
        assert unigram_counts is not None, "the trainer always gives the objective its unigram counts"
        self._unigram = (unigram_counts.double() / unigram_counts.sum()).log()
        self._totals = dict.fromkeys(("mlm_loss", "mlm_accuracy", "sampled_accuracy", "unigram_cross_entropy"), 0.0)
        self._count = 0

    def add(self, logits: Tensor, originals: Tensor, sampled: Tensor, weights: Tensor | None) -> None:
        if weights is not None:
            logits, originals, sampled = (part[weights > 0] for part in (logits, originals, sampled))
        loss = torch.nn.functional.cross_entropy(logits, originals, reduction="sum")
        sums = {
            "mlm_loss": loss,
            "mlm_accuracy": (logits.argmax(1) == originals).sum(),
            "sampled_accuracy": (sampled == originals).sum(),
            "unigram_cross_entropy": -self._unigram[originals.cpu()].sum(),
        }
        for name, value in sums.items():
            self._totals[name] += float(value)
        self._count += len(originals)

    def metrics(self) -> dict[str, float]:
        return {name: total / max(1, self._count) for name, total in self._totals.items()}
