"""Which tokens are masked."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from electralab.electra.corruption import Corruption, Masking, mask_tokens
from electralab.errors import UserError

PAD, CLS, SEP, MASK = 0, 1, 2, 3
SPECIAL = [PAD, CLS, SEP, MASK]
SELECTIONS = ["fixed_count", "with_replacement", "bernoulli"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ordinary_ids(batch: int, length: int) -> torch.Tensor:
    ids = torch.randint(4, 100, (batch, length), generator=generator(9))
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids


def masked(ids: torch.Tensor, seed: int = 0, **options: object) -> Masking:
    return mask_tokens(ids, MASK, SPECIAL, Corruption(**options), generator(seed))  # type: ignore[arg-type]


def same(one: Masking, other: Masking) -> bool:
    pairs = [pair for pair in zip(one, other) if pair[0] is not None]
    return all(torch.equal(*pair) for pair in pairs)


@given(data=st.data())
def test_selected_tokens_are_real_and_ordinary(data: st.DataObject) -> None:
    batch, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 24))
    row = st.lists(st.integers(0, 12), min_size=length, max_size=length)
    ids = torch.tensor(data.draw(st.lists(row, min_size=batch, max_size=batch)))
    attention_mask = torch.arange(length) < torch.tensor(
        data.draw(st.lists(st.integers(1, length), min_size=batch, max_size=batch))
    ).unsqueeze(1)
    options = Corruption(
        mask_probability=data.draw(st.floats(0.01, 0.99)),
        keep_probability=data.draw(st.floats(0, 0.9)),
        selection=data.draw(st.sampled_from(SELECTIONS)),  # type: ignore[arg-type]
        replace=data.draw(st.sampled_from(["all_selected", "masked_only"])),  # type: ignore[arg-type]
    )
    seed = data.draw(st.integers(0, 1000))
    result = mask_tokens(ids, MASK, SPECIAL, options, generator(seed), attention_mask)

    candidates = (attention_mask & ~torch.isin(ids, torch.tensor(SPECIAL))).flatten()
    counts = torch.ones_like(result.shown_as_mask) if result.weights is None else result.weights.bool()
    assert bool(candidates[result.positions[counts]].all())
    rows = (result.positions // length).tolist()
    assert rows == sorted(rows)
    if options.selection != "with_replacement":
        assert result.positions.tolist() == sorted(set(result.positions.tolist()))
    assert bool(counts.any()) == bool(candidates.any())
    expected = ids.flatten().clone()
    expected[result.positions[result.shown_as_mask]] = MASK
    assert torch.equal(result.generator_ids.flatten(), expected)
    assert torch.equal(result.replaceable, result.shown_as_mask if options.replace == "masked_only" else counts)
    assert not bool((result.shown_as_mask & ~counts).any())
    assert bool(((result.uniforms >= 0) & (result.uniforms < 1)).all())
    again = mask_tokens(ids, MASK, SPECIAL, options, generator(seed), attention_mask)
    assert same(result, again)
    middle = batch // 2
    parts = [result.rows(0, middle), result.rows(middle, batch)]
    assert torch.equal(torch.cat([parts[0].positions, parts[1].positions + middle * length]), result.positions)
    assert torch.equal(torch.cat([part.generator_ids for part in parts]), result.generator_ids)


# ELECTRA paper, section 3.1 with google-research/electra: max(1, round(0.15 * real tokens)); 19 of 128.
@pytest.mark.parametrize(("length", "count"), [(128, 19), (64, 10), (10, 2), (3, 1)])
def test_a_fixed_count_of_every_sequence_is_selected(length: int, count: int) -> None:
    result = masked(ordinary_ids(16, length))
    per_sequence = torch.bincount(result.positions // length, minlength=16)
    assert per_sequence.tolist() == [count] * 16


def test_the_count_follows_the_real_tokens() -> None:
    ids = ordinary_ids(2, 100)
    attention_mask = torch.arange(100) < torch.tensor([[100], [20]])
    result = mask_tokens(ids, MASK, SPECIAL, Corruption(), generator(), attention_mask)
    assert torch.bincount(result.positions // 100).tolist() == [15, 3]


def test_a_count_above_the_ordinary_tokens_selects_them_all() -> None:
    ids = torch.tensor([[CLS, 7, SEP, SEP, SEP, SEP, SEP, SEP, SEP, SEP]])
    assert masked(ids, mask_probability=0.9).positions.tolist() == [1]


def test_drawing_with_replacement_selects_fewer_distinct_tokens() -> None:
    ids = ordinary_ids(2000, 128)
    drawn = masked(ids, selection="with_replacement").positions
    assert len(drawn) == 2000 * 19
    share = len(drawn.unique()) / 2000
    expected = 126 * (1 - (1 - 1 / 126) ** 19)  # distinct among 19 draws of 126
    assert share == pytest.approx(expected, rel=0.01)
    assert share < 19


def test_bernoulli_selects_its_share() -> None:
    count = len(masked(ordinary_ids(1000, 128), selection="bernoulli").positions)
    expected, deviation = 126_000 * 0.15, (126_000 * 0.15 * 0.85) ** 0.5
    assert abs(count - expected) < 5 * deviation


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_ordinary_position_is_equally_likely(selection: str) -> None:
    result = masked(ordinary_ids(8000, 16), selection=selection, mask_probability=0.25)
    counts = torch.bincount(result.positions % 16, minlength=16)[1:-1].double()
    chi_square = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert chi_square < 40.8  # 13 degrees of freedom, p = 1e-4; without replacement it is smaller still


def test_kept_tokens_are_shown_to_the_generator() -> None:
    ids = ordinary_ids(1000, 128)
    result = masked(ids)
    share = float((~result.shown_as_mask).double().mean())
    assert share == pytest.approx(0.15, abs=0.015)
    kept = result.positions[~result.shown_as_mask]
    assert torch.equal(result.generator_ids.flatten()[kept], ids.flatten()[kept])


def test_the_state_of_the_generator_continues_the_stream() -> None:
    ids, first = ordinary_ids(2, 64), generator(5)
    mask_tokens(ids, MASK, SPECIAL, Corruption(), first)
    state = first.get_state()
    expected = mask_tokens(ids, MASK, SPECIAL, Corruption(), first)
    second = generator(0)
    second.set_state(state)
    resumed = mask_tokens(ids, MASK, SPECIAL, Corruption(), second)
    assert same(expected, resumed)


def test_nothing_to_select_selects_nothing() -> None:
    ids = torch.tensor([[CLS, SEP], [CLS, PAD]])
    for selection in SELECTIONS:
        assert masked(ids, selection=selection).predicted == 0


@pytest.mark.parametrize("options", [{"mask_probability": 0.0}, {"mask_probability": 1.0}, {"keep_probability": 1.0}])
def test_impossible_probabilities_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="probability"):
        Corruption(**options)  # type: ignore[arg-type]
