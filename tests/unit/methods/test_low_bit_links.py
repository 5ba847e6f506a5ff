"""nf4 and int8 of bitsandbytes: what is stored, and what plain `transformers` answers with it."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import bitsandbytes
import numpy as np
import pytest
import torch
from chains import asked, predictions, run_chain
from finetune_task import reworded, write_task
from method_models import DECODERS, ENCODERS
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModel
from word_models import fetched_words

from electralab.artifacts import read_manifest
from electralab.config import BnbInt8, DynamicInt8, FullFinetuning, Half, Lora, Merge, Nf4, TrimVocabulary
from electralab.config.methods.chains import check_chain
from electralab.data.tasks import read_task
from electralab.methods.opening import open_artifact
from electralab.records import RunRecord
from electralab.speed.bf16 import multiplies_bf16

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-3]},
    **{"epochs": 2, "batch_size": 16, "max_length": 96},
}
ENCODER_FULL = FULL | {"max_length": 32}
FEW = {"nf4": {"kind": "nf4"}, "int8": {"kind": "bnb_int8"}}
# Two layers of six: query, key, value, output and two of the feed-forward network, of which a Llama has three.
DENSE = dict.fromkeys((*ENCODERS, "opt"), 12) | {"llama": 14}

# What shares a batch changes int8 answers: an input above 6 takes its column out of 8 bits, for all rows.
SHARED_BATCH = 0.05

# `transformers` alone, in another process. Row by row, so that no row's outliers are another's.
CLASSIFY = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
runs, texts = json.load(sys.stdin)
found = {}
for chain in ("full+nf4", "full+int8"):
    folder = f"{runs}/{chain}/model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    rows = [tokenizer(text, truncation=True, return_tensors="pt") for text in texts]
    with torch.no_grad():
        logits = [model.eval()(**row).logits[0] for row in rows]
    labels = [model.config.id2label[int(row.argmax())] for row in logits]
    found[chain] = [{"label": label, "score": row.softmax(-1).max().item()} for label, row in zip(labels, logits)]
assert "electralab" not in sys.modules
print(json.dumps([found]))
"""
# A decoder answers with the more likely of the words that its manifest names.
COMPLETE = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
runs, texts = json.load(sys.stdin)
found = {}
for chain in ("full+nf4", "full+int8"):
    folder = f"{runs}/{chain}/model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    manifest = json.load(open(folder + "/manifest.json"))
    prompt, labels = manifest["reads"]["prompt"], manifest["labels"]
    words = [tokenizer(prompt["gap"] + word, add_special_tokens=False)["input_ids"] for word in prompt["words"]]
    assert all(len(word) == 1 for word in words)
    opening = [tokenizer.bos_token_id] if model.config.model_type == "opt" else []
    prompts = [prompt["text"].replace("{text}", text) for text in texts]
    rows = [torch.tensor([opening + tokenizer(row, add_special_tokens=False)["input_ids"]]) for row in prompts]
    with torch.no_grad():
        logits = [model.eval()(row).logits[0, -1, [word[0] for word in words]] for row in rows]
    found[chain] = [{"label": labels[row.argmax()], "score": row.softmax(-1).max().item()} for row in logits]
