"""Every link that makes a model smaller after every architecture: it works, or it says why not."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from chains import run_chain
from finetune_task import write_task
from method_models import DECODERS, ENCODERS
from word_models import fetched_words

from electralab.artifacts import read_manifest
from electralab.config.methods.chains import compressing_kinds
from electralab.methods.onnx.export import export_onnx
from electralab.methods.onnx.network import PlainEncoder
from electralab.methods.quantization import onnx_link
from electralab.records import RunRecord

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-3], "max_train_rows": 32},
    **{"epochs": 1, "batch_size": 16, "max_length": 64},
}
MORE = {
    "static_int8": {"calibration_rows": 16},
    "remove": {"neurons": 0.25},
    "weight_only_int4": {"block_size": 16},
    "recover": {
        name: FULL[name] for name in ("learning_rates", "max_train_rows", "epochs", "batch_size", "max_length")
    },
    "qat": {name: FULL[name] for name in ("learning_rates", "max_train_rows", "epochs", "batch_size", "max_length")},
}
OK = "ok"
GRAPH = "use nf4 or bnb_int8"  # what a decoder is told that no graph is made of
ENCODERS_ONLY = "qat is for encoders"
OPENVINO = "OpenVINO is not installed"  # tests/unit/methods/test_openvino.py has it installed
RECOVERS = "recover is for encoders"
REMOVES = "is a decoder"
WORDS = "whose pieces are also its answers"
COLUMNS = (*ENCODERS, *DECODERS)
CELLS = {
    "half": (OK, OK, OK, OK, OK),
    "trim_vocabulary": (OK, OK, OK, WORDS, WORDS),
    "dynamic_int8": (OK, OK, OK, GRAPH, GRAPH),
    "static_int8": (OK, OK, OK, GRAPH, GRAPH),
    "weight_only_int8": (OK, OK, OK, GRAPH, GRAPH),
    "weight_only_int4": (OK, OK, OK, GRAPH, GRAPH),
    "qat": (OK, OK, OK, ENCODERS_ONLY, ENCODERS_ONLY),
    "nf4": (OK, OK, OK, OK, OK),
    "bnb_int8": (OK, OK, OK, OK, OK),
    "openvino_int8": (OPENVINO,) * 5,
    "prune": (OK, OK, OK, OK, OK),
    "recover": (OK, OK, OK, RECOVERS, RECOVERS),
    "remove": (OK, OK, OK, REMOVES, REMOVES),
    "remove_heads": (OK, OK, OK, REMOVES, REMOVES),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    write_task(folder / "words")
    return folder


@pytest.fixture(scope="module")
def exported_once() -> Iterator[None]:
    """Links of one fine-tuned model export it once: that takes most of their seconds."""
    graphs: dict[str, bytes] = {}

    def export(network: PlainEncoder) -> onnx.ModelProto:
        weights = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values()))
        key = weights.hexdigest()
        if key not in graphs:
            graphs[key] = export_onnx(network).SerializeToString()
        return onnx.load_from_string(graphs[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_link, "export_onnx", export)
        yield


def run_after_full(root: Path, model: str, link: str) -> RunRecord:
    """The record of a link after `full`, which a model has once for all links."""
    manifest, folder, task = root / f"{model}_model" / "manifest.json", root / model / link, root / "words"
    full, chain = root / model / "full_alone", {"full": FULL, "link": {"kind": link} | MORE.get(link, {})}
    if not full.exists():
        fetched_words(root, model)
        run_chain(full, task / "manifest.json", manifest, full=FULL)
    shutil.copytree(full / "full", folder / "full")
    return run_chain(folder, task / "manifest.json", manifest, done=("full",), **chain)["full+link"]


def test_every_kind_is_in_the_table() -> None:
    assert set(CELLS) == compressing_kinds() - {"merge"}


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("model", COLUMNS)
@pytest.mark.parametrize("link", CELLS)
def test_a_link_after_a_fine_tuned_model(link: str, model: str, root: Path) -> None:
    record, expected = run_after_full(root, model, link), CELLS[link][COLUMNS.index(model)]
    left = read_manifest(root / model / link / "full+link" / "model" / "manifest.json")
    if expected == OK:
        assert record.status == OK, record.reason
        assert record.metrics["agreement_with_previous"] >= 0.5
        assert left.form is not None and (record.cost.bytes_on_disk or 0) > 0
    else:
        assert record.status == "skipped"
        assert expected in str(record.reason) and "\n" not in str(record.reason)
        assert left.form is None
