"""Distillation: what a student is made of, what it learns from, and what is left of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chains import SEED, fetched, predictions, run_chain
from finetune_task import write_task
from method_models import DECODERS, ENCODERS, batch, make_model
from pydantic import ValidationError
from safetensors.torch import load_file
from word_models import fetched_words

from electralab.artifacts import read_manifest
from electralab.config import Distil, LocalModel
from electralab.data.tasks import read_task
from electralab.electra.convert import load_encoder
from electralab.electra.encoder import Encoder
from electralab.errors import UserError
from electralab.finetune.hidden_states import HiddenLoss, HiddenStates, uniform_map
from electralab.finetune.objective import Classification
from electralab.finetune.optimizer import build_optimizer
from electralab.methods.distil import Distilling, Student
from electralab.methods.job import Job
from electralab.methods.onnx.network import PlainEncoder, read_network
from electralab.methods.opening import open_artifact
from electralab.methods.pruning.removal import choose, layers_of, shrunken, without_layers
from electralab.methods.run import Inputs, run_job
from electralab.names import artifact_in
from electralab.records import RunRecord
from electralab.specs import RunSpec

TRAINED = {"learning_rates": [1e-2], "batch_size": 16, "max_length": 32, "layerwise_lr_decay": 1.0}
FULL = {"kind": "full", "epochs": 3, **TRAINED}
LORA = {"kind": "lora", "learning_rates": [1e-2], "epochs": 1, "batch_size": 16, "max_length": 32}
SHORT = TRAINED | {"epochs": 1, "max_train_rows": 64}
HALF = {"start": "teacher", "layers": [1]}
SMALL = {"start": "random", "shape": {
    **{"layers": 1, "hidden_size": 16, "embedding_size": 8, "attention_heads": 2},
    **{"intermediate_size": 24, "max_positions": 32, "head_size": 8},
}}  # fmt: skip


@pytest.fixture(scope="module")
def full(root: Path, task: Path, encoder: Path) -> Path:
    """The manifest of a fine-tuned model."""
    run_chain(root / "runs", task, encoder, full=FULL)
    return Path(artifact_in(str(root / "runs" / "full")))


def spec_of(model: Path, options: dict[str, Any]) -> RunSpec:
    settings = {"kind": "distil", "teacher": ["full"], "student": HALF, **SHORT} | options
    described = {"model": "toy", "task": "toy", "chain": ["distil"], "seed": SEED, "settings": settings}
    return RunSpec.model_validate(described | {"downloaded": LocalModel(path=str(model.parent))})


def distilled(folder: Path, task: Path, model: Path, teacher: Path | None, options: dict[str, Any]) -> RunRecord:
    inputs = Inputs(task, model, model.with_name("tokenizer.json"), teacher)
    return run_job(spec_of(model, options), folder / "run.json", inputs)


def approach(task: Path, model: Path, teacher: Path | None, options: dict[str, Any], folder: Path) -> Distilling:
    spec, tokenizer = spec_of(model, options), model.with_name("tokenizer.json")
    job = Job(spec, read_task(task), model, tokenizer, folder, "cpu", 1, None, teacher)
    assert isinstance(spec.settings, Distil)
    return Distilling(job, spec.settings)


def network_of(manifest: Path) -> PlainEncoder:
    reads = read_manifest(manifest).reads
    assert reads is not None
    return read_network(manifest.parent, reads, "a test")


def logits(model: torch.nn.Module) -> torch.Tensor:
    """Of eight rows of 35 pieces, some padded."""
    ids, mask, _ = batch("electra")
    with torch.no_grad():
        answer: torch.Tensor = model.eval()(ids % 35, mask, torch.zeros_like(ids))
    return answer


# --- hidden states --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [("cls", "mean"), ("mean", "mean"), ("mean", "cls")])
@pytest.mark.parametrize("kind", ENCODERS)
def test_the_loss_of_hidden_states_is_that_of_transformers_states(
    kind: str, pooled: tuple[str, str], tmp_path: Path
) -> None:
    """A student of width 64, whose embeddings are projected, and a teacher of every architecture."""
    ids, mask, _ = batch(kind)
    theirs = [make_model("electra").eval(), make_model(kind).eval()]
    ours: list[Encoder] = []
    for number, model in enumerate(theirs):
        model.save_pretrained(tmp_path / str(number))
        ours.append(load_encoder(tmp_path / str(number))[0].eval())
    torch.manual_seed(3)
    loss = HiddenLoss(ours[0], HiddenStates(ours[1]), ours[1].config.hidden_size, [1, 0])
    first = torch.arange(0, ids.numel(), ids.shape[1])
    for encoder, pooling in zip(ours, pooled):
        encoder(ids, mask, None, first if pooling == "cls" else None)
    found = loss(mask)

    states = []
    for model in theirs:
        with torch.no_grad():
            given = model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
        states.append([state.double().numpy() for state in given])
    expected = 0.0
    for mine, other, projection in ((0, 0, loss.embeddings), (1, 2, loss.layers), (2, 1, loss.layers)):
        weight, bias = (tensor.detach().double().numpy() for tensor in (projection.weight, projection.bias))
        squares = (states[0][mine] @ weight.T + bias - states[1][other]) ** 2
        one_position = (pooled[0] == "cls" and mine == 2) or (pooled[1] == "cls" and other == 2)
        expected += squares[:, 0].mean() if one_position else squares[mask.numpy()].mean()
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher", "layers"), [(3, 6, [1, 3, 5]), (4, 12, [2, 5, 8, 11]), (3, 5, [0, 2, 4]), (2, 2, [0, 1])]
)
def test_the_uniform_map_is_tinyberts(student: int, teacher: int, layers: list[int]) -> None:
    """Layer m of M learns from m * N / M of N, counted from 1, and the last from the last."""
    assert uniform_map(student, teacher) == layers


# --- students -------------------------------------------------------------------------------------------------------


def test_a_student_of_all_layers_is_its_teacher(full: Path, task: Path, encoder: Path, tmp_path: Path) -> None:
    whole = network_of(full)
    student = approach(task, encoder, full, {"student": HALF | {"layers": [0, 1]}}, tmp_path).fresh(0)
    torch.testing.assert_close(logits(student), logits(whole), atol=1e-6, rtol=0)
    student = approach(task, encoder, full, {}, tmp_path).fresh(0)
    torch.testing.assert_close(logits(student), logits(without_layers(whole, [0])), atol=1e-6, rtol=0)


def test_a_student_with_fewer_neurons_keeps_the_largest(full: Path, task: Path, encoder: Path, tmp_path: Path) -> None:
    whole = network_of(full)
    narrow = HALF | {"layers": [0, 1], "intermediate_size": 40}
    student = approach(task, encoder, full, {"student": narrow}, tmp_path).fresh(0)
    expected = shrunken(whole, choose(whole, 0, layers_of(whole)[0].intermediate.out_features - 40))
    torch.testing.assert_close(logits(student), logits(expected), atol=1e-6, rtol=0)
    assert student.encoder.config.intermediate_size == 40


def test_all_pretrained_layers_without_a_teacher_are_full_finetuning(
    full: Path, task: Path, encoder: Path, tmp_path: Path
) -> None:
    options = {"teacher": [], "distillation_alpha": 0.0, "student": {"start": "pretrained", "layers": [0, 1]}}
    record = distilled(tmp_path, task, encoder, None, options | {"epochs": 3, "max_train_rows": None})
    assert record.status == "ok" and "teacher" not in record.provenance.data
    assert predictions(tmp_path) == predictions(full.parent.parent)
    same = [load_file(folder / "model.safetensors") for folder in (tmp_path / "model", full.parent)]
    assert all(torch.equal(tensor, same[1][name]) for name, tensor in same[0].items())


def test_a_drawn_student_has_the_shape_that_was_asked_for(
    full: Path, task: Path, encoder: Path, tmp_path: Path
) -> None:
    student = approach(task, encoder, full, {"student": SMALL, "hidden_weight": 1.0}, tmp_path).fresh(0)
    shape = student.encoder.config
    assert (shape.hidden_size, shape.embedding_size, shape.layers, shape.vocab_size) == (16, 8, 1, 35)
    assert student.to_teacher is not None and student.to_teacher.layers.weight.shape == (32, 16)
    again = approach(task, encoder, full, {"student": SMALL}, tmp_path).fresh(0)
    assert torch.equal(again.encoder.layers[0].qkv.weight, student.encoder.layers[0].qkv.weight)


# --- training -------------------------------------------------------------------------------------------------------


def test_gradients_reach_the_student_and_its_projections_alone(
    full: Path, task: Path, encoder: Path, tmp_path: Path
) -> None:
    """The teacher's part of the loss by hand, and nothing moves the teacher."""
    options = {"hidden_weight": 0.7, "distillation_alpha": 0.0, "dropout": 0.0, "layer_map": [0]}
    taught = approach(task, encoder, full, options, tmp_path)
    model, objective = taught.fresh(0), Classification(2)
    assert taught.teacher is not None and model.to_teacher is not None
    before = {name: tensor.clone() for name, tensor in taught.teacher.model.state_dict().items()}
    rows = taught.encode(read_task(task).train[:8], False).batch(np.arange(8))
    answers = model(rows.input_ids, rows.attention_mask, rows.token_type_ids)
    loss = model.loss(objective, answers, rows)
    expected = objective.loss(answers, rows.labels) + 0.7 * model.to_teacher(rows.attention_mask)
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    optimizer = build_optimizer(model, 1e-2, taught.settings.model_copy(update={"layerwise_lr_decay": 0.5}))
    rates = {id(parameter): group["rate"] for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name.startswith(("head.", "to_teacher.")):
            assert rates[id(parameter)] == 1e-2
    optimizer.step()
    assert all(parameter.grad is None for parameter in taught.teacher.model.parameters())
    after = taught.teacher.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_hidden_states_come_nearer(full: Path, task: Path, encoder: Path, tmp_path: Path) -> None:
    """A drawn student of other width, taught by hidden states alone beside its labels."""
    taught = approach(task, encoder, full, {"student": SMALL, "hidden_weight": 1.0, "dropout": 0.0}, tmp_path)
    model, rows = taught.fresh(0), taught.encode(read_task(task).train[:64], False).batch(np.arange(64))
    optimizer = build_optimizer(model, 1e-2, taught.settings)
    optimizer.param_groups[0]["lr"] = 1e-2
    distances = []
    for _ in range(30):
        answers = model(rows.input_ids, rows.attention_mask, rows.token_type_ids)
        model.loss(Classification(2), answers, rows).backward()
        assert model.to_teacher is not None
        distances.append(model.to_teacher(rows.attention_mask).item())
        optimizer.step()
        optimizer.zero_grad()
    assert distances[-1] < 0.7 * distances[0]


def test_a_teacher_alone_teaches(full: Path, task: Path, encoder: Path, tmp_path: Path) -> None:
    """Without labels, a drawn student comes to its teacher's answers."""
    options = {"student": SMALL, "distillation_alpha": 1.0, "epochs": 8, "max_train_rows": None}
    assert distilled(tmp_path, task, encoder, full, options).metrics["score"] > 0.9


# --- what is left ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENCODERS)
def teacher(request: pytest.FixtureRequest, root: Path, task: Path) -> tuple[str, Path, Path]:
    """An architecture, a model of it, and what fine-tuning left of the same architecture."""
    kind, folder = str(request.param), root / f"{request.param}_runs"
    model = fetched_words(root, kind)
    links = {"full": FULL | {"epochs": 1}} if kind == "electra" else {"lora": LORA, "merge": {"kind": "merge"}}
    run_chain(folder, task, model, **links)
    return kind, model, Path(artifact_in(str(folder / "+".join(links))))


@pytest.mark.parametrize(
    "student",
    [HALF | {"intermediate_size": 48}, {"start": "pretrained", "layers": [1]}, SMALL],
    ids=["teacher", "pretrained", "random"],
)
def test_what_is_left_answers_as_was_recorded(
    student: dict[str, Any], teacher: tuple[str, Path, Path], task: Path, tmp_path: Path
) -> None:
    kind, model, left = teacher
    record = distilled(tmp_path, task, model, left, {"student": student, "hidden_weight": 0.5})
    assert record.status == "ok", record.reason
    assert "teacher" in record.provenance.data
    manifest, opened = open_artifact(tmp_path / "model" / "manifest.json", "cpu")
    answers = np.exp(opened.answer(read_task(task).validation, "cpu", "again"))
    rows = predictions(tmp_path)
    np.testing.assert_allclose(answers, [[float(row["score_no"]), float(row["score_yes"])] for row in rows], atol=1e-5)
    network = network_of(tmp_path / "model" / "manifest.json")
    assert len(network.encoder.layers) == 1 and manifest.form == "huggingface"
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert not [name for name in weights if "to_teacher" in name]
    architecture = kind if student["start"] == "teacher" else "electra"
    assert all(name.startswith((architecture, "classifier", "pre_classifier")) for name in weights)
    if student["start"] == "teacher":
        assert network.encoder.config.intermediate_size == 48


def test_links_go_on_from_a_student(full: Path, task: Path, encoder: Path, tmp_path: Path) -> None:
    """Without the pieces that no row uses, then in 8 bits."""
    distilled(tmp_path / "distil", task, encoder, full, {})
    settings = {"kind": "distil", "teacher": ["full"], "student": HALF, **SHORT}
    more = {"distil": settings, "trim": {"kind": "trim_vocabulary"}, "int8": {"kind": "dynamic_int8"}}
    records = run_chain(tmp_path, task, encoder, done=("distil",), **more)
    assert [record.status for record in records.values()] == ["ok", "ok"]


@pytest.mark.parametrize("student", [HALF, SMALL], ids=["teacher", "random"])
def test_a_regression_has_a_student_too(student: dict[str, Any], root: Path, encoder: Path, tmp_path: Path) -> None:
    scores = root / "scores" / "manifest.json"
    if not scores.exists():
        write_task(root / "scores", labels="scores")
        run_chain(root / "scored", scores, encoder, full=FULL | {"regression_target": "raw"})
    left = Path(artifact_in(str(root / "scored" / "full")))
    options = {"student": student, "hidden_weight": 0.1, "epochs": 2, "max_train_rows": None}
    record = distilled(tmp_path, scores, encoder, left, options)
    assert record.status == "ok", record.reason
    _, opened = open_artifact(tmp_path / "model" / "manifest.json", "cpu")
    answers = opened.answer(read_task(scores).validation, "cpu", "again")
    said = [float(row["prediction"]) for row in predictions(tmp_path)]
    np.testing.assert_allclose(answers, said, atol=1e-4)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"student": HALF | {"layers": [0, 2]}}, "there is no layer 2 to copy, the model's are 0 to 1: correct"),
        ({"student": HALF | {"intermediate_size": 65}}, "intermediate_size 65 is wider than the 64 neurons"),
        ({"hidden_weight": 1.0, "layer_map": [7]}, "layer_map names layer 7, and the teacher's are 0 to 1: correct"),
        ({"hidden_weight": 1.0, "student": HALF | {"layers": [0, 1, 1]}}, "3 layers has no uniform map to the 2"),
        ({"student": {"start": "generator", "layers": [0]}}, "model toy has no generator"),
    ],
)
def test_a_student_that_cannot_be_is_one_line_before_training(
    options: dict[str, Any], reason: str, full: Path, task: Path, encoder: Path, tmp_path: Path
) -> None:
    record = distilled(tmp_path, task, encoder, full, options)
    assert record.status == "skipped"
    assert reason in str(record.reason) and "\n" not in str(record.reason)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["manifest.json"]


