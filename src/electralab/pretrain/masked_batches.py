"""Batches as the networks are asked about them: with the tokens that are to be predicted already chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from electralab.electra.corruption import Corruption, Masking, mask_tokens
from electralab.tokens.batches import Batches


class MaskedBatch(NamedTuple):
    """A batch and the random choices about it, in the order in which `ElectraObjective` takes them."""

    input_ids: Tensor
    masking: Masking
    attention_mask: Tensor | None
    token_type_ids: Tensor | None

    def rows(self, start: int, end: int) -> MaskedBatch:
        """Some of its sequences, with the choices that were made for the whole."""
        attention_mask, token_type_ids = (None if part is None else part[start:end] for part in self[2:])
        return MaskedBatch(self.input_ids[start:end], self.masking.rows(start, end), attention_mask, token_type_ids)

    def to(self, device: torch.device) -> MaskedBatch:
        """The same on a device, without waiting for the copy."""
        return MaskedBatch(*(None if part is None else _moved(part, device) for part in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class MaskedBatches:
    """Batches with their choices.

    Args:
        batches: of one part of the token cache.
        corruption: how tokens are chosen.
        mask_id: id of [MASK].
        never: ids that are never chosen.
    """

    batches: Batches
    corruption: Corruption
    mask_id: int
    never: tuple[int, ...]

    def draw(self, index: int, generator: torch.Generator) -> MaskedBatch:
        """Batch number `index` on the CPU; `generator` is the only source of the choices."""
        batch = self.batches.batch(index)
        masking = mask_tokens(
            batch.input_ids, self.mask_id, self.never, self.corruption, generator, batch.attention_mask
        )
        return MaskedBatch(batch.input_ids, masking, batch.attention_mask, batch.token_type_ids)


def _moved(part: Tensor | Masking, device: torch.device) -> Tensor | Masking:
    return part.to(device) if isinstance(part, Masking) else part.to(device, non_blocking=True)
