"""4-bit layers through oneDNN give what bitsandbytes gives, forwards and backwards."""

from __future__ import annotations

import copy

import pytest
import torch

from electralab.speed import onednn

Linear4bit = pytest.importorskip("bitsandbytes").nn.Linear4bit


@pytest.mark.parametrize("shape", [(4,), (3, 7)])
@pytest.mark.parametrize(("storage", "double"), [("nf4", True), ("nf4", False), ("fp4", True)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_4_bit_layer_equals_that_of_bitsandbytes(
    storage: str, double: bool, bias: bool, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from electralab.methods.adapters import four_bit

    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(onednn, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(four_bit, "onednn_is_faster", lambda: True)
    torch.manual_seed(0)
    dense = torch.nn.Linear(100, 70, bias=bias)
    plain = Linear4bit(100, 70, bias, torch.float32, double, storage)
    plain.load_state_dict(dense.state_dict())
    plain = plain.to("cpu")
    plain.support_avx512bf16_for_cpu = False
    network = torch.nn.Sequential(copy.deepcopy(plain))
    four_bit.use_onednn_in_4_bits(network)
    assert type(network[0]) is four_bit.OneDnnLinear4bit and isinstance(network[0], Linear4bit)
    first = torch.randn(*shape, 100, requires_grad=True)
    second = first.detach().clone().requires_grad_()
    upstream = torch.randn(*shape, 70)
    plain(first).backward(upstream)
    network(second).backward(upstream)
    torch.testing.assert_close(network(second), plain(first))
    torch.testing.assert_close(second.grad, first.grad)
    assert (plain(first) - dense(first)).abs().max() > 1e-3, "nothing was rounded"
    if bias:
        torch.testing.assert_close(network[0].bias.grad, plain.bias.grad)
