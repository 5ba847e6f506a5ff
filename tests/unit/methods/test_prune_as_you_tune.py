"""Prune As You Tune: its schedule, its masked updates, its teachers, and what it leaves."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from chains import SEED, predictions, run_chain
from finetune_task import write_task
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from electralab.config import Corpus, LocalModel, PruneAsYouTune, PruneFull, Recover
from electralab.data.corpora import build_corpus, corpus_checksum, iter_documents
from electralab.data.tasks import read_task
from electralab.errors import Unsuitable, UserError
from electralab.finetune.distillation import Teacher, softened_divergence
from electralab.finetune.examples import LabelledBatch, training_batches
from electralab.finetune.objective import Classification, Regression
from electralab.methods.job import Job
from electralab.methods.opening import open_artifact
from electralab.methods.pruning.masked_lora import MaskedLora, prune_updates
from electralab.methods.pruning.mixing import mixed
from electralab.methods.pruning.prune_as_you_tune import PrunedWhileTuned
from electralab.methods.pruning.schedule import prunings
from electralab.methods.run import Inputs, run_job
from electralab.names import artifact_in
from electralab.specs import RunSpec

TRAINED = {"learning_rates": [1e-2], "batch_size": 16, "max_length": 32}
FULL = {"kind": "full", "epochs": 3, "layerwise_lr_decay": 1.0, **TRAINED}
PAYT = {"kind": "prune_as_you_tune", "rank": 4, "alpha": 8.0, "epochs": 3, **TRAINED}


@pytest.fixture(scope="module")
def full(root: Path, task: Path, encoder: Path) -> Path:
    """The manifest of a fine-tuned model."""
    run_chain(root / "runs", task, encoder, full=FULL)
    return Path(artifact_in(str(root / "runs" / "full")))


def taught(folder: Path, task: Path, encoder: Path, teacher: Path | None, options, corpus: Path | None = None):
    """The record of a run with a teacher."""
    described = {"model": "toy", "task": "toy", "chain": ["payt"], "seed": SEED, "settings": PAYT | options}
    spec = RunSpec.model_validate(described | {"downloaded": LocalModel(path=str(encoder.parent))})
    inputs = Inputs(task, encoder, encoder.with_name("tokenizer.json"), teacher, corpus)
    return run_job(spec, folder / "run.json", inputs)


# --- schedule -------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 6),
    st.sampled_from(["agp", "linear"]),
    st.floats(0.01, 0.99),
    st.floats(0, 0.99),
    st.floats(0.01, 1),
    st.one_of(st.integers(1, 30), st.sampled_from(["epoch", "epoch_start"])),
    st.integers(1, 3),
    st.sampled_from([PruneAsYouTune, PruneFull]),
)
def test_sparsity_grows_to_its_target_and_never_beyond(size, epochs, growth, target, start, end, every, between, kind):
    assume(start < end)
    steps, by_step = size * epochs, isinstance(every, int)
    described = {"prune_from": start, "prune_until": end, "prune_every": every, "growth": growth}
    asked_for = kind(epochs=epochs, sparsity=target, epochs_between=1 if by_step else between, **described)
    gap = every if by_step else between * size
    try:
        found = prunings(asked_for, steps)
    except Unsuitable as error:
        assert "no pruning falls between" in str(error)
        if every != "epoch_start":
            assert not [n for n in range(gap, steps + 1, gap) if start * steps < n <= end * steps]
        return
    values = list(found.values())
    assert values[-1] == target and values == sorted(values) and max(values) <= target
    assert {later - earlier for earlier, later in pairwise(found)} <= {gap}
    if every != "epoch_start":
        assert all(start * steps < step <= end * steps for step in found)


def published_sparsity(target, epochs, schedule, every, start):
    """Share of zeros in every epoch, as the callback of the original comes to it: parts of what is left."""
    count = math.ceil((epochs - start) / every)
    added = np.zeros(epochs)
    reached = [target * (1 - (1 - i / count) ** 3) for i in range(1, count + 1)]
    added[start::every] = target / count if schedule == "linear" else np.diff([0, *reached])
    zeros, found = 0.0, []
    for epoch in range(epochs):
        zeros += (1 - zeros) * added[epoch] / (1 - added[:epoch].sum())
        found.append(zeros)
    return found


@pytest.mark.parametrize("schedule", ["linear", "agp"])
@pytest.mark.parametrize(("epochs", "every", "start"), [(5, 1, 0.0), (10, 1, 0.2), (7, 2, 0.3), (8, 3, 0.99)])
def test_the_published_schedule_is_one_of_ours(schedule, epochs, every, start):
    told = {"growth": schedule, "prune_every": "epoch_start", "epochs_between": every, "prune_until": 1.0}
    found = prunings(PruneAsYouTune(epochs=epochs, prune_from=start, sparsity=0.5, **told), 20 * epochs)
    ours = [max((found[step] for step in found if step <= 20 * epoch), default=0.0) for epoch in range(epochs)]
    assert ours == pytest.approx(published_sparsity(0.5, epochs, schedule, every, int(epochs * start)))


def test_once_is_before_training():
    assert prunings(PruneAsYouTune(growth="once", sparsity=0.3), 7) == prunings(PruneFull(sparsity=0.3), 1) == {0: 0.3}
    assert prunings(PruneAsYouTune(sparsity=0.0), 7) == {}


def test_agp_is_zhu_and_guptas():
    found = prunings(PruneAsYouTune(sparsity=0.5, prune_from=0.0, prune_until=1.0, prune_every=10), 100)
    assert list(found) == list(range(10, 101, 10))
    assert [found[step] for step in found] == pytest.approx([0.5 - 0.5 * (1 - n / 10) ** 3 for n in range(1, 11)])


# --- updates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank_stabilized", [True, False])
def test_an_update_is_that_of_peft(rank_stabilized):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 8))
    scale = 6.0 / (math.sqrt(3) if rank_stabilized else 3)
    ours = MaskedLora(network[0], 3, scale)
    theirs = get_peft_model(
        network, LoraConfig(r=3, lora_alpha=6, target_modules=["0"], use_rslora=rank_stabilized, lora_dropout=0.0)
    )
    layer = theirs.base_model.model[0]
    with torch.no_grad():
        ours.lora_b.normal_()
        layer.lora_A["default"].weight.copy_(ours.lora_a[0])
        layer.lora_B["default"].weight.copy_(ours.lora_b[0])
    inputs = torch.randn(5, 12)
    torch.testing.assert_close(ours(inputs), theirs(inputs))
    torch.testing.assert_close(ours.as_linear()(inputs), theirs(inputs))


@pytest.mark.parametrize("structure", ["unstructured", "columns"])
def test_what_is_pruned_stays_pruned_and_no_more_goes_than_was_asked(structure):
    torch.manual_seed(0)
    layer = MaskedLora(nn.Linear(40, 30), 4, 1.0, parts=3)
    before = torch.zeros_like(layer.mask)
    for sparsity in (0.1, 0.3, 0.3, 0.5):
        with torch.no_grad():
            layer.lora_b.normal_(std=0.3)  # training goes on
        prune_updates([layer], sparsity, structure)
        gone = ~layer.mask
        assert (gone | ~before).all() and int(gone.sum()) == round(sparsity * 1200)
        assert (layer.merged()[gone] == 0).all()
        before = gone
    if structure == "columns":
        assert set(layer.mask.sum(dim=0).tolist()) == {0, 30}


def test_layers_that_are_pruned_together_differ_in_sparsity():
    torch.manual_seed(0)
    layers = [MaskedLora(nn.Linear(20, 30), 2, 1.0), MaskedLora(nn.Linear(20, 10), 2, 1.0)]
    with torch.no_grad():
        layers[0].weight.mul_(3)
    for sparsity in (0.2, 0.5):
        prune_updates(layers, sparsity, "unstructured", "global")
        weights = torch.cat([layer.weight.flatten() for layer in layers]).abs()
        gone = ~torch.cat([layer.mask.flatten() for layer in layers])
        assert int(gone.sum()) == round(sparsity * 800)
        assert weights[gone].max() <= weights[~gone].min()


# --- teachers -------------------------------------------------------------------------------------------------------


def test_the_divergence_is_that_of_the_textbook():
    student, teacher = torch.randn(6, 3), torch.randn(6, 3)
    total = 0.0
    for own, told in zip(student.numpy().astype(float), teacher.numpy().astype(float)):
        p, q = (np.exp(x / 2.5) / np.exp(x / 2.5).sum() for x in (told, own))
        total += float((p * np.log(p / q)).sum())
    assert softened_divergence(student, teacher, 2.5).item() == pytest.approx(2.5**2 * total / 6, rel=1e-5)
    assert softened_divergence(teacher, teacher, 3.0).item() == pytest.approx(0.0, abs=1e-6)


class Says(nn.Module):
    """A teacher that says what it is told to say."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, *_):
        return self.logits


