"""The encoder and the pair: shapes, parameter counts, padding, tying."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from electralab.electra.encoder import ElectraConfig, Encoder, generator_config
from electralab.electra.flops import count_parameters
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError

SMALL = ElectraConfig(30522, 128, 256, 12, 4, 1024)
TINY = ElectraConfig(50, 8, 16, 2, 2, 32, max_positions=12)


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(TINY).eval()


# google-research/electra, configure_pretraining.py: hidden size and heads of ELECTRA-Small's generators.
@pytest.mark.parametrize(
    ("size", "hidden", "heads"), [(0.125, 32, 1), (0.25, 64, 1), (0.5, 128, 2), (0.75, 192, 3), (1.0, 256, 4)]
)
def test_generator_shapes_are_googles(size: float, hidden: int, heads: int) -> None:
    generator = generator_config(SMALL, size)
    assert (generator.hidden_size, generator.attention_heads) == (hidden, heads)
    assert generator.intermediate_size == 4 * hidden
    assert (generator.layers, generator.embedding_size, generator.vocab_size) == (12, 128, 30522)


@given(size=st.floats(0.01, 1.0), head_size=st.integers(4, 128), width=st.integers(2, 60).map(lambda n: 16 * n))
def test_any_generator_size_gives_a_valid_shape(size: float, head_size: int, width: int) -> None:
    discriminator = ElectraConfig(100, 32, width, 2, 1, 64)
    hidden = round(size * width)
    if hidden < 1:
        with pytest.raises(UserError):
            generator_config(discriminator, size, head_size)
        return
    generator = generator_config(discriminator, size, head_size, layers=1)
    assert generator.hidden_size % generator.attention_heads == 0
    assert generator.attention_heads <= max(1, hidden // head_size)
    assert generator.layers == 1


@pytest.mark.parametrize("size", [0.0, -0.5, 1.01])
def test_a_generator_size_outside_0_1_is_refused(size: float) -> None:
    with pytest.raises(UserError, match="generator size"):
        generator_config(SMALL, size)


def test_heads_must_divide_the_hidden_size() -> None:
    with pytest.raises(UserError, match="not a multiple"):
        ElectraConfig(10, 8, 10, 1, 3, 16)


# ELECTRA-Small's released discriminator has 13,483,008 backbone parameters and 13,549,057 with the RTD head.
# The generator's own parameters under full tying, in millions, follow from its shape.
@pytest.mark.parametrize(("size", "extra"), [(0.125, 0.19), (0.25, 0.65), (0.5, 2.43), (0.75, 5.42), (1.0, 9.57)])
def test_parameter_counts_of_electra_small(size: float, extra: float) -> None:
    with torch.device("meta"):
        pair = ElectraPair(SMALL, generator_config(SMALL, size))
    counts = count_parameters(pair)
    assert counts["discriminator_backbone"] == 13_483_008
    assert counts["discriminator"] == 13_549_057
    assert (counts["total"] - counts["discriminator"]) / 1e6 == pytest.approx(extra, abs=0.006)


def test_selected_positions_equal_those_of_the_full_output(encoder: Encoder) -> None:
    ids = torch.randint(50, (3, 10))
    positions = torch.tensor([0, 4, 11, 29])
    expected = encoder(ids).flatten(0, 1)[positions]
    torch.testing.assert_close(encoder(ids, positions=positions), expected)


@given(data=st.data())
def test_padding_never_changes_real_tokens(data: st.DataObject) -> None:
    torch.manual_seed(0)
    encoder = Encoder(TINY).eval()
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    mask = torch.arange(12) < lengths[:, None]
    ids = torch.randint(50, mask.shape)
    other = torch.where(mask, ids, torch.randint(50, mask.shape))
    alone = [encoder(row[None, :length])[0] for row, length in zip(ids, lengths.tolist())]
    torch.testing.assert_close(encoder(ids, mask)[mask], encoder(other, mask)[mask])
    torch.testing.assert_close(encoder(ids, mask.long())[mask], torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_no_token_types_means_type_0(encoder: Encoder) -> None:
    ids = torch.randint(50, (2, 6))
    torch.testing.assert_close(encoder(ids), encoder(ids, token_type_ids=torch.zeros_like(ids)))
    assert not torch.allclose(encoder(ids), encoder(ids, token_type_ids=torch.ones_like(ids)))


def test_too_long_sequences_are_refused(encoder: Encoder) -> None:
    with pytest.raises(UserError, match="13 tokens for a model of 12 positions"):
        encoder(torch.zeros(1, 13, dtype=torch.long))


SHARED = {
    "all": {"word", "position", "token_type", "norm"},
    "word_position": {"word", "position"},
    "word": {"word"},
    "none": set(),
}


@pytest.mark.parametrize("tied", list(SHARED))
def test_tying_survives_loading_moving_and_copying(tied: str) -> None:
    pair = ElectraPair(TINY, generator_config(TINY, 0.75), tied)  # type: ignore[arg-type]
    loaded = ElectraPair(TINY, generator_config(TINY, 0.75), tied)  # type: ignore[arg-type]
    loaded.load_state_dict(pair.state_dict())
    for variant in (pair, loaded, copy.deepcopy(pair), copy.deepcopy(pair).to(torch.float64)):
        ours, theirs = variant.generator.embeddings, variant.discriminator.embeddings
        shared = {name for name in SHARED["all"] if getattr(ours, name).weight is getattr(theirs, name).weight}
        assert shared == SHARED[tied]
        assert variant.generator.embeddings_project.weight is not variant.discriminator.embeddings_project.weight
    torch.testing.assert_close(loaded.state_dict(), pair.state_dict())


def test_one_optimizer_step_moves_both_ends_of_a_tie() -> None:
    pair = ElectraPair(TINY, generator_config(TINY, 0.75))
    before = pair.generator.embeddings.word.weight.clone()
    pair.discriminate(torch.randint(50, (2, 6))).sum().backward()
    torch.optim.SGD(pair.parameters(), lr=1.0).step()
    assert not torch.equal(pair.generator.embeddings.word.weight, before)


def test_the_output_softmax_is_the_generators_word_table() -> None:
    pair = ElectraPair(TINY, generator_config(TINY, 0.75), "none")
    hidden = torch.randn(5, 12)
    before = pair.generator_logits(hidden)
    with torch.no_grad():
        pair.generator.embeddings.word.weight.mul_(2)
    torch.testing.assert_close(pair.generator_logits(hidden), 2 * before)


def test_networks_that_do_not_fit_cannot_be_tied() -> None:
    with pytest.raises(UserError, match="cannot be tied"):
        ElectraPair(TINY, ElectraConfig(50, 4, 16, 2, 2, 32))
    with pytest.raises(UserError, match="vocabulary"):
        ElectraPair(TINY, ElectraConfig(51, 8, 16, 2, 2, 32))
