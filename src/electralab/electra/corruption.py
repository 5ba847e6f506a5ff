"""Which tokens the generator sees masked (ELECTRA paper, section 2).

Everything random about a step is drawn here, on the CPU, from one explicit `torch.Generator`: the positions, which
of them are shown as [MASK], and the uniforms that later pick the generator's samples. A step is therefore
reproduced exactly, on any device, from the state of that generator. Shapes: B sequences, S positions, N selected; K
draws for each sequence, where positions are drawn with replacement (then N = B * K).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from electralab.errors import UserError

GOOGLE_MARGIN = 0.005  # beyond the mask probability, in the number of draws of a sequence


@dataclass(frozen=True)
class Corruption:
    """How tokens are selected.

    `fixed_count` selects round(p * real tokens) distinct positions of each sequence, at least 1 (the paper);
    `with_replacement` draws that many with replacement, and every draw stays by itself: one that hits a position again
    is predicted, masked or kept, and sampled for once more (google-research/electra, `pretrain_helpers.py`);
    `bernoulli` selects each token with probability p (RC2020).

    `replace`: `all_selected` lets every selected token be replaced by a sample, also the kept ones;
    `masked_only` those that were shown as [MASK] (RC2020).
    """

    mask_probability: float = 0.15
    keep_probability: float = 0.15
    selection: Literal["fixed_count", "with_replacement", "bernoulli"] = "fixed_count"
    replace: Literal["all_selected", "masked_only"] = "all_selected"

    def __post_init__(self) -> None:
        if not 0 < self.mask_probability < 1:
            raise UserError(f"mask_probability {self.mask_probability:g} is outside (0, 1)")
        if not 0 <= self.keep_probability < 1:
            raise UserError(f"keep_probability {self.keep_probability:g} is outside [0, 1)")


class Masking(NamedTuple):
    """The random choices of one step, and what the generator reads."""

    positions: Tensor
    """[N] int64, indices into the flattened [B * S]: the tokens that the generator predicts, sequence by sequence."""
    shown_as_mask: Tensor
    """[N] bool: the generator sees [MASK] there; elsewhere it sees the token itself, unless another draw masks it."""
    replaceable: Tensor
    """[N] bool: the discriminator's input takes the sample there."""
    uniforms: Tensor
    """[N] float64 in [0, 1): one draw per sample."""
    generator_ids: Tensor
    """[B, S] int64."""
    weights: Tensor | None = None
    """[N] float32, 1 at draws that count and 0 at those that only fill the K of a short sequence, which point at its
    first token; None where all N count."""

    @property
    def predicted(self) -> Tensor | int:
        """How many predictions count."""
        return len(self.positions) if self.weights is None else self.weights.sum()

    def rows(self, start: int, end: int) -> Masking:
        """The same choices for the sequences `start` to `end` alone; on the CPU, where it makes nobody wait."""
        length = self.generator_ids.shape[1]
        inside = (self.positions >= start * length) & (self.positions < end * length)
        return Masking(
            self.positions[inside] - start * length,
            self.shown_as_mask[inside],
            self.replaceable[inside],
            self.uniforms[inside],
            self.generator_ids[start:end],
            None if self.weights is None else self.weights[inside],
        )

    def to(self, device: torch.device) -> Masking:
        """The same choices on another device, without waiting for the copy."""
        moved = (None if tensor is None else tensor.to(device, non_blocking=True) for tensor in self)
        return Masking(*moved)  # type: ignore[arg-type]


def mask_tokens(
    input_ids: Tensor,
    mask_id: int,
    special_ids: Sequence[int],
    options: Corruption,
    generator: torch.Generator,
    attention_mask: Tensor | None = None,
) -> Masking:
    """Choose the tokens of a batch that the generator must predict.

    Args:
        input_ids: [B, S] int64 on the CPU.
        mask_id: the id of [MASK].
        special_ids: ids that are never selected; those of padding, [CLS], [SEP] and [MASK] belong here.
        options: how to select.
        generator: a CPU generator, the only source of randomness.
        attention_mask: [B, S], true at real tokens; None when there is no padding.

    Returns:
        the choices, on the CPU. Nothing counts only when no token can be selected.
    """
    candidates = torch.isin(input_ids, torch.tensor(list(special_ids), dtype=input_ids.dtype), invert=True)
    if attention_mask is not None:
        candidates &= attention_mask.bool()
        real_tokens = attention_mask.sum(1)
    else:
        real_tokens = torch.full((len(input_ids),), input_ids.shape[1])
    weights = None
    if options.selection == "bernoulli":
        positions = _indices(_bernoulli(candidates, options.mask_probability, generator))
    else:
        counts = (options.mask_probability * real_tokens).round().long().clamp(min=1)
        if options.selection == "fixed_count":
            positions = _indices(_distinct(candidates, counts, generator))
        else:
            positions, weights = _draws(candidates, counts, options.mask_probability, generator)
    shown = torch.rand(len(positions), generator=generator) >= options.keep_probability
    uniforms = torch.rand(len(positions), generator=generator, dtype=torch.float64)
    if weights is not None:
        shown &= weights.bool()
    generator_ids = input_ids.clone()
    generator_ids.view(-1)[positions[shown]] = mask_id
    replaceable = torch.ones_like(shown) if weights is None else weights.bool()
    if options.replace == "masked_only":
        replaceable = shown
    return Masking(positions, shown, replaceable, uniforms, generator_ids, weights)


def _indices(selected: Tensor) -> Tensor:
    return selected.flatten().nonzero().squeeze(1)


def _distinct(candidates: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Select `counts` [B] candidates of each sequence: those with the smallest random keys."""
    keys = torch.rand(candidates.shape, generator=generator).masked_fill_(~candidates, 2.0)
    most = min(int(counts.max()), candidates.shape[1])
    order = keys.topk(most, dim=1, largest=False, sorted=True).indices
    wanted = torch.arange(most) < counts[:, None]
    return torch.zeros_like(candidates).scatter_(1, order, wanted) & candidates


def _draws(candidates: Tensor, counts: Tensor, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw candidates of each sequence with replacement: flat positions [B * K] and the weight of each draw.

    K is Google's `max_predictions_per_seq`, the same for every batch (`configure_pretraining.py`); `counts` [B] of the
    K count.
    """
    length = candidates.shape[1]
    most = max(1, int((probability + GOOGLE_MARGIN) * length))
    available = candidates.sum(1, keepdim=True)
    draws = torch.rand(len(candidates), most, generator=generator, dtype=torch.float64)
    drawn = (draws * available).long()  # the rank of the drawn candidate among its sequence's candidates
    used = (torch.arange(most) < counts[:, None]) & (available > 0)
    column = torch.searchsorted(candidates.cumsum(1), drawn + 1).masked_fill_(~used, 0)
    first = torch.arange(len(candidates))[:, None] * length
    return (first + column).flatten(), used.flatten().float()


def _bernoulli(candidates: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Select each candidate independently; if that selects none in the whole batch, select one at random."""
    keys = torch.rand(candidates.shape, generator=generator).masked_fill_(~candidates, 2.0)
    selected = keys < probability
    return selected if selected.any() else (keys == keys.min()) & candidates