def test_a_teacher_of_a_regression_speaks_in_the_units_of_its_own():
    """It answers from 0 to 5, the student is trained from 0 to 1."""
    batch = LabelledBatch(torch.zeros(2, 1, dtype=torch.long), None, None, torch.tensor([0.0, 5.0]))
    teacher = Teacher(Says(torch.tensor([[2.5], [5.0]])), Regression(0.0, 1.0), 1.0, 1.0)
    student = torch.tensor([[0.5], [0.8]])
    loss = teacher.loss(torch.tensor(9.0), Regression(0.0, 5.0), student, batch)
    assert loss.item() == pytest.approx((0.0 + 0.2**2) / 2)


@pytest.mark.parametrize(("alpha", "weight"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_labels_have_the_rest(alpha, weight):
    batch = LabelledBatch(torch.zeros(2, 1, dtype=torch.long), None, None, torch.tensor([0, 1]))
    told, student = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = Teacher(Says(told), Classification(2), alpha, 2.0).loss(torch.tensor(0.7), Classification(2), student, batch)
    expected = (1 - weight) * 0.7 + weight * softened_divergence(student, told, 2.0).item()
    assert loss.item() == pytest.approx(expected)


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"teacher": ["full"]},
        {"teacher_recipe": "as_published"},
        {"structure": "columns", "growth": "linear", "prune_every": "epoch", "prune_until": 1.0},
    ],
    ids=["labels", "teacher", "as_published", "columns"],
)
def test_the_merged_file_is_as_sparse_as_was_asked_and_answers_as_was_trained(options, full, task, encoder, tmp_path):
    record = taught(tmp_path, task, encoder, full if options.get("teacher") else None, options)
    assert record.status == "ok", record.reason
    state = load_file(tmp_path / "model" / "model.safetensors")
    ends = ("query.weight", "key.weight", "value.weight", "dense.weight")
    dense = [tensor for name, tensor in state.items() if name.startswith("electra.encoder") and name.endswith(ends)]
    zeros, total = sum(int((tensor == 0).sum()) for tensor in dense), sum(tensor.numel() for tensor in dense)
    assert zeros / total == pytest.approx(0.5, abs=0.001)
    assert record.metrics["sparsity.encoder"] == pytest.approx(0.5, abs=0.001)
    assert record.metrics["merge_error"] <= 1e-6
    assert record.metrics["trainable_parameters"] < 0.5 * record.metrics["base_parameters"]
    assert ("teacher" in record.provenance.data) == bool(options.get("teacher"))
    rows = predictions(tmp_path)
    _, opened = open_artifact(tmp_path / "model" / "manifest.json", "cpu")
    answers = np.exp(opened.answer(read_task(task).validation, "cpu", "again"))
    np.testing.assert_allclose(answers, [[float(row["score_no"]), float(row["score_yes"])] for row in rows], atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"growth": "once"}, {"among": "global"}, {"growth": "linear", "prune_every": "epoch_start", "prune_until": 1.0}],
    ids=["once", "global", "epoch_start"],
)
def test_other_schedules_end_where_they_should(options, task, encoder, tmp_path):
    record = taught(tmp_path, task, encoder, None, options)
    assert record.metrics["sparsity.encoder"] == pytest.approx(0.5, abs=0.001)
    assert record.metrics["merge_error"] <= 1e-6


