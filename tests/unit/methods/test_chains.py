"""What a link leaves is opened by the next link, and by libraries that know nothing of ours, with the same answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chains import asked, fetched, predictions, run_chain
from finetune_task import write_task
from safetensors.torch import load_file

from electralab.artifacts import read_manifest
from electralab.data.tasks import read_task
from electralab.errors import UserError
from electralab.methods.opening import open_artifact

TRAINED = {"learning_rates": [1e-2], "epochs": 4, "batch_size": 16, "max_length": 32}
FULL = {"kind": "full", "layerwise_lr_decay": 1.0, **TRAINED}
LORA = {"kind": "lora", "targets": "all-linear", **TRAINED}
MERGE, HALF = {"kind": "merge"}, {"kind": "half"}

# Another process in another folder, with `transformers` and PEFT alone: texts in on standard input, answers out.
PIPELINE = """
import json, sys
from transformers import pipeline
folder, texts = json.load(sys.stdin)
classify = pipeline("text-classification", folder)
print(json.dumps(classify(texts, truncation=True)))
"""
PEFT = """
import json, sys, torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
folder, texts = json.load(sys.stdin)
model = AutoPeftModelForSequenceClassification.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
labels = json.load(open(folder + "/manifest.json"))["labels"]
with torch.no_grad():
    logits = model(**tokenizer(texts, truncation=True, padding=True, return_tensors="pt")).logits