def test_a_teacher_of_another_task_labels_or_tokenizer(full: Path, root: Path, task: Path, tmp_path: Path) -> None:
    encoder = root / "encoder_model" / "manifest.json"
    spec = spec_of(encoder, {}).model_copy(update={"task": "other"})
    with pytest.raises(UserError, match="was trained on toy with the labels no, yes: name one of this task"):
        run_job(spec, tmp_path / "run.json", Inputs(task, encoder, encoder.with_name("tokenizer.json"), full))
    three = write_task(tmp_path / "three", more=(), labels="words")
    content = three.read_text().replace('["no", "yes"]', '["no", "yes", "perhaps"]')
    three.write_text(content)
    with pytest.raises(UserError, match="with the labels no, yes: name one of this task"):
        distilled(tmp_path, three, encoder, full, {})
    words = fetched_words(tmp_path, "electra")
    record = distilled(tmp_path / "run", task, words, full, {})
    assert record.status == "skipped" and "reads with another tokenizer" in str(record.reason)


def test_a_teacher_that_reads_shorter_texts(full: Path, task: Path, encoder: Path, tmp_path: Path) -> None:
    record = distilled(tmp_path, task, encoder, full, {"max_length": 65})
    assert record.status == "skipped"
    assert "max_length 65 is longer than the 64 positions of its teacher full of toy: lower it" in str(record.reason)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_is_skipped(kind: str, full: Path, task: Path, tmp_path: Path) -> None:
    record = distilled(tmp_path / "run", task, fetched(tmp_path, kind), full, {})
    assert record.status == "skipped" and "distil is for encoders" in str(record.reason)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"teacher": []}, "nobody teaches: give teacher"),
        ({"teacher": [], "distillation_alpha": 0.0}, "copies layers of a teacher: give teacher"),
        ({"teacher": [], "distillation_alpha": 0.0, "hidden_weight": 1.0, "student": SMALL}, "nobody teaches"),
        ({"layer_map": [0, 1]}, "layer_map has 2 layers of the teacher for the student's 1: give one for each"),
        ({"student": HALF | {"hidden_size": 16}}, "unknown key 'hidden_size'"),
        ({"student": HALF | {"layers": []}}, "at least 1 item"),
        ({"student": HALF | {"layers": [-1]}}, "greater than or equal to 0"),
        ({"student": SMALL, "max_length": 33}, "max_length 33 is longer than student.shape.max_positions 32"),
        ({"hidden_weight": -1.0}, "greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    fine: dict[str, Any] = {"teacher": ["full"], "student": HALF, "max_length": 32}
    Distil.model_validate(fine)
    with pytest.raises(ValidationError, match=said):
        Distil.model_validate(fine | wrong)


def test_a_student_is_no_longer_watched(full: Path, task: Path, encoder: Path, tmp_path: Path) -> None:
    taught = approach(task, encoder, full, {"hidden_weight": 1.0}, tmp_path)
    model = taught.fresh(0)
    assert isinstance(model, Student) and model.to_teacher is not None
    watching = model.to_teacher.own
    logits(model)
    assert len(watching.states) == 2
    watching.release()
    logits(model)
    assert watching.states == []
