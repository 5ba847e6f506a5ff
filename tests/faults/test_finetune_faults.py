"""Fine-tuning that cannot go on: one line, no half files, earlier results untouched."""

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from electralab.config import FullFinetuning, Shape, TfidfBaseline
from electralab.errors import UserError
from electralab.methods import scoring as trainer
from electralab.methods.run import run_method
from electralab.methods.tfidf import run_baseline
from electralab.specs import BaselineSpec, FinetuneSpec, RandomInit

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
    return FinetuneSpec(
        model="toy",
        task="toy",
        method="full",
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


def test_a_loss_that_explodes_names_the_run_the_step_and_a_remedy(earlier, task, tokenizer):
    with pytest.raises(UserError, match=r"toy on toy, full, seed 0, .*1e\+25.* step \d+ of 14: use a lower learning"):
        run_method(make_spec(learning_rates=[1e25], warmup_fraction=0.0), earlier, task, tokenizer, None, 1, "cpu")


def test_weights_that_become_nan_in_the_last_step_are_found_before_they_are_scored(earlier, task, tokenizer):
    """One step only: the loss is read before the update that ruins the weights."""
    spec = make_spec(learning_rates=[1e38], epochs=1, batch_size=200, warmup_fraction=0.0, weight_decay=1e30)
    with pytest.raises(UserError, match="NaN or infinity: use a lower learning rate"):
        run_method(spec, earlier, task, tokenizer, None, 1, "cpu")


def test_an_encoder_does_not_answer_in_words(earlier, task, tokenizer):
    with pytest.raises(UserError, match="method full: answers is for decoders, and toy is an encoder: leave it out"):
        run_method(make_spec(answers="as_published"), earlier, task, tokenizer, None, 1, "cpu")


def test_a_full_disk_is_one_line(earlier, task, tokenizer, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left"):
        run_method(make_spec(), earlier, task, tokenizer, None, 1, "cpu")


def test_a_pretrained_model_must_be_named_and_exist(earlier, task, tokenizer, tmp_path_factory):
    with pytest.raises(UserError, match="--model"):
        run_method(make_spec(random_init=False), earlier, task, tokenizer, None, 1, "cpu")
    nowhere = tmp_path_factory.mktemp("nowhere") / "run.json"
    with pytest.raises(UserError, match="discriminator"):
        run_method(make_spec(random_init=False), earlier, task, tokenizer, nowhere, 1, "cpu")


def test_baseline_without_words_or_with_one_label(earlier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    spec = BaselineSpec(task="toy", method="tfidf", settings=TfidfBaseline())
    with pytest.raises(UserError, match="no words"):
        run_baseline(spec, earlier, write_task(folder / "wordless", text=lambda generator: "! ?"))
    with pytest.raises(UserError, match="fewer than 3 of some label"):
        run_baseline(spec, earlier, write_task(folder / "single", labels=(1,)))


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

    monkeypatch.setattr(trainer, "train_best", lambda *_: pytest.fail("training started"))
    message = rf"^task toy: row 5 \(id {split}-4\) of the {split} split has no label.*$"
    with pytest.raises(UserError, match=message):
        run_method(make_spec(), earlier, manifest, tokenizer, None, 1, "cpu")
    with pytest.raises(UserError, match=message):
        run_baseline(BaselineSpec(task="toy", method="tfidf", settings=TfidfBaseline()), earlier, manifest)


def test_a_killed_run_leaves_nothing_and_its_rerun_equals_an_uninterrupted_one(tmp_path, task, tokenizer):
    def command(spec, name):
        verb = [sys.executable, "-m", "electralab", "finetune", "--spec", spec.canonical(), "--device", "cpu"]
        inputs = ["--task", str(task), "--tokenizer", str(tokenizer), "--out", str(tmp_path / name / "run.json")]
        return verb + inputs

    endless = subprocess.Popen(command(make_spec(epochs=100_000), "killed"), stderr=subprocess.PIPE, text=True)
    assert "epoch 1/100000" in endless.stderr.readline()
    endless.send_signal(signal.SIGKILL)
    endless.communicate()
    assert not (tmp_path / "killed").exists() or not list((tmp_path / "killed").iterdir())

    rerun = subprocess.run(command(make_spec(), "killed"), capture_output=True, text=True)
    assert rerun.returncode == 0, rerun.stderr
    run_method(make_spec(), tmp_path / "whole" / "run.json", task, tokenizer, None, 1, "cpu")
    killed, whole = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("killed", "whole"))
    assert killed == whole