print(json.dumps([{"label": labels[row.argmax()], "score": row.softmax(-1).max().item()} for row in logits]))
"""


def same_answers(rows: list[dict[str, str]], answers: list[dict[str, object]]) -> None:
    assert [row["prediction"] for row in rows] == [answer["label"] for answer in answers]
    scores = [float(row[f"score_{row['prediction']}"]) for row in rows]
    assert scores == pytest.approx([answer["score"] for answer in answers], abs=2e-5)


@pytest.mark.parametrize("links", [{"full": FULL, "half": HALF}, {"lora": LORA, "merge": MERGE, "half": HALF}])
def test_every_link_is_opened_in_another_process_and_folder(links, root, task, encoder, tmp_path):
    records = run_chain(tmp_path, task, encoder, **links)
    assert {record.status for record in records.values()} == {"ok"}
    for chain, record in records.items():
        folder = (tmp_path / chain / "model").resolve()
        rows = predictions(tmp_path / chain)
        assert {row["label"] for row in rows} == {"no", "yes"}
        same_answers(rows, asked(PEFT if chain == "lora" else PIPELINE, folder, task, root))
        assert record.cost.bytes_on_disk == sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    *_, before, last = records.values()
    assert last.cost.bytes_on_disk == pytest.approx(before.cost.bytes_on_disk / 2, rel=0.1)
    assert last.metrics["agreement_with_previous"] >= 0.99
    assert "full" not in records or records["full"].metrics["accuracy"] > 0.7


def test_merging_changes_no_answer(task, encoder, tmp_path):
    records = run_chain(tmp_path, task, encoder, lora=LORA, merge=MERGE)
    assert records["lora+merge"].metrics["merge_error"] < 1e-5
    assert records["lora+merge"].metrics["score"] == records["lora"].metrics["score"]
    assert records["lora+merge"].metrics["agreement_with_previous"] == 1.0
    assert not list((tmp_path / "lora+merge" / "model").glob("adapter*"))


@pytest.mark.parametrize("storage", ["fp16", "bf16"])
def test_half_rounds_every_weight_once(storage, task, encoder, tmp_path):
    run_chain(tmp_path, task, encoder, full=FULL, half={**HALF, "storage": storage})
    whole, half = (load_file(tmp_path / chain / "model" / "model.safetensors") for chain in ("full", "full+half"))
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[storage]
    assert {tensor.dtype for tensor in half.values()} == {dtype}
    assert all(torch.equal(half[name], tensor.to(dtype)) for name, tensor in whole.items())


def test_a_regression_answers_in_the_units_of_its_task(root, encoder, tmp_path):
    scores = write_task(root / "scores", labels="scores")
    records = run_chain(tmp_path, scores, encoder, lora=LORA, merge=MERGE, half=HALF)
    for chain in ("full", "lora+merge", "lora+merge+half"):
        if chain == "full":
            records |= run_chain(tmp_path, scores, encoder, full=FULL)
        answers = asked(PIPELINE, (tmp_path / chain / "model").resolve(), scores, root)
        expected = [float(row["prediction"]) for row in predictions(tmp_path / chain)]
        assert [answer["score"] for answer in answers] == pytest.approx(expected, abs=1e-3)
    assert records["lora+merge"].metrics["score"] == pytest.approx(records["lora"].metrics["score"], abs=1e-4)


@pytest.mark.parametrize("settings", [{"pooling": "mean"}, {"head": "huggingface"}, {"pooling": "cls"}])
def test_an_encoder_reopens_with_the_answers_that_it_gave(settings, task, encoder, tmp_path):
    run_chain(tmp_path, task, encoder, full={**FULL, **settings}, half=HALF)
    _, opened = open_artifact(tmp_path / "full" / "model" / "manifest.json", "cpu")
    answers = opened.answer(read_task(task).validation, "cpu", "again")
    expected = [[float(row["score_no"]), float(row["score_yes"])] for row in predictions(tmp_path / "full")]
    np.testing.assert_allclose(np.exp(answers), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["opt", "llama"])
@pytest.mark.parametrize("tuned", [FULL | {"max_length": 64}, LORA | {"max_length": 64}])
def test_a_tuned_decoder_is_asked_in_a_prompt(kind, tuned, root, task, tmp_path):
    """`lora+in_context`: what the study of OPT does with `--evaluation_mode icl` and a checkpoint."""
    model = fetched(tmp_path, kind)
    name = str(tuned["kind"])
    asked_with = {"kind": "in_context", "shots": 1, "max_length": 96, "max_validation_rows": 40}
    records = run_chain(tmp_path, task, model, **{name: tuned, "asked": asked_with})
    assert {record.status for record in records.values()} == {"ok"}
    assert records[f"{name}+asked"].metrics["validation_rows"] == 40
    run_chain(tmp_path / "plain", task, model, asked=asked_with)
    rows, untuned = predictions(tmp_path / f"{name}+asked"), predictions(tmp_path / "plain" / "asked")
    assert [row["score_yes"] for row in rows] != [row["score_yes"] for row in untuned]


def test_a_run_that_diverges_is_a_record_and_so_is_what_follows(task, encoder, tmp_path):
    records = run_chain(tmp_path, task, encoder, full={**FULL, "learning_rates": [1e30]}, half=HALF)
    assert records["full"].status == "failed"
    assert "the loss is nan at step" in records["full"].reason
    assert (records["full+half"].status, records["full+half"].metrics) == ("skipped", {})
    assert "full left nothing to go on from" in records["full+half"].reason
    assert predictions(tmp_path / "full") == []
    assert read_manifest(tmp_path / "full" / "model" / "manifest.json").form is None


def test_a_method_that_does_not_suit_its_model_is_skipped(task, encoder, tmp_path):
    record = run_chain(tmp_path, task, encoder, lora={**LORA, "rank": 4000})["lora"]
    assert record.status == "skipped"
    assert "rank 4000 is above the width" in record.reason


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), r"manifest.json does not exist"),
        (lambda folder: (folder / "config.json").write_text("{}"), r"config.json is not the file that .* names"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model.safetensors is missing"),
        (lambda folder: (folder / "manifest.json").write_text('{"schema_version": 0}'), r"artifact of schema 0"),
        (lambda folder: (folder / "manifest.json").write_text('{"schema_version": 1}'), r"not the manifest of an"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest.json is damaged"),
    ],
)
def test_an_artifact_that_is_not_whole_is_refused_in_one_line(damage, message, task, encoder, tmp_path):
    run_chain(tmp_path, task, encoder, full={**FULL, "epochs": 1})
    damage(tmp_path / "full" / "model")
    with pytest.raises(UserError, match=message) as error:
        open_artifact(tmp_path / "full" / "model" / "manifest.json", "cpu")
    assert "\n" not in str(error.value)
