"""Quantization-aware training: what a layer computes by formula, and a saved graph that rounds as training did."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from chains import fetched, run_chain
from finetune_task import write_task
from onnx import numpy_helper
from safetensors.torch import load_file
from torch import nn

from electralab.methods.quantization.fake import (
    FakeQuantizedEmbedding,
    FakeQuantizedLinear,
    error_seen,
    fake_quantize,
    fake_quantized,
)
from electralab.speed import onednn

TRAINED = {"learning_rates": [1e-2], "epochs": 4, "batch_size": 16, "max_length": 32, "layerwise_lr_decay": 0.9}
FULL = {"kind": "full", "pooling": "mean", **TRAINED}
QAT = {"kind": "qat", "pooling": "mean", **TRAINED}
AS_PUBLISHED = {**QAT, "recipe": "as_published", "scope": "published"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, and their records."""
    root = tmp_path_factory.mktemp("qat")
    task, model = write_task(root / "words"), fetched(root, "encoder")
    static = {"kind": "static_int8", "scope": "published", "calibration_rows": 400}
    records = run_chain(root, task, model, full=FULL, static=static)
    records |= run_chain(root, task, model, qat=QAT)
    records |= run_chain(root, task, model, published=AS_PUBLISHED)
    records["full+qat"] = run_chain(root, task, model, full=FULL, qat={**QAT, "learning_rates": [1e-3], "epochs": 1})[
        "full+qat"
    ]
    assert {name: (record.status, record.reason) for name, record in records.items() if record.status != "ok"} == {}
    return root, records


def tensors(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path / "model.onnx").graph.initializer}


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_layer_computes_what_the_formula_says(per_channel):
    torch.manual_seed(0)
    layer = FakeQuantizedLinear(nn.Linear(7, 5), per_channel, rounds=True)
    hidden = torch.randn(11, 7)
    answers = layer(hidden).detach().numpy()
    entering, weight = hidden.numpy().astype(np.float64), layer.weight.detach().numpy().astype(np.float64)
    low, high = min(entering.min(), 0), max(entering.max(), 0)
    step = (high - low) / 255
    zero = np.round(-low / step)
    entering = (np.clip(np.round(entering / step) + zero, 0, 255) - zero) * step
    steps = np.abs(weight).max(axis=1 if per_channel else None, keepdims=True) / 64
    expected = entering @ (np.round(weight / steps) * steps).T + layer.bias.detach().numpy()
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_gradients_pass_as_if_nothing_were_rounded():
    plain = nn.Linear(7, 5)
    rounding = FakeQuantizedLinear(copy.deepcopy(plain), True, rounds=True)
    plain(torch.ones(3, 7)).sum().backward()
    rounding(torch.ones(3, 7)).sum().backward()
    torch.testing.assert_close(rounding.weight.grad, plain.weight.grad, rtol=1e-2, atol=1e-2)
    table = FakeQuantizedEmbedding(nn.Embedding(9, 4), rounds=True)
    table(torch.tensor([2, 2])).sum().backward()
    assert table.weight.grad[2].tolist() == [2.0] * 4 and table.weight.grad.sum() == 8


def test_the_range_is_a_moving_average():
    layer = FakeQuantizedLinear(nn.Linear(1, 1), True, rounds=False)
    for value in (2.0, 4.0):
        layer(torch.tensor([[value], [-1.0]]))
    assert float(layer.high) == pytest.approx(2 + 0.01 * 2) and float(layer.low) == -1
    layer.eval()
    layer(torch.tensor([[100.0]]))
    assert float(layer.high) == pytest.approx(2.02)


def test_layers_of_onednn_are_rounded_too(monkeypatch):
    monkeypatch.setattr(onednn, "onednn_is_faster", lambda: True)
    network = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    onednn.use_onednn(network)
    assert type(network[0]) is onednn.Linear
    fake_quantize(network, ["0"], True, True)
    assert set(fake_quantized(network)) == {"0"} and error_seen(network) > 0


def test_as_published_trains_the_weights_of_full_bit_for_bit(runs):
    root, records = runs
    trained, graph = load_file(root / "full" / "model" / "model.safetensors"), tensors(root / "published" / "model")
    prefix = "electra.encoder.layer.0"
    layers = [name for name in graph if name.endswith("attention_output.weight")]
    assert layers
    for name in layers:
        layer = trained[f"{prefix.removesuffix('.0')}.{name.split('.')[2]}.attention.output.dense.weight"].numpy()
        assert np.array_equal(graph[name], layer.T)
    assert np.array_equal(graph["encoder.embeddings.word.weight"], trained["electra.embeddings.word_embeddings.weight"])
    weight = trained[f"{prefix}.intermediate.dense.weight"].numpy()
    scale = np.abs(weight).max(axis=1) / 64
    name = "encoder.layers.0.intermediate.weight"
    assert np.abs(graph[f"{name}_quantized"] - (weight / scale[:, None]).T).max() <= 0.5 + 1e-4
    np.testing.assert_allclose(graph[f"{name}_scale"], scale, rtol=1e-6)
    assert records["published"].metrics["fake_quantization_error"] == 0.0
    assert records["published"].metrics["train_rows"] == records["full"].metrics["train_rows"]


def test_as_published_answers_as_post_training_quantization_does(runs):
    root, _ = runs
    answers = [
        np.loadtxt(root / name / "predictions.csv", delimiter=",", skiprows=1, usecols=-1, dtype=np.float64)
        for name in ("published", "full+static")
    ]
    assert np.mean((answers[0] > 0.5) == (answers[1] > 0.5)) >= 0.97


@pytest.mark.parametrize("name", ["qat", "published", "full+qat"])
def test_a_graph_rounds_as_the_network_did(runs, name):
    metrics = runs[1][name].metrics
    assert metrics["agreement_with_fake_quantized"] >= 0.99
    assert metrics["quantized_layers"] == metrics["expected_layers"] > 0
    assert metrics["accuracy"] > 0.7


@pytest.mark.parametrize("name", ["qat", "full+qat"])
def test_fixed_sees_an_error(runs, name):
    assert 1e-3 < runs[1][name].metrics["fake_quantization_error"] < 0.1
