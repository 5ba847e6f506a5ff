"""Fast dropout: the same law as PyTorch's, the same mask backwards, nothing where nothing is dropped."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import nn

from electralab.speed.dropout import Dropout, use_fast_dropout


@given(
    rate=st.floats(0.0, 1.0),
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
@settings(deadline=None)
def test_every_element_is_dropped_or_scaled(rate: float, shape: list[int], dtype: torch.dtype) -> None:
    hidden = torch.ones(shape, dtype=dtype)
    dropped = Dropout(rate)(hidden)
    assert dropped.dtype == dtype and dropped.shape == hidden.shape
    kept = dropped != 0
    if rate < 1:
        scale = torch.tensor(1 / (1 - rate), dtype=torch.float64)
        assert torch.allclose(dropped[kept].double(), scale.expand(int(kept.sum())), rtol=0.02, atol=0)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_rate_is_met_and_elements_are_independent(rate: float) -> None:
    torch.manual_seed(0)
    kept = Dropout(rate)(torch.ones(1_000_003)) != 0
    assert binomtest(int((~kept).sum()), kept.numel(), rate).pvalue > 1e-3
    # Neighbours share a draw of 64 bits: both are kept as often as two independent elements are.
    for distance in (1, 2, 3, 4):
        both = int((kept[:-distance] & kept[distance:])[:: 2 * distance].sum())
        assert binomtest(both, len(kept[:-distance][:: 2 * distance]), (1 - rate) ** 2).pvalue > 1e-3


def test_the_mean_stays_and_gradients_go_through_what_was_kept() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(400, 500, requires_grad=True)
    dropped = Dropout(0.1)(hidden)
    dropped.sum().backward()
    assert hidden.grad is not None
    assert torch.allclose(hidden.grad * hidden, dropped)
    assert abs(float(hidden.grad.mean()) - 1) < 0.005


def test_a_seed_gives_the_same_mask_and_evaluation_changes_nothing() -> None:
    layer, hidden = Dropout(0.3), torch.randn(5, 9)
    torch.manual_seed(3)
    first = layer(hidden)
    assert not torch.equal(first, layer(hidden))
    torch.manual_seed(3)
    assert torch.equal(first, layer(hidden))
    assert layer.eval()(hidden) is hidden


def test_only_plain_dropouts_are_replaced() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2), nn.Sequential(nn.AlphaDropout(0.2), nn.Dropout(0.4)))
    keys = list(network.state_dict())
    use_fast_dropout(network)
    found = [type(module) for module in network.modules()]
    assert found.count(Dropout) == 2 and nn.AlphaDropout in found and list(network.state_dict()) == keys
    assert isinstance(network[1], nn.Dropout) and network[1].p == 0.2
