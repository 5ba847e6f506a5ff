"""Replaced-token detection with a frozen generator: the same windows, masks and draws for every discriminator."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from electralab.electra.corruption import Corruption, mask_tokens
from electralab.electra.objective import ElectraObjective
from electralab.electra.pair import ElectraPair
from electralab.retention.windows import Windows
from electralab.tokens.tokenizer import TextEncoder


class Detected(NamedTuple):
    """Answers of a discriminator, [N, S] each."""

    logits: Tensor
    replaced: Tensor


@torch.inference_mode()
def detected(
    pair: ElectraPair, windows: Windows, tokenizer: TextEncoder, randomness: torch.Generator, batch_tokens: int
) -> Detected:
    """Mask as the ELECTRA paper does, let the generator replace, and ask the discriminator.

    Choices are drawn for all windows at once, so that they do not depend on `batch_tokens`.
    """
    device = next(pair.parameters()).device
    ids, real, objective = windows.input_ids, windows.real, ElectraObjective()
    masking = mask_tokens(ids, tokenizer.mask_id, tokenizer.special_ids, Corruption(), randomness, real)
    at_once = max(1, batch_tokens // ids.shape[1])
    logits, replaced = [], []
    for start in range(0, len(ids), at_once):
        end = start + at_once
        chosen = masking.rows(start, end).to(device)
        result = objective(pair, ids[start:end].to(device), chosen, real[start:end].to(device))
        logits.append(result.rtd_logits.float().cpu())
        replaced.append(result.replaced.cpu())
    return Detected(torch.cat(logits), torch.cat(replaced))
