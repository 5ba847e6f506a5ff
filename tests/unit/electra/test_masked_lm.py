"""The fused output layer against textbook PyTorch, and its samples against the softmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from electralab.electra import masked_lm as module
from electralab.electra.masked_lm import masked_lm
from electralab.speed import onednn


def inputs(count: int, vocabulary: int, size: int = 8, scale: float = 1.0) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(count + vocabulary)
    hidden = torch.randn(count, size, generator=random) * scale
    table = torch.randn(vocabulary, size, generator=random)
    bias = torch.randn(vocabulary, generator=random)
    targets = torch.randint(vocabulary, (count,), generator=random)
    uniforms = torch.rand(count, generator=random, dtype=torch.float64)
    return hidden.requires_grad_(), table.requires_grad_(), bias.requires_grad_(), targets, uniforms


@given(count=st.integers(1, 40), vocabulary=st.integers(2, 400), upstream=st.floats(0.1, 50))
def test_loss_and_gradients_are_those_of_cross_entropy(count: int, vocabulary: int, upstream: float) -> None:
    hidden, table, bias, targets, uniforms = inputs(count, vocabulary)
    expected = F.cross_entropy(F.linear(hidden, table, bias), targets)
    gradients = torch.autograd.grad(upstream * expected, (hidden, table, bias))
    loss, samples = masked_lm(hidden, table, bias, targets, uniforms)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    actual = torch.autograd.grad(upstream * loss, (hidden, table, bias))
    torch.testing.assert_close(actual, gradients, atol=1e-5 * upstream, rtol=1e-4)
    assert not samples.requires_grad


@given(count=st.integers(1, 40), vocabulary=st.integers(2, 400))
def test_a_sample_is_where_the_cumulative_probability_passes_the_uniform(count: int, vocabulary: int) -> None:
    hidden, table, bias, targets, uniforms = inputs(count, vocabulary)
    _, samples = masked_lm(hidden, table, bias, targets, uniforms)
    cumulative = F.linear(hidden, table, bias).double().softmax(1).cumsum(1).detach().numpy()
    chosen, drawn = samples.numpy(), uniforms.numpy()
    rows = np.arange(count)
    below = np.where(chosen > 0, cumulative[rows, chosen - 1], 0.0)
    assert (below <= drawn + 1e-6).all()
    assert (drawn <= cumulative[rows, chosen] + 1e-6).all()


@pytest.mark.parametrize("vocabulary", [40, 64, 200])
def test_samples_follow_the_softmax(vocabulary: int) -> None:
    _, table, bias, _, _ = inputs(1, vocabulary)
    count = 100_000
    hidden = torch.full((count, 8), 0.3)
    uniforms = torch.rand(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        _, samples = masked_lm(hidden, table, bias, torch.zeros(count, dtype=torch.long), uniforms)
        probabilities = F.linear(hidden[0], table, bias).double().softmax(0).numpy()
    observed = np.bincount(samples.numpy(), minlength=vocabulary)
    common = probabilities * count >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(probabilities[common], probabilities[~common].sum()) * count
    assert stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-4


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_give_valid_tokens(uniform: float) -> None:
    for vocabulary in (3, 64, 65, 129):
        hidden, table, bias, targets, _ = inputs(50, vocabulary)
        _, samples = masked_lm(hidden, table, bias, targets, torch.full((50,), uniform, dtype=torch.float64))
        assert int(samples.min()) >= 0
        assert int(samples.max()) < vocabulary
        assert uniform > 0 or int(samples.max()) == 0


def test_large_logits_do_not_overflow() -> None:
    hidden, table, bias, targets, uniforms = inputs(20, 100, scale=300.0)
    expected = F.cross_entropy(F.linear(hidden, table, bias), targets)
    loss, _ = masked_lm(hidden, table, bias, targets, uniforms)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-3)
    loss.backward()
    assert bool(hidden.grad.isfinite().all())


def test_row_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = masked_lm(*inputs(37, 90))
    monkeypatch.setattr(module, "CACHE_ELEMENTS", 90 * 5)
    in_blocks = masked_lm(*inputs(37, 90))
    torch.testing.assert_close(whole, in_blocks)


def test_no_selected_token_gives_a_zero_loss_and_zero_gradients() -> None:
    _, table, bias, _, _ = inputs(1, 30)
    empty = torch.empty(0, dtype=torch.long)
    hidden = torch.empty(0, 8, requires_grad=True)
    loss, samples = masked_lm(hidden, table, bias, empty, empty.double())
    loss.backward()
    assert float(loss.detach()) == 0
    assert samples.shape == (0,)
    assert not table.grad.any()
    assert not bias.grad.any()


def test_autocast_keeps_loss_and_gradients_in_fp32() -> None:
    hidden, table, bias, targets, uniforms = inputs(64, 100)
    expected = F.cross_entropy(F.linear(hidden, table, bias), targets)
    gradients = torch.autograd.grad(expected, (hidden, table, bias))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = masked_lm(hidden, table, bias, targets, uniforms)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(expected), rel=0.02)
    loss.backward()
    for tensor, gradient in zip((hidden, table, bias), gradients):
        assert tensor.grad.dtype == torch.float32
        assert float((tensor.grad - gradient).norm() / gradient.norm()) < 0.03


@pytest.mark.parametrize("shape", [(), (4,), (3, 7), (2, 1, 5)])
@pytest.mark.parametrize("sizes", [(6, 10), (10, 6)])
def test_a_onednn_layer_equals_a_plain_one(
    sizes: tuple[int, int], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(onednn, "onednn_is_faster", lambda: True)
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(*sizes))
    fast = torch.nn.Sequential(torch.nn.Linear(*sizes))
    onednn.use_onednn(fast)
    assert type(fast[0]) is onednn.Linear
    fast.load_state_dict(plain.state_dict())
    first = torch.randn(*shape, sizes[0], requires_grad=True)
    second = first.detach().clone().requires_grad_()
    upstream = torch.randn(*shape, sizes[1])
    # AdaLoRA adds to the result of a layer in place.
    plain(first).add_(1).backward(upstream)
    fast(second).add_(1).backward(upstream)
    torch.testing.assert_close(fast(second), plain(first))
    torch.testing.assert_close(second.grad, first.grad)
    torch.testing.assert_close([p.grad for p in fast.parameters()], [p.grad for p in plain.parameters()])


def test_a_onednn_layer_leaves_frozen_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "onednn_is_faster", lambda: hasattr(torch.ops.mkldnn, "_linear_pointwise"))
    layer = onednn.Linear(4, 3)
    layer.weight.requires_grad_(False)
    layer(torch.randn(5, 4)).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((3,), 5.0))