assert "electralab" not in sys.modules
print(json.dumps([found]))
"""


class Stored(NamedTuple):
    kind: str
    folder: Path  # of the runs
    records: dict[str, RunRecord]

    def model(self, chain: str) -> Path:
        return self.folder / chain / "model"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("low_bit")


@pytest.fixture(scope="module")
def task(root: Path) -> Path:
    """Texts of six words, so that no prompt is cut."""
    write_task(root / "words")
    return reworded(root / "words", "validation", lambda text: " ".join(text.split()[:6]))


@pytest.fixture(scope="module", params=(*ENCODERS, *DECODERS))
def stored(request: pytest.FixtureRequest, root: Path, task: Path) -> Stored:
    """One fine-tuned model of every architecture, in 4 bits and in 8."""
    kind, folder = request.param, root / f"{request.param}_runs"
    model, full = fetched_words(root, kind), FULL if kind in DECODERS else ENCODER_FULL
    records = run_chain(folder, task, model, full=full)
    for name, settings in FEW.items():
        records |= run_chain(folder, task, model, done=("full",), full=full, **{name: settings})
    return Stored(kind, folder, records)


def electra_in(root: Path, task: Path, folder: Path, few: dict[str, Any], **links: dict[str, Any]) -> RunRecord:
    """The record of a few-bit link after `full` and other links, of the model that the fixture fine-tunes."""
    model = root / "electra_model" / "manifest.json"
    if not model.exists():
        fetched_words(root, "electra")
    records = run_chain(folder, task, model, **({"full": ENCODER_FULL} | links | {"few": few}))
    return list(records.values())[-1]


def layers_in(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "layers.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_plain_transformers_gives_the_recorded_answers(stored: Stored, task: Path, root: Path) -> None:
    code = COMPLETE if stored.kind in DECODERS else CLASSIFY
    (found,) = asked(code, stored.folder.resolve(), task, root)
    # Where a CPU has instructions for it, bitsandbytes multiplies 4-bit weights in bf16, which `opening` forbids.
    exact = 0.02 if multiplies_bf16("cpu") else 1e-4
    for chain, answers in found.items():
        assert stored.records[chain].status == "ok", stored.records[chain].reason
        assert stored.records[chain].metrics["agreement_with_previous"] >= 0.6
        recorded = [[float(row["score_no"]), float(row["score_yes"])] for row in predictions(stored.folder / chain)]
        same(answers, recorded, exact if chain == "full+nf4" or stored.kind in ENCODERS else SHARED_BATCH)
        manifest, opened = open_artifact(stored.model(chain) / "manifest.json", "cpu")
        assert (manifest.form, manifest.method) == ("low_bit", chain)
        rows = read_task(task).validation[:60]
        alone = [np.exp(opened.answer([row], "cpu", "alone")[0]).tolist() for row in rows]
        same(answers[:60], alone, exact)


def same(answers: list[dict[str, Any]], scores: list[list[float]], tolerance: float) -> None:
    """Labels where two classes are not nearly equal, and the larger score."""
    assert [answer["score"] for answer in answers] == pytest.approx(list(map(max, scores)), abs=tolerance)
    clear = [row for row, (no, yes) in enumerate(scores) if abs(no - yes) > 2 * tolerance]
    assert len(clear) > len(scores) / 2
    assert [answers[row]["label"] for row in clear] == [["no", "yes"][int(np.argmax(scores[row]))] for row in clear]


@pytest.mark.parametrize("chain", ["full+nf4", "full+int8"])
def test_every_dense_layer_but_the_head_is_in_few_bits(stored: Stored, chain: str) -> None:
    body = AutoModel.from_pretrained(stored.model("full"))
    linear = [name for name, layer in body.named_modules() if isinstance(layer, torch.nn.Linear)]
    metrics, layers = stored.records[chain].metrics, layers_in(stored.model(chain))
    expected = len([name for name in linear if not name.startswith("pooler")])
    assert expected == metrics["quantized_layers"] == metrics["expected_layers"] == DENSE[stored.kind]
    bits = "4" if chain.endswith("nf4") else "8"
    few = {name for name, layer in layers.items() if layer["bits"] == bits}
    assert len(few) == expected
    assert {layers[name]["part"] for name in few} == {"linear"}
    assert {layer["bits"] for name, layer in layers.items() if name not in few} == {"32"}
    with safe_open(stored.model(chain) / "model.safetensors", "pt") as file:
        found = {name: file.get_slice(f"{name}.weight").get_dtype() for name in layers}
    assert {name for name, dtype in found.items() if dtype in ("U8", "I8")} == few


def test_rounding_errors_are_those_of_bitsandbytes_and_of_the_textbook(stored: Stored) -> None:
    weights = load_file(stored.model("full") / "model.safetensors")
    for chain in ("full+nf4", "full+int8"):
        layers = layers_in(stored.model(chain))
        few = {name: row for name, row in layers.items() if int(row["bits"]) < 16}
        for name, row in few.items():
            weight = weights[f"{name}.weight"]
            if chain == "full+nf4":
                packed, state = bitsandbytes.functional.quantize_4bit(
                    weight, quant_type="nf4", compress_statistics=True
                )
                rounded = bitsandbytes.functional.dequantize_4bit(packed, state)
            else:
                scale = weight.abs().amax(1, keepdim=True) / 127
                rounded = (weight / scale).round() * scale
            error = float((rounded - weight).norm() / weight.norm())
            # bitsandbytes rounds to 8 bits what it first rounded to 16.
            assert float(row["rounding_error"]) == pytest.approx(error, rel=1e-4 if chain == "full+nf4" else 0.02)
        assert all(float(row["rounding_error"]) == 0 for name, row in layers.items() if name not in few)


@pytest.mark.parametrize("few", FEW.values(), ids=FEW)
def test_weights_of_16_bits_are_computed_in_32_around_few(
    few: dict[str, Any], root: Path, task: Path, tmp_path: Path
) -> None:
    record = electra_in(root, task, tmp_path, few, half={"kind": "half", "storage": "bf16"})
    assert record.status == "ok", record.reason
    folder = tmp_path / "full+half+few" / "model"
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"
    assert record.metrics["agreement_with_previous"] >= 0.9
    assert {row["bits"] for row in layers_in(folder).values()} == {"32", "4" if few["kind"] == "nf4" else "8"}


def test_scales_may_stay_in_full(root: Path, task: Path, tmp_path: Path) -> None:
    errors, sizes = [], []
    for double in (True, False):
        folder = tmp_path / str(double)
        electra_in(root, task, folder, {"kind": "nf4", "double_quantization": double})
        layer = layers_in(folder / "full+few" / "model")["electra.encoder.layer.0.intermediate.dense"]
        errors.append(float(layer["rounding_error"]))
        sizes.append(int(layer["bytes"]))
    assert errors[0] != errors[1] == pytest.approx(errors[0], rel=0.05)
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_head_of_any_pooling_stays_as_it_was(pooling: str, root: Path, task: Path, tmp_path: Path) -> None:
    record = electra_in(root, task, tmp_path, FEW["nf4"], full=ENCODER_FULL | {"pooling": pooling})
    assert record.status == "ok", record.reason
    assert record.metrics["quantized_layers"] == DENSE["electra"]
    before, after = (load_file(tmp_path / chain / "model" / "model.safetensors") for chain in ("full", "full+few"))
    head = [name for name in before if name.startswith("classifier.")]
    assert head and all(torch.equal(before[name], after[name]) for name in head)


def test_a_regression_keeps_its_units(root: Path, tmp_path: Path) -> None:
    scores = write_task(tmp_path / "scores", labels="scores")
    record = electra_in(root, scores, tmp_path / "runs", FEW["nf4"], full=ENCODER_FULL | {"epochs": 4})
    before, after = (
        [float(row["prediction"]) for row in predictions(tmp_path / "runs" / chain)] for chain in ("full", "full+few")
    )
    assert max(before) > 3  # of 5
    assert after == pytest.approx(before, abs=0.5)
    assert record.metrics["score"] > 0.8


def test_nothing_follows_few_bits() -> None:
    first = FullFinetuning(learning_rates=[1e-3])
    for few in (Nf4(), BnbInt8()):
        assert check_chain([first, few], ["full", "few"]) is None
        for more in (Nf4(), BnbInt8(), Half(), TrimVocabulary(), DynamicInt8(), Merge(), Lora()):
            told = check_chain([first, few, more], ["full", "few", "more"])
            assert "few leaves a model whose weights are in few bits" in str(told)


@pytest.mark.parametrize(("few", "storage"), [("nf4", "nf4"), ("int8", "int8")])
def test_without_bitsandbytes_the_run_is_skipped(
    few: str, storage: str, root: Path, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def lacking(name: str, package: str | None = None) -> Any:
        return None if name == "bitsandbytes" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", lacking)
    record = electra_in(root, task, tmp_path, FEW[few])
    assert record.status == "skipped"
    assert record.reason == f"storage {storage} needs bitsandbytes: pip install bitsandbytes"
    manifest = read_manifest(tmp_path / "full+few" / "model" / "manifest.json")
    assert manifest.form is None
    assert [path.name for path in (tmp_path / "full+few" / "model").iterdir()] == ["manifest.json"]
