"""The OpenVINO extra, where it is installed: what its graphs store and answer."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from chains import predictions, run_chain
from safetensors.torch import load_file

from electralab.cli import main
from electralab.deploy.package import open_deployed
from electralab.deploy.texts import Text
from electralab.errors import Unsuitable

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-2]},
    **{"epochs": 4, "batch_size": 16, "max_length": 32},
}
DENSE = 9
installed = importlib.util.find_spec("openvino") is not None and importlib.util.find_spec("nncf") is not None
pytestmark = pytest.mark.skipif(not installed, reason="the extra `openvino` is not installed")


@pytest.fixture(scope="module")
def records(root: Path, task: Path, encoder: Path):
    """Records of a fine-tuned encoder and of its link, in `root / "runs"`."""
    return run_chain(root / "runs", task, encoder, full=FULL, ov={"kind": "openvino_int8"})


def answers(folder: Path, task: Path) -> np.ndarray:
    """What a graph says of the validation rows, [N, classes]."""
    texts = [json.loads(line) for line in task.with_name("validation.jsonl").read_text().splitlines()]
    deployed = open_deployed(folder / "manifest.json", 1)
    return np.exp(deployed.answer([Text(row["id"], row["text"], row["pair"]) for row in texts]))


def test_the_answers_are_those_of_the_record(records, root, task):
    folder = root / "runs" / "full+ov"
    rows = predictions(folder)
    wanted = [[float(row["score_no"]), float(row["score_yes"])] for row in rows]
    np.testing.assert_allclose(answers(folder / "model", task), wanted, atol=1e-4)
    assert records["full+ov"].metrics["agreement_with_previous"] > 0.95
    assert records["full+ov"].metrics["calibration_rows"] == 64


def test_layers_and_bytes_are_those_of_the_files(records, root):
    folder, metrics = root / "runs" / "full+ov" / "model", records["full+ov"].metrics
    assert metrics["quantized_layers"] == metrics["expected_layers"] == DENSE + 1
    parts = [metrics[f"bytes.{part}"] for part in ("embeddings", "linear", "head", "other")]
    files = sum((folder / name).stat().st_size for name in ("model.xml", "model.bin"))
    assert sum(parts) == files == records["full+ov"].cost.bytes_on_disk
    with (folder / "layers.csv").open(newline="") as file:
        layers = {row["name"]: row for row in csv.DictReader(file)}
    assert layers["head.2"]["bits"] == "32" and float(layers["head.2"]["rounding_error"]) == 0.0
    # An embedding is not smoothed: rows by themselves, symmetric, of 8 bits or of the 7 that sums are safe with.
    weights = load_file(root / "runs" / "full" / "model" / "model.safetensors")
    table = weights["electra.embeddings.word_embeddings.weight"].numpy()
    errors = []
    for levels in (63, 127):
        scale = np.abs(table).max(axis=1, keepdims=True) / levels
        rounded = np.round(table / np.where(scale == 0, 1, scale)) * scale
        errors.append(float(np.linalg.norm(rounded - table) / np.linalg.norm(table)))
    found = float(layers["encoder.embeddings.word"]["rounding_error"])
    assert min(abs(found / error - 1) for error in errors) < 0.1
    # A layer whose inputs are smoothed: near its weights only if the smoothing is undone.
    assert float(layers["encoder.layers.0.intermediate"]["rounding_error"]) < 0.03


@pytest.mark.parametrize("scope", ["linear", "published"])
def test_scopes(scope, encoder, task, tmp_path):
    link = {"kind": "openvino_int8", "scope": scope, "calibration_rows": 20}
    record = run_chain(tmp_path, task, encoder, full=FULL, ov=link)["full+ov"]
    assert record.status == "ok"
    assert record.metrics["quantized_layers"] == {"linear": DENSE, "published": 4}[scope]


@pytest.mark.parametrize("chain", ["full", "full+ov"])
def test_an_exported_graph_answers_as_the_run(chain, records, root, task, tmp_path):
    source = root / "runs" / chain
    assert main(["export", str(source), "--to", "openvino", "--out", str(tmp_path / "out")]) == 0
    wanted = [[float(row["score_no"]), float(row["score_yes"])] for row in predictions(source)]
    np.testing.assert_allclose(answers(tmp_path / "out", task), wanted, atol=1e-4)


def test_a_damaged_graph_is_one_line(tmp_path):
    from electralab.deploy.graphs import OpenvinoGraph

    (tmp_path / "model.xml").write_text("<no graph>")
    with pytest.raises(Exception, match=r"OpenVINO .* does not open .*model\.xml") as told:
        OpenvinoGraph(tmp_path / "model.xml", 1)
    assert not isinstance(told.value, Unsuitable)
