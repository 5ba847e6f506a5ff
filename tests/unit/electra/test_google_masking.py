"""`google_code` against Google's own steps, written out here in plain Python (google-research/electra,
`pretrain/pretrain_helpers.py` and `run_pretraining.py`)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from electralab.electra.corruption import Corruption, Masking, mask_tokens
from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.initialization import initialize
from electralab.electra.objective import ElectraObjective
from electralab.electra.pair import ElectraPair

PAD, UNK, CLS, SEP, MASK = range(5)
IGNORED = (PAD, CLS, SEP, MASK)  # padding by the input mask; [UNK] is not among them
B, S, V = 6, 64, 90
SLOTS = int((0.15 + 0.005) * S)  # max_predictions_per_seq
CONFIG = ElectraConfig(V, 16, 24, 2, 2, 48, max_positions=S, hidden_dropout=0.0, attention_dropout=0.0)


def scatter_update(sequence: list[int], updates: list[int], positions: list[int]) -> tuple[list[int], list[int]]:
    """Sums the updates of a position, divides by their number and rounds down; position 0 is never updated."""
    length = len(sequence)
    summed, times = [0] * length, [0] * length
    for update, position in zip(updates, positions):
        summed[position] += update
        times[position] += 1
    times[0] = 0
    updated = [math.floor(s / n) if n else old for old, s, n in zip(sequence, summed, times)]
    return updated, [min(n, 1) for n in times]


def batch() -> tuple[Tensor, Tensor]:
    """Few ordinary tokens, so that many positions are drawn twice; one in ten is [UNK]."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, V, (B, S), generator=generator)
    ids[torch.rand(B, S, generator=generator) < 0.1] = UNK
    lengths = torch.tensor([64, 64, 40, 20, 12, 3])
    mask = torch.arange(S) < lengths[:, None]
    ids[:, 0] = CLS
    ids[torch.arange(B), lengths - 1] = SEP
    return ids.masked_fill(~mask, PAD), mask


def choices(seed: int) -> tuple[Tensor, Tensor, Masking]:
    ids, mask = batch()
    options = Corruption(selection="with_replacement")
    return ids, mask, mask_tokens(ids, MASK, IGNORED, options, torch.Generator().manual_seed(seed), mask)


@pytest.mark.parametrize("seed", range(5))
def test_what_both_networks_read_and_the_labels_are_googles(seed: int) -> None:
    ids, mask, masking = choices(seed)
    positions = (masking.positions.view(B, SLOTS) - S * torch.arange(B)[:, None]).tolist()
    assert masking.weights is not None
    weights, shown = masking.weights.view(B, SLOTS), masking.shown_as_mask.view(B, SLOTS).tolist()
    predicted = [max(1, min(SLOTS, round(0.15 * int(length)))) for length in mask.sum(1)]
    assert weights.tolist() == [[1.0] * count + [0.0] * (SLOTS - count) for count in predicted]

    samples = torch.randint(5, V, (B * SLOTS,), generator=torch.Generator().manual_seed(seed))
    pair = ElectraPair(CONFIG, generator_config(CONFIG, 0.5))
    result = ElectraObjective()(pair, ids, masking, mask, samples=samples)
    twice = 0
    for row in range(B):
        slots = [place * int(weight) for place, weight in zip(positions[row], weights[row].tolist())]
        assert all(ids[row, place] not in IGNORED for place in slots if place)
        masked = [place * int(show) for place, show in zip(slots, shown[row])]
        generator_ids, _ = scatter_update(ids[row].tolist(), [MASK] * SLOTS, masked)
        assert masking.generator_ids[row].tolist() == generator_ids
        fake, touched = scatter_update(ids[row].tolist(), samples.view(B, SLOTS)[row].tolist(), slots)
        assert result.discriminator_ids[row].tolist() == fake
        labels = [t * int(new != old) for t, new, old in zip(touched, fake, ids[row].tolist())]
        assert result.replaced[row].int().tolist() == labels
        twice += sum(slots.count(place) > 1 for place in set(slots) if place)
    assert twice > 0


def test_losses_and_gradients_weigh_slots_as_google_does() -> None:
    ids, mask, masking = choices(0)
    pair = ElectraPair(CONFIG, generator_config(CONFIG, 0.5))
    initialize(pair, "truncated_normal", torch.Generator().manual_seed(0))
    result = ElectraObjective()(pair, ids, masking, mask)
    result.loss.backward()
    ours = {name: parameter.grad.clone() for name, parameter in pair.named_parameters()}
    pair.zero_grad()

    hidden = pair.generator(masking.generator_ids, mask)  # all positions, gathered afterwards
    logits = pair.generator_logits(hidden).flatten(0, 1)[masking.positions]
    each = F.cross_entropy(logits, ids.flatten()[masking.positions], reduction="none")
    mlm = (masking.weights * each).sum() / (masking.weights.sum() + 1e-6)
    real = mask.float()
    each = F.binary_cross_entropy_with_logits(
        pair.discriminate(result.discriminator_ids, mask), result.replaced.float(), reduction="none"
    )
    rtd = (each * real).sum() / (1e-6 + real.sum())
    (mlm + 50 * rtd).backward()
    assert result.mlm_loss is not None
    assert float(result.mlm_loss) == pytest.approx(mlm.item(), rel=1e-5)
    assert float(result.rtd_loss) == pytest.approx(rtd.item(), rel=1e-5)
    for name, parameter in pair.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-3, atol=1e-6)


def test_shapes_are_the_same_for_every_batch_and_unknown_words_are_drawn() -> None:
    drawn = [choices(seed) for seed in range(20)]
    assert {tuple(masking.positions.shape) for _, _, masking in drawn} == {(B * SLOTS,)}
    ids = batch()[0].flatten()
    found = torch.cat([ids[masking.positions[masking.replaceable]] for _, _, masking in drawn])
    assert 0.05 < float((found == UNK).double().mean()) < 0.2


def test_a_draw_is_kept_only_if_no_other_masks_it() -> None:
    """15 % of the draws are kept, of 126 places drawn 19 times .141 of the distinct ones: none of their draws masks."""
    ids = torch.randint(5, V, (4000, 128), generator=torch.Generator().manual_seed(1))
    ids[:, 0], ids[:, -1] = CLS, SEP
    masking = mask_tokens(
        ids, MASK, IGNORED, Corruption(selection="with_replacement"), torch.Generator().manual_seed(2)
    )
    distinct = masking.positions.unique()
    kept = (masking.generator_ids.flatten()[distinct] != MASK).double().mean()
    once = [math.comb(19, k) * (1 / 126) ** k * (125 / 126) ** (19 - k) for k in range(20)]
    expected = sum(p * 0.15**k for k, p in enumerate(once) if k) / (1 - once[0])
    assert float(kept) == pytest.approx(expected, abs=0.004)