def test_teachers_teach(full, task, encoder, tmp_path):
    """A teacher alone, without labels, brings the student to its own answers; one that nothing trained does not."""
    scores = {}
    for recipe in ("fixed", "as_published"):
        options = {"teacher": ["full"] if recipe == "fixed" else [], "teacher_recipe": recipe}
        options |= {"distillation_alpha": 1.0, "sparsity": 0.0}
        teacher = full if recipe == "fixed" else None
        scores[recipe] = taught(tmp_path / recipe, task, encoder, teacher, options).metrics["score"]
    assert scores["fixed"] > 0.9 and scores["as_published"] < 0.75


def test_recovery_has_a_teacher_too(full, task, encoder, tmp_path):
    options = {"kind": "recover", "epochs": 1, "layerwise_lr_decay": 1.0, "teacher": ["full"], **TRAINED}
    described = {"model": "toy", "task": "toy", "chain": ["full", "recover"], "seed": SEED, "settings": options}
    spec = RunSpec.model_validate(described | {"downloaded": LocalModel(path=str(encoder.parent))})
    record = run_job(spec, tmp_path / "run.json", Inputs(task, full, None, full))
    assert record.status == "ok" and "teacher" in record.provenance.data


# --- mixing ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(root: Path) -> Path:
    """The manifest of a text whose documents have two lines and an empty one."""
    source = root / "text" / "all.jsonl"
    source.parent.mkdir()
    lines = [f"{'good' if n % 2 else 'bad'} line {n}\n\n other words {n}" for n in range(60)]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))
    manifest = root / "corpora" / "text" / "manifest.json"
    described = {"parts": [{"source": "local", "path": str(source)}], "held_out_fraction": 0.1, "shards": 1}
    build_corpus("text", Corpus.model_validate(described), manifest, root / "downloads")
    return manifest


