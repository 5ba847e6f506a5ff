"""The joint loss: against Hugging Face on the same masks and samples, and its definitions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from torch import Tensor

from electralab.electra.convert import discriminator_state, generator_state, huggingface_config
from electralab.electra.corruption import Corruption, Masking, mask_tokens
from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.initialization import initialize
from electralab.electra.objective import ElectraObjective
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError

PAD, CLS, SEP, MASK = 0, 1, 2, 3
SPECIAL = (PAD, CLS, SEP, MASK)
CONFIG = ElectraConfig(90, 16, 24, 2, 2, 48, max_positions=32, hidden_dropout=0.0, attention_dropout=0.0)
B, S = 4, 32


def make_pair(tied: str = "all") -> ElectraPair:
    pair = ElectraPair(CONFIG, generator_config(CONFIG, 0.5), tied)  # type: ignore[arg-type]
    initialize(pair, "normal", torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.mul_(3)  # away from the flat start, where errors would hide
    return pair


def make_ids(seed: int = 0) -> Tensor:
    ids = torch.randint(4, 90, (B, S), generator=torch.Generator().manual_seed(seed))
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids


def make_masking(ids: Tensor, attention_mask: Tensor | None = None, **options: object) -> Masking:
    corruption = Corruption(**options)  # type: ignore[arg-type]
    return mask_tokens(ids, MASK, SPECIAL, corruption, torch.Generator().manual_seed(1), attention_mask)


def huggingface(pair: ElectraPair) -> tuple[torch.nn.Module, torch.nn.Module]:
    discriminator = transformers.ElectraForPreTraining(
        transformers.ElectraConfig(**huggingface_config(pair.discriminator.config, "ElectraForPreTraining"))
    )
    generator = transformers.ElectraForMaskedLM(
        transformers.ElectraConfig(**huggingface_config(pair.generator.config, "ElectraForMaskedLM"))
    )
    discriminator.load_state_dict(discriminator_state(pair))
    generator.load_state_dict(generator_state(pair), strict=False)
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.generator_lm_head.weight = generator.electra.embeddings.word_embeddings.weight
    return generator, discriminator


@pytest.mark.parametrize("padded", [False, True])
def test_losses_and_gradients_equal_huggingface(padded: bool) -> None:
    pair, ids = make_pair(), make_ids()
    types = (torch.arange(S) > 12).long().expand(B, S) if padded else None
    mask = torch.arange(S) < torch.tensor([[32], [20], [9], [31]]) if padded else None
    if mask is not None:
        ids = ids.masked_fill(~mask, PAD)
    masking = make_masking(ids, mask)
    result = ElectraObjective()(pair, ids, masking, mask, types)
    result.loss.backward()

    generator, discriminator = huggingface(pair)
    labels = torch.full_like(ids, -100)
    labels.view(-1)[masking.positions] = ids.view(-1)[masking.positions]
    inputs = {"attention_mask": None if mask is None else mask.long(), "token_type_ids": types}
    mlm = generator(input_ids=masking.generator_ids, labels=labels, **inputs).loss
    corrupted = ids.flatten().scatter(0, masking.positions, result.sampled_ids).view_as(ids)
    rtd = discriminator(input_ids=corrupted, labels=(corrupted != ids).long(), **inputs).loss
    (mlm + 50 * rtd).backward()

    torch.testing.assert_close(result.mlm_loss, mlm.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result.rtd_loss, rtd.detach(), atol=1e-5, rtol=1e-5)
    graded = copy.deepcopy(pair)
    for target, source in zip(graded.parameters(), pair.parameters()):
        target.data = source.grad
    for network, state in ((discriminator, discriminator_state(graded)), (generator, generator_state(graded))):
        for name, parameter in network.named_parameters():
            expected = parameter.grad
            scale = max(float(expected.abs().max()), 1e-2)
            assert float((state[name] - expected).abs().max()) / scale < 1e-5, name


def test_the_total_is_the_weighted_sum() -> None:
    pair, ids = make_pair(), make_ids()
    result = ElectraObjective(2.0, 7.0)(pair, ids, make_masking(ids))
    torch.testing.assert_close(result.loss.detach(), 2 * result.mlm_loss + 7 * result.rtd_loss)


def test_no_gradient_passes_through_the_samples() -> None:
    pair, ids = make_pair("none"), make_ids()
    ElectraObjective(generator_weight=0.0)(pair, ids, make_masking(ids)).loss.backward()
    generator = [*pair.generator.parameters(), *pair.generator_head.parameters()]
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in generator)
    assert all(parameter.grad.any() for parameter in pair.discriminator.layers[0].qkv.parameters())


def test_labels_mark_what_differs_from_the_original() -> None:
    pair, ids = make_pair(), make_ids()
    masking = make_masking(ids)
    originals = ids.flatten()[masking.positions]
    samples = originals.clone()
    samples[::2] = 5 + samples[::2] % 80 + 1  # every other sample is some token, perhaps the original
    result = ElectraObjective()(pair, ids, masking, samples=samples)
    expected = torch.zeros(B * S, dtype=torch.bool)
    expected[masking.positions] = samples != originals
    assert torch.equal(result.replaced.flatten(), expected)
    assert torch.equal(result.discriminator_ids.flatten()[masking.positions], samples)
    untouched = torch.ones(B * S, dtype=torch.bool)
    untouched[masking.positions] = False
    assert torch.equal(result.discriminator_ids.flatten()[untouched], ids.flatten()[untouched])


def test_samples_equal_to_the_originals_leave_nothing_to_detect() -> None:
    pair, ids = make_pair(), make_ids()
    masking = make_masking(ids)
    result = ElectraObjective()(pair, ids, masking, samples=ids.flatten()[masking.positions])
    assert torch.equal(result.discriminator_ids, ids)
    assert not result.replaced.any()


# Kept tokens are replaced by google-research/electra, not by cccwam/rc2020_electra.
@pytest.mark.parametrize("replace", ["all_selected", "masked_only"])
def test_kept_tokens_are_replaced_only_in_the_paper(replace: str) -> None:
    pair, ids = make_pair(), make_ids()
    masking = make_masking(ids, keep_probability=0.5, replace=replace)
    samples = (ids.flatten()[masking.positions] + 1) % 90
    result = ElectraObjective()(pair, ids, masking, samples=samples)
    replaced = result.replaced.flatten()[masking.positions]
    assert bool(replaced[masking.shown_as_mask].all())
    assert bool(replaced[~masking.shown_as_mask].all()) == (replace == "all_selected")
    assert bool(replaced[~masking.shown_as_mask].any()) == (replace == "all_selected")


def test_special_tokens_can_be_left_out_of_the_detection_loss() -> None:
    pair, ids = make_pair(), make_ids()
    mask = torch.arange(S) < torch.tensor([[32], [20], [9], [31]])
    ids = ids.masked_fill(~mask, PAD)
    objective = ElectraObjective(loss_tokens="non_special", special_ids=SPECIAL)
    result = objective(pair, ids, make_masking(ids, mask), mask)
    counted = mask & (ids > MASK)
    assert torch.equal(result.counted, counted)
    logits, labels = result.rtd_logits[counted], result.replaced[counted]
    expected = torch.where(labels, -logits.sigmoid().log(), -(-logits).sigmoid().log()).mean()
    torch.testing.assert_close(result.rtd_loss, expected)


@pytest.mark.parametrize("noise", ["unigram", "uniform"])
def test_noise_without_a_generator_trains_the_discriminator_alone(noise: str) -> None:
    pair, ids = make_pair("none"), make_ids()
    objective = ElectraObjective(unigram=torch.ones(90))
    result = objective(pair, ids, make_masking(ids), noise=noise)  # type: ignore[arg-type]
    assert result.mlm_loss is None
    result.loss.backward()
    assert all(parameter.grad is None for parameter in pair.generator.parameters())
    torch.testing.assert_close(result.loss.detach(), 50 * result.rtd_loss)


@pytest.mark.parametrize("noise", ["unigram", "uniform"])
def test_noise_follows_its_distribution(noise: str) -> None:
    pair = make_pair()
    counts = torch.arange(90) % 7
    ids = torch.randint(4, 90, (400, S), generator=torch.Generator().manual_seed(0))
    masking = make_masking(ids, mask_probability=0.9)
    sampled = ElectraObjective(unigram=counts)(pair, ids, masking, noise=noise).sampled_ids  # type: ignore[arg-type]
    expected = counts.double().numpy() if noise == "unigram" else np.ones(90)
    observed = np.bincount(sampled.numpy(), minlength=90)
    assert not observed[expected == 0].any()
    possible = expected > 0
    scaled = expected[possible] / expected.sum() * len(sampled)
    assert stats.chisquare(observed[possible], scaled).pvalue > 1e-4


def test_unigram_noise_needs_counts() -> None:
    pair, ids = make_pair(), make_ids()
    with pytest.raises(UserError, match="unigram"):
        ElectraObjective()(pair, ids, make_masking(ids), noise="unigram")


def test_a_step_repeats_bit_for_bit() -> None:
    pair, ids = make_pair(), make_ids()
    first, second = (ElectraObjective()(pair, ids, make_masking(ids)) for _ in range(2))
    assert torch.equal(first.loss, second.loss)
    assert torch.equal(first.discriminator_ids, second.discriminator_ids)


def test_autocast_step_is_close_to_fp32() -> None:
    pair, ids = make_pair(), make_ids()
    masking = make_masking(ids)
    exact = ElectraObjective()(pair, ids, masking)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = ElectraObjective()(pair, ids, masking, samples=exact.sampled_ids)
    rounded.loss.backward()
    assert rounded.loss.dtype == torch.float32
    assert float(rounded.loss) == pytest.approx(float(exact.loss), rel=0.05)
    assert all(bool(p.grad.isfinite().all()) for p in pair.parameters() if p.grad is not None)
