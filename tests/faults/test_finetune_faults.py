"""Fine-tuning that cannot go on: one line, no half files, earlier results untouched."""

import errno
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from electralab.artifacts import read_manifest
from electralab.config import FullFinetuning, Shape, TfidfBaseline
from electralab.errors import UserError
from electralab.methods import training
from electralab.methods.run import Inputs, run_job
from electralab.names import NO_MODEL
from electralab.records import read_record
from electralab.specs import RandomInit, RunSpec

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"w{number}" for number in range(20)]
SHAPE = Shape(
    layers=1, hidden_size=16, embedding_size=16, attention_heads=2, intermediate_size=16, max_positions=16, head_size=8
)


def write_task(folder, text=lambda generator: " ".join(generator.choices(WORDS, k=5)), labels=(0, 1), more=()):
    folder.mkdir(parents=True)
    generator = random.Random(0)
    splits = {}
    for split, rows in (("train", 200), ("validation", 60), *((split, 10) for split in more)):
        drawn = [generator.choice(labels) for _ in range(rows)]
        lines = [
            json.dumps({"id": f"{split}-{number}", "text": text(generator), "pair": None, "label": label}) + "\n"
            for number, label in enumerate(drawn)
        ]
        (folder / f"{split}.jsonl").write_text("".join(lines))
        checksum = hashlib.sha256("".join(lines).encode()).hexdigest()
        splits[split] = {"rows": rows, "official_rows": None, "sha256": checksum}
    manifest = {"name": "toy", "labels": ["no", "yes"], "metrics": ["accuracy", "f1"], "score_range": None}
    manifest |= {"unordered": False, "glue": None, "synthetic": True, "sources": [], "splits": splits, "notes": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    pieces = {piece: number for number, piece in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL)
    (folder / "tokenizer_config.json").write_text(json.dumps({f"{role}_token": token for role, token in roles}))
    return folder / "tokenizer.json"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task") / "toy")


def make_spec(random_init=True, **settings):
    return RunSpec(
        model="toy",
        task="toy",
        chain=["full"],
        seed=0,
        settings=FullFinetuning(**{"learning_rates": [1e-3], "epochs": 2, "max_length": 16} | settings),
        random_init=RandomInit(shape=SHAPE, initialization="normal", sequence_length=32) if random_init else None,
        extensions=[],
        pretraining_recipe="paper",
    )


@pytest.fixture
def earlier(tmp_path):
    """Results of an earlier run, which a failure must leave as they are."""
    files = {tmp_path / "run.json": "earlier record", tmp_path / "predictions.csv": "earlier predictions"}
    for path, text in files.items():
        path.write_text(text)
    yield tmp_path / "run.json"
    assert {path: path.read_text() for path in tmp_path.iterdir()} == files


def came_to_nothing(spec, folder, inputs):
    """The record of a run that leaves nothing else behind; it was written, it did not raise."""
    record = run_job(spec, folder / "run.json", inputs)
    assert read_record(folder / "run.json") == record and record.metrics == {} and record.predictions is None
    assert (folder / "predictions.csv").read_text() == "id,label,prediction,score_no,score_yes\n"
    manifest = read_manifest(folder / "model" / "manifest.json")
    assert (manifest.form, manifest.files) == (None, {}) and record.reason in manifest.reason
    assert "\n" not in record.reason and spec.title not in record.reason
    return record


def test_a_loss_that_explodes_names_the_rate_the_step_and_a_remedy(tmp_path, task, tokenizer):
    spec = make_spec(learning_rates=[1e25], warmup_fraction=0.0)
    record = came_to_nothing(spec, tmp_path, Inputs(task, None, tokenizer))
    assert record.status == "failed"
    assert re.search(r"1e\+25.* step \d+ of 14: use a lower learning", record.reason)


def test_weights_that_become_nan_in_the_last_step_are_found_before_they_are_scored(tmp_path, task, tokenizer):
    """One step only: the loss is read before the update that ruins the weights."""
    spec = make_spec(learning_rates=[1e38], epochs=1, batch_size=200, warmup_fraction=0.0, weight_decay=1e30)
    record = came_to_nothing(spec, tmp_path, Inputs(task, None, tokenizer))
    assert record.status == "failed" and "NaN or infinity: use a lower learning rate" in record.reason


def test_an_encoder_does_not_answer_in_words(tmp_path, task, tokenizer):
    record = came_to_nothing(make_spec(answers="as_published"), tmp_path, Inputs(task, None, tokenizer))
    assert record.status == "skipped"
    assert record.reason == "method full: answers is for decoders, and toy is an encoder: leave it out"


def test_a_full_disk_is_one_line(earlier, task, tokenizer, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left"):
        run_job(make_spec(), earlier, Inputs(task, None, tokenizer))


def test_a_pretrained_model_must_be_named_and_exist(earlier, task, tokenizer, tmp_path_factory):
    with pytest.raises(UserError, match="--start"):
        run_job(make_spec(random_init=False), earlier, Inputs(task, None, tokenizer))
    nowhere = tmp_path_factory.mktemp("nowhere") / "run.json"
    with pytest.raises(UserError, match="discriminator"):
        run_job(make_spec(random_init=False), earlier, Inputs(task, nowhere, tokenizer))


BASELINE = RunSpec(model=NO_MODEL, task="toy", chain=["tfidf"], seed=0, settings=TfidfBaseline())


@pytest.mark.parametrize(
    ("task", "reason"),
    [({"text": lambda generator: "! ?"}, "no words to count"), ({"labels": (1,)}, "fewer than 3 of some label")],
)
def test_baseline_without_words_or_with_one_label(tmp_path, task, reason):
    record = came_to_nothing(BASELINE, tmp_path / "run", Inputs(write_task(tmp_path / "toy", **task)))
    assert record.status == "skipped" and reason in record.reason


@pytest.mark.parametrize("split", ["train", "validation", "validation_mismatched"])
def test_rows_to_be_scored_without_labels_stop_before_training(
    earlier, tokenizer, tmp_path_factory, monkeypatch, split
):
    """One row of the split has no label; the file is otherwise what its manifest says."""
    manifest = write_task(tmp_path_factory.mktemp("task") / "toy", more=("validation_mismatched",))
    path = manifest.with_name(f"{split}.jsonl")
    lines = path.read_text().splitlines()
    lines[4] = json.dumps({**json.loads(lines[4]), "label": None})
    path.write_text("\n".join(lines) + "\n")
    content = json.loads(manifest.read_text())
    content["splits"][split]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(content))

    monkeypatch.setattr(training, "train_best", lambda *_: pytest.fail("training started"))
    message = rf"^task toy: row 5 \(id {split}-4\) of the {split} split has no label.*$"
    with pytest.raises(UserError, match=message):
        run_job(make_spec(), earlier, Inputs(manifest, None, tokenizer))
    with pytest.raises(UserError, match=message):
        run_job(BASELINE, earlier, Inputs(manifest))


def test_a_killed_run_leaves_nothing_and_its_rerun_equals_an_uninterrupted_one(tmp_path, task, tokenizer):
    def command(spec, name):
        verb = [sys.executable, "-m", "electralab", "run", "--spec", spec.canonical(), "--device", "cpu"]
        inputs = ["--task", str(task), "--tokenizer", str(tokenizer), "--out", str(tmp_path / name / "run.json")]
        return verb + inputs

    endless = subprocess.Popen(command(make_spec(epochs=100_000), "killed"), stderr=subprocess.PIPE, text=True)
    assert "/100000, loss" in endless.stderr.readline()
    endless.send_signal(signal.SIGKILL)
    endless.communicate()
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [".lock"]  # of nobody: its owner is dead

    rerun = subprocess.run(command(make_spec(), "killed"), capture_output=True, text=True)
    assert rerun.returncode == 0, rerun.stderr
    run_job(make_spec(), tmp_path / "whole" / "run.json", Inputs(task, None, tokenizer))
    killed, whole = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("killed", "whole"))
    assert killed == whole