MIXED = {"teacher_recipe": "as_published", "distillation_alpha": 0.0, "mix_corpus": "text", "mix_share": 0.1}


@pytest.mark.parametrize("order", ["random", "old_first"])
def test_lines_of_a_corpus_are_read_too(order, corpus, task, encoder, tmp_path, monkeypatch):
    seen = []
    trained = PrunedWhileTuned.encode
    monkeypatch.setattr(
        PrunedWhileTuned, "encode", lambda self, rows, scores: seen.append(rows) or trained(self, rows, scores)
    )
    options = MIXED | {"mix_order": order, "max_train_rows": 95, "epochs": 1, "prune_every": 2}
    record = taught(tmp_path, task, encoder, None, options, corpus)
    assert record.status == "ok", record.reason
    train = next(rows for rows in seen if len(rows) == 105)
    lines = {line.strip() for text in iter_documents(corpus, "train") for line in text.splitlines()} - {""}
    assert {row.text.strip() for row in train[:10]} < lines and {row.label for row in train[:10]} <= {0, 1}
    assert (record.metrics["train_rows"], record.metrics["mixed_rows"]) == (95, 10)
    assert record.metrics["validation_rows"] == len(read_task(task).validation)
    assert record.provenance.data["corpus"] == corpus_checksum(corpus)


def test_lines_have_the_label_that_their_teacher_gives(full, corpus, task, encoder, tmp_path):
    """Without labels of its own the teacher's are right where it knows the words."""
    asked_for = PruneAsYouTune(mix_corpus="text", mix_lines="first", mix_share=0.05, teacher=["full"], max_length=32)
    described = {"model": "toy", "task": "toy", "chain": ["payt"], "seed": SEED, "settings": asked_for}
    spec = RunSpec.model_validate(described | {"downloaded": LocalModel(path=str(encoder.parent))})
    tokenizer = encoder.with_name("tokenizer.json")
    job = Job(spec, read_task(task), encoder, tokenizer, tmp_path, "cpu", 1, teacher=full, corpus=corpus)
    approach = PrunedWhileTuned(job, asked_for)
    lines_of, count = mixed(job, asked_for, approach, approach.teacher)
    lines = [line for text in iter_documents(corpus, "train") for line in text.splitlines() if line.strip()]
    rows = lines_of.data.train[:count]
    assert [row.text for row in rows] == lines[:count] and lines_of.data.train[count:] == job.data.train
    _, opened = open_artifact(full, "cpu")
    said = opened.answer([row._replace(label=None) for row in rows], "cpu", "again")
    assert [row.label for row in rows] == list(said.argmax(axis=1))


