"""The joint loss: the generator's masked language modelling plus replaced-token detection (ELECTRA paper, section 2).

Shapes: B sequences, S positions, N selected tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from electralab.electra.corruption import Masking
from electralab.electra.masked_lm import masked_lm
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError

Noise = Literal["generator", "unigram", "uniform"]


class Totals(NamedTuple):
    """What the two losses are means over."""

    predicted: float
    """Predictions that count in the MLM loss."""
    counted: float
    """Tokens that count in the RTD loss."""


class StepResult(NamedTuple):
    """Losses of one batch and what evaluation needs. Nothing here has been copied to the host."""

    loss: Tensor
    """generator_weight * mlm_loss + discriminator_weight * rtd_loss."""
    mlm_loss: Tensor | None
    """Mean over the predictions that count, detached; None when the generator did not run."""
    rtd_loss: Tensor
    """Mean over the counted tokens, detached."""
    rtd_logits: Tensor
    """[B, S], detached."""
    replaced: Tensor
    """[B, S] bool, the labels: the discriminator's input differs from the original token."""
    counted: Tensor | None
    """[B, S] bool: tokens in the discriminator's loss; None means all."""
    discriminator_ids: Tensor
    """[B, S] int64."""
    sampled_ids: Tensor
    """[N] int64: the samples for `masking.positions`, also where they were not used."""


@dataclass(frozen=True)
class ElectraObjective:
    """Weights and variants of the loss.

    Args:
        generator_weight: of the MLM loss.
        discriminator_weight: of the RTD loss; 50 in the paper, for losses that are means.
        loss_tokens: `all` real tokens count in the RTD loss (the paper), or the `non_special` ones (RC2020).
        special_ids: what `non_special` leaves out.
        unigram: [V] token frequencies or counts, for `noise="unigram"` only.
    """

    generator_weight: float = 1.0
    discriminator_weight: float = 50.0
    loss_tokens: Literal["all", "non_special"] = "all"
    special_ids: tuple[int, ...] = ()
    unigram: Tensor | None = None
    _cumulative: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(
        self,
        pair: ElectraPair,
        input_ids: Tensor,
        masking: Masking,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        noise: Noise = "generator",
        samples: Tensor | None = None,
        totals: Totals | None = None,
    ) -> StepResult:
        """Loss of one batch.

        A position that was drawn more than once takes the floor of the mean of its samples' ids, which is a token in
        the middle of the vocabulary (google-research/electra, `scatter_update`).

        Args:
            pair: the two networks.
            input_ids: [B, S] int64, the original tokens.
            masking: the selected tokens and uniforms (`corruption.mask_tokens`), on the same device.
            attention_mask: [B, S], true at real tokens; None when there is no padding.
            token_type_ids: [B, S] int64, or None.
            noise: where replacements come from. `unigram` and `uniform` (over the vocabulary) do not run the
                generator, which then has no loss: extensions that are not in the paper.
            samples: [N] int64 to use in place of the drawn ones, to compare with another implementation.
            totals: of all batches of an optimizer step, whose losses then add up to the means over all of them; None
                for means over this batch.
        """
        originals = input_ids.flatten().index_select(0, masking.positions)
        mlm_loss: Tensor | None = None
        if noise == "generator":
            hidden = pair.generator(masking.generator_ids, attention_mask, token_type_ids, masking.positions)
            table, bias = pair.generator.embeddings.word.weight, pair.generator_head.bias
            hidden, divisors = pair.generator_head(hidden), _divisors(masking, totals)
            mlm_loss, drawn = masked_lm(hidden, table, bias, originals, masking.uniforms, divisors)
        else:
            drawn = self._noise(noise, pair.word_embeddings.shape[0], masking.uniforms)
        sampled = drawn if samples is None else samples

        # Flags, not boolean indexing: the latter would make a GPU wait to learn how many there are.
        nothing = torch.zeros_like(input_ids).flatten()
        summed = nothing.index_add(0, masking.positions, sampled * masking.replaceable)
        times = nothing.index_add(0, masking.positions, masking.replaceable.long()).view_as(input_ids)
        discriminator_ids = torch.where(times > 0, summed.view_as(input_ids) // times.clamp(min=1), input_ids)
        # A sample that happens to be the original token is labelled original (section 2).
        replaced = discriminator_ids != input_ids
        logits = pair.discriminate(discriminator_ids, attention_mask, token_type_ids)
        counted = self._counted(input_ids, attention_mask)
        rtd_loss = _detection_loss(logits.float(), replaced, counted, None if totals is None else totals.counted)

        loss = self.discriminator_weight * rtd_loss
        if mlm_loss is not None:
            loss = loss + self.generator_weight * mlm_loss
            mlm_loss = mlm_loss.detach()
        return StepResult(
            loss, mlm_loss, rtd_loss.detach(), logits.detach(), replaced, counted, discriminator_ids, sampled
        )

    def totals(self, input_ids: Tensor, masking: Masking, attention_mask: Tensor | None = None) -> Totals:
        """What the losses of a batch are means over; of tensors on the CPU, where it makes nobody wait."""
        counted = self._counted(input_ids, attention_mask)
        return Totals(float(masking.predicted), input_ids.numel() if counted is None else float(counted.sum()))

    def _noise(self, noise: Noise, vocabulary: int, uniforms: Tensor) -> Tensor:
        """Samples [N] from a fixed distribution, by inverting its cumulative distribution at the uniforms."""
        if noise == "uniform":
            return (uniforms * vocabulary).long()
        if self.unigram is None:
            raise UserError("noise 'unigram' needs the token counts: give `unigram` to the objective")
        if uniforms.device not in self._cumulative:  # once a run: copying to a GPU makes the host wait
            self._cumulative[uniforms.device] = self.unigram.double().cumsum(0).to(uniforms.device)
        cumulative = self._cumulative[uniforms.device]
        return torch.searchsorted(cumulative, uniforms * cumulative[-1], right=True).clamp_(max=vocabulary - 1)

    def _counted(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        counted = None if attention_mask is None else attention_mask.bool()
        if self.loss_tokens == "non_special":
            ordinary = torch.ones_like(input_ids, dtype=torch.bool)
            for special in self.special_ids:
                ordinary &= input_ids != special
            counted = ordinary if counted is None else counted & ordinary
        return counted


def _divisors(masking: Masking, totals: Totals | None) -> Tensor | None:
    """What the cross entropy of every prediction [N] is divided by; None for their number."""
    if masking.weights is None and totals is None:
        return None
    weights = torch.ones_like(masking.uniforms) if masking.weights is None else masking.weights.double()
    return (weights.sum().clamp(min=1) if totals is None else max(1.0, totals.predicted)) / weights


def _detection_loss(logits: Tensor, replaced: Tensor, counted: Tensor | None, total: float | None) -> Tensor:
    """The sum over the counted tokens over `total`, or over their number."""
    labels = replaced.to(logits.dtype)
    if counted is None and total is None:
        return F.binary_cross_entropy_with_logits(logits, labels)
    weight = torch.ones_like(logits) if counted is None else counted.to(logits.dtype)
    summed = F.binary_cross_entropy_with_logits(logits, labels, weight=weight, reduction="sum")
    return summed / (weight.sum().clamp(min=1) if total is None else max(1.0, total))
