"""Bytes by part of what runs left, against a recount with safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chains import run_chain
from finetune_task import write_task
from safetensors.torch import load_file
from word_models import PIECES, fetched_words

from electralab.errors import UserError
from electralab.weight_bytes import bytes_of, part_of, stored_tensors

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-3], "max_train_rows": 32},
    **{"epochs": 1, "batch_size": 16, "max_length": 64},
}
LORA = FULL | {"kind": "lora", "rank": 4, "alpha": 8.0}
del LORA["layerwise_lr_decay"]
CHAINS = {
    "encoder": ("bert", {"full": FULL}),
    "half": ("distilbert", {"full": FULL, "half": {"kind": "half"}}),
    "decoder": ("llama", {"full": FULL}),
    "tied": ("opt", {"full": FULL}),
    "adapter": ("electra", {"lora": LORA}),
    "nf4": ("electra", {"full": FULL, "few": {"kind": "nf4"}}),
    "int8": ("opt", {"full": FULL, "few": {"kind": "bnb_int8"}}),
}
# What stands in a tensor's name, in the order in which it is looked for.
SIGNS = {
    "head": ("classifier", "pooler.", "lm_head"),
    "embeddings": (
        ".word_embeddings.",
        ".position_embeddings.",
        ".token_type_embeddings.",
        "embed_tokens",
        "embed_pos",
    ),
    "linear": ("",),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytes")


def recounted(folder: Path) -> dict[str, int]:
    """Bytes of matrices by their names; all else is `other`."""
    sizes = dict.fromkeys(("embeddings", "linear", "head", "other"), 0)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        for name, tensor in tensors.items():
            scales = any(sign in name for sign in ("absmax", "quant_", "SCB", "weight_format"))
            part = "other"
            if tensor.ndim > 1 or scales:
                part = next(part for part, signs in SIGNS.items() if any(sign in name for sign in signs))
            sizes[part] += tensor.numel() * tensor.element_size()
        sizes["other"] += file.stat().st_size - sum(t.numel() * t.element_size() for t in tensors.values())
    return sizes


@pytest.mark.parametrize("case", CHAINS)
def test_parts_are_those_of_the_file_and_add_up(case: str, root: Path, tmp_path: Path) -> None:
    task = root / "words" / "manifest.json"
    if not task.exists():
        write_task(root / "words")
    kind, links = CHAINS[case]
    record = list(run_chain(tmp_path, task, fetched_words(tmp_path, kind), **links).values())[-1]
    assert record.status == "ok", record.reason
    folder = tmp_path / "+".join(links) / "model"
    parts = {part: record.metrics[f"bytes.{part}"] for part in ("embeddings", "linear", "head", "other")}
    assert parts == recounted(folder)
    files = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert sum(parts.values()) == record.cost.bytes_on_disk == files
    if case == "adapter":
        assert parts["embeddings"] == 0 < parts["linear"]
        assert "bytes.tokenizer" not in record.metrics or (folder / "tokenizer.json").exists()
    else:
        assert record.metrics["bytes.tokenizer"] == (folder / "tokenizer.json").stat().st_size
    if case == "encoder":
        assert parts["embeddings"] == 4 * 64 * (len(PIECES) + 64 + 2)


def test_names_and_dimensions_say_the_part() -> None:
    expected = {
        ("electra.embeddings.word_embeddings.weight", 2): "embeddings",
        ("electra.embeddings.LayerNorm.weight", 1): "other",
        ("electra.embeddings_project.weight", 2): "linear",
        ("bert.encoder.layer.0.attention.self.query.weight", 2): "linear",
        ("bert.encoder.layer.0.attention.self.query.weight.absmax", 1): "linear",
        ("bert.encoder.layer.0.attention.self.query.bias", 1): "other",
        ("bert.pooler.dense.weight", 2): "head",
        ("pre_classifier.weight", 2): "head",
        ("classifier.out_proj.weight", 2): "head",
        ("lm_head.weight", 2): "head",
        ("model.decoder.embed_positions.weight", 2): "embeddings",
        ("prompt_embeddings", 2): "embeddings",
    }
    assert {key: part_of(*key) for key in expected} == expected


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 40, b"\x02\x00\x00\x00\x00\x00\x00\x00[]", b"\x04" + b"\x00" * 7 + b"null"]
)
def test_a_damaged_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is no safetensors file: delete its folder") as error:
        stored_tensors(tmp_path / "model.safetensors")
    assert "\n" not in str(error.value)


def test_without_files_of_tensors_nothing_is_counted(tmp_path: Path) -> None:
    assert bytes_of(tmp_path, []) == {}
    graph = tmp_path / "model.onnx"
    graph.write_bytes(b"graph")
    assert bytes_of(tmp_path, [graph]) == {}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {}}))
    assert bytes_of(tmp_path, [graph]) == {"bytes.tokenizer": 13.0}
