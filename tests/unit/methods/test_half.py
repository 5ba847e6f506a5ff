"""Weights in 16 bits that are also multiplied in 16 bits, where the processor can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from chains import asked, predictions, run_chain
from finetune_task import write_task
from word_models import fetched_words

from electralab.artifacts import read_manifest
from electralab.methods import half
from electralab.methods.opening import open_artifact
from electralab.speed.bf16 import multiplies_bf16

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-3]},
    **{"epochs": 2, "batch_size": 16, "max_length": 32},
}
HALF = {"kind": "half", "compute": "bf16"}

# `transformers` alone, in another process.
OPENED = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, texts = json.load(sys.stdin)
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
with torch.no_grad():
    logits = model.eval()(**tokenizer(texts, truncation=True, padding=True, return_tensors="pt")).logits
assert logits.dtype == torch.bfloat16
print(json.dumps([{"label": model.config.id2label[int(row.argmax())]} for row in logits]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("half")


@pytest.fixture(scope="module")
def task(root: Path) -> Path:
    return write_task(root / "words")


def test_a_cpu_without_the_instructions_skips_it(root, task, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    records = run_chain(tmp_path, task, fetched_words(tmp_path, "electra"), full=FULL, half=HALF)
    record = records["full+half"]
    assert (records["full"].status, record.status) == ("ok", "skipped")
    assert record.reason == (
        "this machine's cpu has no instructions for bf16 and would emulate it, slower than fp32: set compute to fp32, "
        "or run it elsewhere"
    )
    assert read_manifest(tmp_path / "full+half" / "model" / "manifest.json").form is None


@pytest.mark.parametrize(("kind", "storage"), [("electra", "bf16"), ("bert", "fp16"), ("distilbert", "bf16")])
def test_where_it_can_it_multiplies_in_bf16(kind, storage, root, task, tmp_path, monkeypatch):
    monkeypatch.setattr(half, "multiplies_bf16", lambda _: True)
    links = {"full": FULL, "half": HALF | {"storage": storage}}
    record = run_chain(tmp_path, task, fetched_words(tmp_path, kind), **links)["full+half"]
    assert record.status == "ok", record.reason
    assert record.metrics["agreement_with_previous"] >= 0.9
    folder = tmp_path / "full+half" / "model"
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    _, opened = open_artifact(folder / "manifest.json", "cpu")
    multiplied = []
    for layer in opened.model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(lambda _, inputs, output: multiplied.append((inputs[0].dtype, output.dtype)))
    texts = [json.loads(line)["text"] for line in task.with_name("validation.jsonl").open()]
    encoded = opened.encode([_row(text) for text in texts[:4]], False).batch(range(4))
    opened.model(encoded.input_ids, encoded.attention_mask, encoded.token_type_ids)
    assert set(multiplied) == {(torch.bfloat16, torch.bfloat16)} and len(multiplied) > 12
    answers, rows = asked(OPENED, folder.resolve(), task, root), predictions(tmp_path / "full+half")
    same = [answer["label"] == row["prediction"] for answer, row in zip(answers, rows, strict=True)]
    assert sum(same) / len(same) >= 0.97  # other padding is rounded otherwise


def _row(text):
    from electralab.data.example import Example

    return Example("row", text, None, 0)


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_a_decoder_too(kind, task, tmp_path, monkeypatch):
    monkeypatch.setattr(half, "multiplies_bf16", lambda _: True)
    full = FULL | {"max_length": 64, "epochs": 1}
    record = run_chain(tmp_path, task, fetched_words(tmp_path, kind), full=full, half=HALF)["full+half"]
    assert record.status == "ok", record.reason
    assert record.metrics["agreement_with_previous"] >= 0.9


@pytest.mark.parametrize(
    ("more", "chain"),
    [({"kind": "trim_vocabulary"}, "trim"), ({"kind": "dynamic_int8"}, "int8"), ({"kind": "nf4"}, "nf4")],
)
def test_what_follows_goes_on_from_16_bits(more, chain, task, tmp_path, monkeypatch):
    monkeypatch.setattr(half, "multiplies_bf16", lambda _: True)
    links = {"full": FULL, "half": HALF, chain: more}
    record = run_chain(tmp_path, task, fetched_words(tmp_path, "electra"), **links)[f"full+half+{chain}"]
    assert record.status == "ok", record.reason
    assert record.metrics["agreement_with_previous"] >= 0.9


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_any_of_the_instructions_will_do(instruction, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert not multiplies_bf16("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, instruction: True})
    assert multiplies_bf16("cpu")