@pytest.mark.parametrize(("first", "size"), [(0, 8), (5, 8), (16, 8), (40, 8)])
def test_what_is_read_first_is_read_first(first, size):
    rows, lengths = np.arange(40), np.random.default_rng(0).integers(3, 30, 40)
    for epoch in range(3):
        batches = training_batches(rows, lengths, size, 3, epoch, first)
        assert sorted(np.concatenate(batches)) == list(rows) and {len(batch) for batch in batches} == {size}
        leading = np.concatenate(batches[: -(-first // size)]) if first else np.arange(0)
        assert set(range(first)) <= set(leading.tolist())


# --- bad input ------------------------------------------------------------------------------------------------------


def test_a_teacher_that_does_not_fit_is_one_line_before_training(full, task, encoder, root, tmp_path):
    other = write_task(root / "scores", labels="scores")
    with pytest.raises(UserError, match=r"was trained on toy with the labels no, yes: name one of this task"):
        taught(tmp_path, other, encoder, full, {"teacher": ["full"]})
    tokenizer = full.with_name("tokenizer.json")
    copied = tmp_path / "copied"
    copied.mkdir()
    for path in full.parent.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    (copied / "tokenizer.json").write_text(tokenizer.read_text() + "\n")
    told = json.loads((copied / "manifest.json").read_text())
    from electralab.files import sha256

    told["files"]["tokenizer.json"] = sha256(copied / "tokenizer.json")
    (copied / "manifest.json").write_text(json.dumps(told))
    record = taught(tmp_path / "run", task, encoder, copied / "manifest.json", {"teacher": ["full"]})
    assert record.status == "skipped" and "reads with another tokenizer" in str(record.reason)


def test_no_room_for_pruning_is_one_line(task, encoder, tmp_path):
    record = taught(tmp_path, task, encoder, None, {"prune_every": 10_000})
    assert record.status == "skipped"
    assert "no pruning falls between steps 3 and 45 of 75, one every 10000: lower prune_every" in str(record.reason)
    record = taught(tmp_path / "columns", task, encoder, None, {"structure": "columns", "sparsity": 0.999})
    assert record.status == "skipped" and "sparsity 0.999 would remove all" in str(record.reason)


def test_mixing_that_cannot_be_is_one_line(corpus, task, encoder, root, tmp_path):
    with pytest.raises(UserError, match=r"name the manifest of the corpus to mix in with --corpus"):
        taught(tmp_path / "none", task, encoder, None, MIXED)
    with pytest.raises(UserError, match=r"mix_share 9 is \d+ lines, and text has \d+"):
        taught(tmp_path / "few", task, encoder, None, MIXED | {"mix_share": 9}, corpus)
    pairs = write_task(root / "pairs", labels="scores")
    record = taught(tmp_path / "scores", pairs, encoder, None, MIXED, corpus)
    assert record.status == "skipped" and "mix_corpus is for tasks of one text and classes" in str(record.reason)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prune_from": 0.6, "prune_until": 0.6}, "prune_from must be before prune_until"),
        ({"sparsity": 1.0}, "less than 1"),
        ({"sparsity": -0.1}, "greater than or equal to 0"),
        ({"epochs_between": 2}, "epochs_between is for prune_every: epoch or epoch_start"),
        ({"among": "global", "structure": "columns"}, "among: global is for single weights"),
        ({"mix_corpus": "text"}, "its lines need labels: name a teacher, or teacher_recipe: as_published"),
        (MIXED | {"learning_rates": [1e-3, 1e-4]}, "mix_corpus is for one learning rate"),
        ({"teacher": ["full"], "teacher_recipe": "as_published"}, "has a teacher of its own: leave teacher out"),
        ({"distillation_alpha": 1.5}, "less than or equal to 1"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be(wrong, said):
    with pytest.raises(ValidationError, match=said):
        PruneAsYouTune(**wrong)
    assert Recover().teacher == []
