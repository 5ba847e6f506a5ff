"""Initial values, and that position-aware heads look where they should."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from electralab.electra.encoder import ElectraConfig, Encoder, generator_config
from electralab.electra.initialization import OFFSETS, best_frequencies, initialize, position_frequencies
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError


def initialized(
    method: str, width: int = 128, size: float = 0.25, length: int = 64, seed: int = 0, tied: str = "all"
) -> ElectraPair:
    config = ElectraConfig(500, 128, width, 2, 4, 4 * width, hidden_dropout=0.0, attention_dropout=0.0)
    pair = ElectraPair(config, generator_config(config, size, head_size=32), tied)  # type: ignore[arg-type]
    unigram = torch.arange(500)
    initialize(pair, method, torch.Generator().manual_seed(seed), unigram, length)  # type: ignore[arg-type]
    return pair.eval()


def attention(encoder: Encoder, length: int, layer: int = 0) -> Tensor:
    """Attention probabilities [heads, S, S] of a layer on random tokens, averaged over sequences."""
    ids = torch.randint(500, (4, length), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        hidden = encoder.embeddings_project(encoder.embeddings(ids))
        for earlier in encoder.layers[:layer]:
            hidden = earlier(hidden, None)
        heads, width = encoder.config.attention_heads, encoder.config.hidden_size
        query, key, _ = (
            part.view(4, length, heads, -1).transpose(1, 2) for part in encoder.layers[layer].qkv(hidden).chunk(3, -1)
        )
        return (query @ key.transpose(2, 3) / math.sqrt(width // heads)).softmax(-1).mean(0)


@pytest.mark.parametrize("method", ["normal", "truncated_normal"])
def test_usual_initial_values(method: str) -> None:
    pair = initialized(method)
    for name, parameter in pair.state_dict().items():
        if parameter.ndim == 2 and parameter.numel() > 5000:
            assert float(parameter.mean()) == pytest.approx(0, abs=2e-3), name
            # A normal distribution cut at two deviations keeps 0.8796 of its deviation.
            expected = 0.02 if method == "normal" else 0.02 * 0.8796
            assert float(parameter.std()) == pytest.approx(expected, rel=0.04), name
            assert (float(parameter.abs().max()) > 0.04) == (method == "normal"), name
        elif name.endswith("norm.weight"):
            assert bool((parameter == 1).all())
        elif parameter.ndim == 1:
            assert not parameter.any(), name


@pytest.mark.parametrize("method", ["normal", "truncated_normal", "position_aware_init"])
def test_the_seed_decides_everything(method: str) -> None:
    first, same, other = initialized(method), initialized(method), initialized(method, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters()))
    assert not torch.equal(first.word_embeddings, other.word_embeddings)


def test_no_distance_below_512_looks_like_distance_0() -> None:
    distances = torch.arange(1, 512, dtype=torch.float64)
    kernel = torch.cos(distances[:, None] * position_frequencies(16)).mean(1)
    assert float(kernel.max()) < 0.41
    assert 0 < float(position_frequencies(16).min()) < float(position_frequencies(16).max()) < math.pi
    # Equally spaced angles, for contrast, come back at every multiple of 32 or 64.
    harmonic = math.pi * (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    assert float(torch.cos(distances[:, None] * harmonic).mean(1).abs().max()) > 0.99


def test_the_best_subset_of_angles_beats_every_other() -> None:
    angles = position_frequencies(6)
    best = best_frequencies(angles, 3, 64)

    def lobe(indices: list[int]) -> float:
        return float(torch.cos(torch.arange(1, 64, dtype=torch.float64)[:, None] * angles[indices]).mean(1).max())

    others = [[a, b, c] for a in range(6) for b in range(a) for c in range(b)]
    assert lobe(best) == pytest.approx(min(lobe(indices) for indices in others))
    assert best_frequencies(angles, 9, 64) == list(range(6))


# The bars are those of the recipe: most of a head's attention on its offset, at every usual length.
@pytest.mark.parametrize(("length", "least"), [(64, 0.7), (128, 0.65), (256, 0.6), (512, 0.55)])
@pytest.mark.parametrize("width", [128, 256])
def test_heads_of_the_first_layer_attend_at_their_offsets(width: int, length: int, least: float) -> None:
    pair = initialized("position_aware_init", width=width, length=length)
    probabilities = attention(pair.discriminator, length)
    for head, offset in enumerate(OFFSETS):
        mass = float(probabilities[head].diagonal(offset).mean())
        assert least < mass < 0.85, (head, offset, mass)
    uniform = attention(initialized("normal", width=width).discriminator, length)
    assert float(uniform[0].diagonal(-1).mean()) < 2 / length


# Widths 16 and 32 have one head, 64 has two; narrow ones carry fewer angles and are less sharp.
@pytest.mark.parametrize(("size", "least"), [(0.125, 0.45), (0.25, 0.6), (0.5, 0.7), (1.0, 0.7)])
@pytest.mark.parametrize("tied", ["all", "word", "none"])
def test_generators_attend_at_their_offsets(size: float, least: float, tied: str) -> None:
    pair = initialized("position_aware_init", size=size, tied=tied)
    probabilities = attention(pair.generator, 64)
    for head, offset in enumerate(OFFSETS[: pair.generator.config.attention_heads]):
        assert float(probabilities[head].diagonal(offset).mean()) > least


def test_the_second_layer_leans_towards_the_neighbours() -> None:
    pair = initialized("position_aware_init")
    probabilities = attention(pair.discriminator, 64, layer=1)
    assert float(probabilities[0].diagonal(-1).mean()) > 0.08 > 4 / 64
    assert float(probabilities[1].diagonal(1).mean()) > 0.08
    single = attention(pair.generator, 64, layer=1)
    assert float(single[0].diagonal(1).mean()) > 0.08


def test_output_biases_start_at_the_base_rates() -> None:
    pair = initialized("position_aware_init")
    assert float(pair.discriminator_head.prediction.bias.detach().sigmoid()) == pytest.approx(0.14)
    expected = (torch.arange(500) + 0.5) / (torch.arange(500) + 0.5).sum()
    torch.testing.assert_close(pair.generator_head.bias.exp(), expected, rtol=1e-4, atol=0)


def test_too_narrow_networks_are_refused() -> None:
    config = ElectraConfig(50, 4, 16, 1, 2, 32)
    with pytest.raises(UserError, match="position_aware_init"):
        initialize(ElectraPair(config, config), "position_aware_init", torch.Generator())
