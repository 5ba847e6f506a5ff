"""Fine-tuned encoders as ONNX graphs in few bits: what is stored, and what other software answers with it."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from chains import ONNX_ANSWERS, asked, fetched, predictions, run_chain
from finetune_task import reworded, write_task
from method_models import ENCODERS, VOCABULARY
from onnx import numpy_helper
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification

from electralab.artifacts import Reads, read_manifest
from electralab.config import DynamicInt8
from electralab.deploy.graphs import ONNX_GRAPH
from electralab.methods.onnx.export import export_onnx
from electralab.methods.onnx.graph import stored_layers
from electralab.methods.onnx.network import read_network
from electralab.methods.onnx.session import GraphEncoder
from electralab.methods.quantization import dynamic_int8, onnx_link

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-2]},
    **{"epochs": 4, "batch_size": 16, "max_length": 32},
}
LINKS = {
    "dynamic": {"kind": "dynamic_int8"},
    "per_tensor": {"kind": "dynamic_int8", "per_channel": False, "scope": "linear"},
    "static": {"kind": "static_int8", "calibration_rows": 40},
    "published": {"kind": "static_int8", "scope": "published"},
    "int8": {"kind": "weight_only_int8"},
    "int4": {"kind": "weight_only_int4", "block_size": 16},
    "int8_rows": {"kind": "weight_only_int8", "scope": "embeddings"},
    "int4_rows": {"kind": "weight_only_int4", "scope": "embeddings", "block_size": 32},  # longer than a row
}
DENSE = 9  # of the test's encoder of two layers: four a layer, and a projection of the embeddings


@pytest.fixture(scope="module")
def full(root: Path, task: Path, encoder: Path) -> Path:
    """The folder of a fine-tuned model."""
    run_chain(root / "runs", task, encoder, full=FULL)
    return root / "runs" / "full"


@pytest.fixture(scope="module", params=LINKS)
def linked(request: pytest.FixtureRequest, root: Path, task: Path, encoder: Path, full: Path):
    """A link after `full`: its settings, its record and its folder."""
    folder = root / request.param
    shutil.copytree(full, folder / "full", dirs_exist_ok=True)
    record = run_link(folder, task, encoder, LINKS[request.param])
    return LINKS[request.param], record, folder / "full+link"


def run_link(folder, task, encoder, settings):
    """The record of a link after the run `full` that lies in the folder."""
    return run_chain(folder, task, encoder, done=("full",), full=FULL, link=settings)["full+link"]


def network_of(full: Path):
    manifest = read_manifest(full / "model" / "manifest.json")
    return read_network(full / "model", manifest.reads, "a test")


def layers_in(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "model" / "layers.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_onnx_runtime_alone_gives_the_recorded_answers(linked, task, root):
    _, record, folder = linked
    assert record.status == "ok"
    answers, rows = asked(ONNX_ANSWERS, (folder / "model").resolve(), task, root), predictions(folder)
    assert [answer["label"] for answer in answers] == [row["prediction"] for row in rows]
    # Batches of other rows: activations are rounded with other ranges where they are rounded as they come.
    scores = [float(row[f"score_{row['prediction']}"]) for row in rows]
    assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=0.02)


def test_what_was_to_be_quantized_is_and_nothing_else(linked):
    settings, record, folder = linked
    layers = layers_in(folder)
    bits = 4 if settings["kind"] == "weight_only_int4" else 8
    few = {name for name, layer in layers.items() if int(layer["bits"]) == bits}
    scope = settings.get("scope", "all")
    expected = {"all": DENSE + 1, "linear": DENSE, "published": 4, "embeddings": 1}[scope]
    assert len(few) == record.metrics["quantized_layers"] == record.metrics["expected_layers"] == expected
    assert ("head.2" in few) == (scope == "published")
    assert ("encoder.embeddings.word" in few) == (scope in ("all", "embeddings"))
    assert all(layer["bits"] == "32" for name, layer in layers.items() if name not in few)


def test_bytes_are_those_of_the_file(linked):
    _, record, folder = linked
    parts = [record.metrics[f"bytes.{part}"] for part in ("embeddings", "linear", "head", "other")]
    assert sum(parts) == record.cost.bytes_on_disk == (folder / "model" / ONNX_GRAPH).stat().st_size
    model = onnx.load(folder / "model" / ONNX_GRAPH)
    stored = sum(len(tensor.raw_data) for tensor in model.graph.initializer if tensor.name.startswith("head."))
    assert record.metrics["bytes.head"] == pytest.approx(stored, abs=300)  # biases count as other


def test_rounding_errors_are_those_of_the_textbook(linked, full):
    """Symmetric rounding by hand: per output, per layer, or per block."""
    settings, _, folder = linked
    if settings.get("scope") == "embeddings":
        pytest.skip("no dense layer is rounded")
    weight = load_file(full / "model" / "model.safetensors")[
        "electra.encoder.layer.0.intermediate.dense.weight"
    ].numpy()
    kind = settings["kind"]
    if kind.startswith("weight_only"):
        size, levels = settings.get("block_size", 32), 8 if kind.endswith("4") else 128
        blocks = weight.reshape(len(weight), -1, size)
        # The number of largest size takes the end of the range, which is one longer below zero.
        furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
        scale = furthest / -levels
        rounded = (np.clip(np.round(blocks / scale), -levels, levels - 1) * scale).reshape(weight.shape)
    else:
        axis = None if settings.get("per_channel") is False else 1
        scale = np.abs(weight).max(axis=axis, keepdims=True) / 64  # of the 8 bits a product uses 7
        rounded = np.clip(np.round(weight / scale), -64, 64) * scale
    error = np.linalg.norm(rounded - weight) / np.linalg.norm(weight)
    assert float(layers_in(folder)["encoder.layers.0.intermediate"]["rounding_error"]) == pytest.approx(error, rel=0.05)


def test_rows_of_the_word_table_in_few_bits(linked, full):
    """By hand: what the graph looks up and what it stores; nothing else is touched, and answers stay."""
    settings, record, folder = linked
    if settings.get("scope") != "embeddings":
        pytest.skip("dense layers are rounded too")
    network, bits = network_of(full), int(settings["kind"][-1])
    table = network.encoder.embeddings.word.weight
    entries, width = table.shape
    assert int(layers_in(folder)["encoder.embeddings.word"]["bytes"]) == entries * (width * bits // 8 + 4)
    rows = table.detach().numpy()
    if bits == 8:
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    else:  # the number of largest size takes the end of the range, which is one longer below zero
        scale = np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1) / -8
    low, high = (-127, 127) if bits == 8 else (-8, 7)
    rounded = np.clip(np.round(rows / np.where(scale == 0, 1, scale)), low, high) * scale  # padding is 0
    ids = torch.arange(entries).view(5, -1)
    inputs = ids, torch.ones_like(ids), torch.zeros_like(ids)
    with torch.no_grad():
        table.copy_(torch.from_numpy(rounded))
        torch.testing.assert_close(GraphEncoder(folder / "model")(*inputs), network(*inputs), atol=1e-4, rtol=1e-4)
    assert record.metrics["agreement_with_previous"] > 0.95


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_exported_graph_is_the_model_of_transformers(kind, tmp_path):
    """Of every architecture: padded or not, one text or two, lengths and batches that it was not exported with."""
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 48}
    if kind == "distilbert":
        sizes = {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 48}
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, max_position_embeddings=40, num_labels=3, **sizes)
    torch.manual_seed(3)
    theirs = AutoModelForSequenceClassification.from_config(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    network = read_network(tmp_path, Reads(max_length=40), "a test")
    onnx.save(export_onnx(network), tmp_path / ONNX_GRAPH)
    ours = GraphEncoder(tmp_path)
    for rows, length in ((1, 2), (3, 7), (5, 40)):
        ids, mask = torch.randint(5, VOCABULARY, (rows, length)), torch.ones(rows, length, dtype=torch.bool)
        mask[0, length // 2 + 1 :] = False
        types = (torch.arange(length) > length // 2).long().expand(rows, length)
        told = {} if kind == "distilbert" else {"token_type_ids": types}
        with torch.no_grad():
            expected = theirs(input_ids=ids, attention_mask=mask.long(), **told).logits
        torch.testing.assert_close(ours(ids, mask, types), expected, atol=2e-5, rtol=2e-5)


def test_a_quantizer_that_finds_nothing_fails_by_name(task, encoder, full, tmp_path, monkeypatch):
    """As one did whose kernels match layers by their exact class: 0 of 24 layers, without a word."""
    shutil.copytree(full, tmp_path / "full")
    monkeypatch.setattr(dynamic_int8, "quantize_dynamic", lambda model, file, **_: onnx.save(model, file))
    record = run_link(tmp_path, task, encoder, {"kind": "dynamic_int8", "scope": "published"})
    assert record.status == "failed"
    assert record.reason is not None
    assert record.reason.startswith("0 of 4 layers are quantized (not quantized: encoder.layers.0.intermediate, ")
    manifest = read_manifest(tmp_path / "full+link" / "model" / "manifest.json")
    assert manifest.form is None and not (tmp_path / "full+link" / "model" / ONNX_GRAPH).exists()


def test_a_quantizer_that_stops_is_a_failed_run(task, encoder, full, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise ValueError("Unexpected data type\n in tensor")

    shutil.copytree(full, tmp_path / "full")
    monkeypatch.setattr(dynamic_int8, "quantize_dynamic", stop)
    record = run_link(tmp_path, task, encoder, {"kind": "dynamic_int8"})
    assert (record.status, record.reason) == (
        "failed",
        "the quantizer stops with ValueError: Unexpected data type in tensor",
    )
    assert not (tmp_path / "full+link" / "model" / ONNX_GRAPH).exists()


def test_no_training_row_to_calibrate_on_is_skipped(task, encoder, full, tmp_path):
    """Nothing is taken from validation rows instead."""
    shutil.copytree(full, tmp_path / "full")
    shutil.copytree(task.parent, tmp_path / "task")
    (tmp_path / "task" / "train.jsonl").write_text("")
    manifest = tmp_path / "task" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["splits"]["train"]["sha256"] = hashlib.sha256(b"").hexdigest()
    manifest.write_text(json.dumps(content))
    record = run_link(tmp_path, manifest, encoder, {"kind": "static_int8"})
    assert record.status == "skipped"
    assert record.reason == "the task has no training rows to calibrate on: use dynamic_int8"


def test_a_layer_too_many_fails_by_name(full, tmp_path):
    network = network_of(full)
    onnx.save(export_onnx(network), tmp_path / ONNX_GRAPH)
    layers = stored_layers(tmp_path / ONNX_GRAPH, network)
    assert {layer.bits for layer in layers} == {32}
    rounded = [layer._replace(bits=8) if layer.name == "head.2" else layer for layer in layers]
    with pytest.raises(Exception, match=r"1 of 0 layers are quantized \(quantized and not wanted: head\.2\)"):
        onnx_link.check_quantized(rounded, [], "a test")


@pytest.mark.parametrize(("split", "same"), [("validation", True), ("train", False)])
def test_calibration_reads_training_rows_alone(split, same, task, encoder, full, tmp_path, root):
    """Other validation rows leave the same graph, other training rows another."""
    shutil.copytree(full, tmp_path / "full")
    shutil.copytree(task.parent, tmp_path / "task")
    reworded(tmp_path / "task", split, lambda text: text.replace("w1", "w7"))
    run_link(tmp_path, tmp_path / "task" / "manifest.json", encoder, LINKS["static"])
    graphs = [
        onnx.load(folder / "full+link" / "model" / ONNX_GRAPH)
        for folder in (tmp_path, static_link(root, task, encoder))
    ]
    stored, expected = (
        {t.name: numpy_helper.to_array(t).tobytes() for t in graph.graph.initializer} for graph in graphs
    )
    assert (stored == expected) == same


def static_link(root: Path, task: Path, encoder: Path) -> Path:
    """The folder of the link `static`, run if it has not been."""
    folder = root / "static"
    if not (folder / "full+link").exists():
        shutil.copytree(root / "runs" / "full", folder / "full", dirs_exist_ok=True)
        run_link(folder, task, encoder, LINKS["static"])
    return folder


def test_a_regression_keeps_its_units(root, encoder, tmp_path):
    scores = write_task(root / "scores", labels="scores")
    records = run_chain(tmp_path, scores, encoder, full=FULL, link={"kind": "dynamic_int8"})
    before, after = (
        [float(row["prediction"]) for row in predictions(tmp_path / chain)] for chain in ("full", "full+link")
    )
    assert max(before) > 3  # of 5
    assert np.corrcoef(before, after)[0, 1] > 0.98
    assert records["full+link"].metrics["score"] == pytest.approx(records["full"].metrics["score"], abs=0.05)


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_a_decoder_is_skipped_with_a_remedy(kind, task, tmp_path):
    records = run_chain(
        tmp_path,
        task,
        fetched(tmp_path, kind),
        full=FULL | {"max_length": 64, "epochs": 1},
        link={"kind": "dynamic_int8"},
    )
    assert records["full+link"].status == "skipped"
    assert "use nf4 or bnb_int8" in str(records["full+link"].reason)


def test_a_damaged_graph_is_one_line(tmp_path):
    (tmp_path / ONNX_GRAPH).write_bytes(b"not a graph")
    with pytest.raises(Exception, match=r"does not open .*model\.onnx"):
        GraphEncoder(tmp_path)
    assert DynamicInt8().scope == "all"
