"""Pseudo-perplexity of a masked language model (Salazar et al. 2020): every token is masked once, the others are seen.

exp of the mean loss of the masked tokens. A batch holds as many copies of windows as its budget of tokens allows, each
with another token masked, and the last layer and the vocabulary are computed at the masked tokens alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from electralab.electra.encoder import Encoder
from electralab.electra.pair import GeneratorHead
from electralab.retention.windows import Windows, stream_windows

PUBLISHED_STRIDE = 512  # of Prune As You Tune, whatever the model's positions


class LanguageModel(nn.Module):
    """A body under a head for masked words; `table` [V, E] is the output matrix."""

    def __init__(self, encoder: Encoder, head: GeneratorHead, table: Tensor) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.register_buffer("table", table)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None, positions: Tensor) -> Tensor:
        """[B, S] and flat positions [N] into [B * S] -> logits [N, V]."""
        hidden = self.encoder(input_ids, attention_mask, None, positions)
        return F.linear(self.head(hidden), cast(Tensor, self.table), self.head.bias)


@torch.inference_mode()
def token_losses(model: LanguageModel, windows: Windows, mask_id: int, batch_tokens: int) -> Tensor:
    """Minus the log-probability of every token that counts, [N, S] float64; 0 at the others."""
    device = cast(Tensor, model.table).device
    losses = torch.zeros(windows.input_ids.shape, dtype=torch.float64)
    for rows, places in _batches(windows, batch_tokens):
        longest, order = int(windows.lengths[rows].max()), torch.arange(len(rows))
        ids = windows.input_ids[rows, :longest].clone()
        targets = ids[order, places]
        ids[order, places] = mask_id
        real = windows.real[rows, :longest]
        mask = None if bool(real.all()) else real.to(device)
        logits = model(ids.to(device), mask, (order * longest + places).to(device))
        losses[rows, places] = F.cross_entropy(logits.float(), targets.to(device), reduction="none").double().cpu()
    return losses


def published_perplexity(model: LanguageModel, windows: Windows, mask_id: int, batch_tokens: int) -> float:
    """What the original of Prune As You Tune prints as perplexity (`src/perplexity.py`).

    exp of the mean over windows of each window's mean loss: a short last window counts as much as the others.
    """
    losses = token_losses(model, windows, mask_id, batch_tokens)
    return math.exp(float((losses.sum(1) / windows.scored.sum(1)).mean()))


def published_windows(ids: list[int], positions: int, pad_id: int, wanted: int, seed: int) -> Windows:
    """The windows of the original, or a sample: as long as the model's positions, one every 512 tokens.

    Args:
        ids: the whole text as one sequence, with [CLS] in front and [SEP] behind.
        positions: of the model.
        pad_id: of [PAD].
        wanted: how many.
        seed: of the sample.
    """
    every = stream_windows(ids, positions, PUBLISHED_STRIDE, pad_id)
    found = torch.randperm(len(every.lengths), generator=torch.Generator().manual_seed(seed))[:wanted].sort().values
    return Windows(*(part[found] for part in (every.input_ids, every.lengths, every.scored, every.documents)))


def _batches(windows: Windows, batch_tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows and the token that is masked in each, [n] and [n]: windows of like length together."""
    by_length = torch.argsort(windows.lengths, stable=True)
    rows, places = windows.scored[by_length].nonzero(as_tuple=True)
    rows = by_length[rows]
    lengths = windows.lengths[rows].tolist()
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and lengths[end] * (end + 1 - start) <= batch_tokens:
            end += 1
        yield rows[start:end], places[start:end]
        start = end
