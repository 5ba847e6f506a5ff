"""Zeros of a pruned model in what later links leave, counted in the saved files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from chains import run_chain
from onnx import numpy_helper
from safetensors.torch import load_file

from electralab.artifacts import read_manifest
from electralab.deploy.graphs import ONNX_GRAPH
from electralab.methods.opening import network_of, open_artifact
from electralab.records import RunRecord

TRAINED = {"learning_rates": [1e-2], "batch_size": 16, "max_length": 32, "layerwise_lr_decay": 1.0}
FULL = {"kind": "full", "epochs": 2, **TRAINED}
PRUNED = {"kind": "prune", "sparsity": 0.6}
SHARE = 0.6
LAYER = "electra.encoder.layer.1."
# What a graph calls the dense layers of one layer of the network, and its own names of them.
DENSE = {"attention_output": "attention.output.dense", "intermediate": "intermediate.dense", "output": "output.dense"}


@pytest.fixture(scope="module")
def pruned(root: Path, task: Path, encoder: Path) -> Path:
    """The folder of a model of whose dense weights 60 % are zero."""
    run_chain(root / "runs", task, encoder, full=FULL, pruned=PRUNED)
    return root / "runs"


def linked(pruned: Path, task: Path, encoder: Path, **settings: Any) -> tuple[RunRecord, Path]:
    """The record and the model of a link after it."""
    folder = pruned.parent / "_".join([str(value) for value in settings.values()])
    shutil.copytree(pruned, folder)
    links = {"full": FULL, "pruned": PRUNED, "link": settings}
    record = run_chain(folder, task, encoder, done=("full", "full+pruned"), **links)["full+pruned+link"]
    assert record.status == "ok", record.reason
    return record, folder / "full+pruned+link" / "model"


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def before(pruned: Path) -> dict[str, torch.Tensor]:
    """The dense weights of the pruned model's layers, as it was saved."""
    state = weights_of(pruned / "full+pruned" / "model")
    dense = {name: tensor for name, tensor in state.items() if ".encoder.layer." in name and tensor.dim() == 2}
    zeros = sum(int((tensor == 0).sum()) for tensor in dense.values()) / sum(t.numel() for t in dense.values())
    assert zeros == pytest.approx(SHARE, abs=1e-3)
    return dense


@pytest.mark.parametrize("kind", ["half", "trim_vocabulary"])
def test_in_what_is_stored_as_it_is(kind: str, pruned: Path, task: Path, encoder: Path) -> None:
    _, model = linked(pruned, task, encoder, kind=kind)
    after = weights_of(model)
    for name, tensor in before(pruned).items():
        assert torch.equal(after[name] == 0, tensor == 0), name
    assert len(after) == len(weights_of(pruned / "full+pruned" / "model"))
    # Opened again, as the next link would: what is multiplied has the same zeros.
    opened = network_of(open_artifact(model / "manifest.json", "cpu")[1].model)
    matrices = [weight for name, weight in opened.named_parameters() if ".layer." in name and weight.dim() == 2]
    zeros = sum(int((weight == 0).sum()) for weight in matrices) / sum(weight.numel() for weight in matrices)
    assert zeros == pytest.approx(SHARE, abs=1e-3)


def test_in_what_is_left_of_removed_layers_and_neurons(pruned: Path, task: Path, encoder: Path) -> None:
    record, model = linked(pruned, task, encoder, kind="remove", layers=[0], neurons=0.25)
    after, start = weights_of(model), before(pruned)
    query, into = "electra.encoder.layer.0.attention.self.query.weight", "electra.encoder.layer.0.intermediate.dense"
    assert torch.equal(after[query] == 0, start[f"{LAYER}attention.self.query.weight"] == 0)
    whole = start[f"{LAYER}intermediate.dense.weight"]
    rows = {tuple(row.tolist()) for row in whole}
    assert all(tuple(row.tolist()) in rows for row in after[f"{into}.weight"])
    assert len(after[f"{into}.weight"]) == round(0.75 * len(whole))
    assert record.metrics["removed_layers"] == 1


@pytest.mark.parametrize(
    ("settings", "width"),
    [
        ({"kind": "dynamic_int8"}, 0),
        ({"kind": "weight_only_int8"}, 8),
        ({"kind": "weight_only_int4", "block_size": 16}, 4),
    ],
)
def test_in_graphs_of_few_bits(settings: dict[str, Any], width: int, pruned: Path, task: Path, encoder: Path) -> None:
    """The integer that stands for zero stands where a zero was: scales are symmetric."""
    _, model = linked(pruned, task, encoder, **settings)
    graph = onnx.load(model / ONNX_GRAPH).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for ours, theirs in DENSE.items():
        weight = before(pruned)[f"{LAYER}{theirs}.weight"].numpy()
        key = f"encoder.layers.1.{ours}.weight"
        if width:
            packed = tensors[f"{key}_Q{width}"]
            codes = np.stack([packed & 15, packed >> 4], axis=-1) if width == 4 else packed
            codes = codes.reshape(len(packed), -1)[:, : weight.shape[1]]
            is_zero = codes == 1 << (width - 1)
        else:
            is_zero = (tensors[f"{key}_quantized"].astype(int) == tensors[f"{key}_zero_point"].astype(int)).T
        assert is_zero[weight == 0].all() and is_zero.mean() >= SHARE - 1e-3


@pytest.mark.parametrize("kind", ["nf4", "bnb_int8"])
def test_in_files_of_bitsandbytes(kind: str, pruned: Path, task: Path, encoder: Path) -> None:
    """nf4 has a code for zero, and int8 is symmetric: rows of products of the opened model are compared."""
    _, model = linked(pruned, task, encoder, kind=kind)
    network = network_of(open_artifact(model / "manifest.json", "cpu")[1].model)
    for theirs in DENSE.values():
        weight = before(pruned)[f"{LAYER}{theirs}.weight"]
        stored = network.get_submodule(f"{LAYER}{theirs}").weight
        values = dequantize_4bit(stored.data, stored.quant_state) if kind == "nf4" else stored.detach()
        assert (values == 0)[weight == 0].all() and (values == 0).float().mean() >= SHARE - 1e-3


def test_not_in_quantization_aware_training(pruned: Path, task: Path, encoder: Path) -> None:
    """It trains every weight, as docs/methods.md says: `recover` and a link without training keep zeros."""
    _, model = linked(pruned, task, encoder, kind="qat", epochs=1, **TRAINED)
    graph = onnx.load(model / ONNX_GRAPH).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weight = before(pruned)[f"{LAYER}intermediate.dense.weight"].numpy()
    stored = tensors["encoder.layers.1.intermediate.weight_quantized"].T
    assert (stored == 0)[weight == 0].mean() < 0.9
    assert read_manifest(model / "manifest.json").form == "onnx"
