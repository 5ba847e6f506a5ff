"""Checkpoints that are damaged, unreadable, poisoned, of other settings or too large: none is lost, none is wrong."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pretraining import make_inputs, run_spec, weights

from electralab.errors import UserError
from electralab.pretrain import checkpoint as checkpoint_module
from electralab.pretrain import finished as finished_module
from electralab.pretrain import trainer as trainer_module
from electralab.pretrain.checkpoint import Checkpoints
from electralab.pretrain.inputs import Inputs
from electralab.pretrain.trainer import Trainer, run_pretraining

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def steps_of(folder: Path) -> list[int]:
    """The steps of all checkpoints below a folder."""
    return sorted(int(path.name.split("-")[1]) for path in folder.rglob("step-*.pt"))


def stopped_run(inputs: Inputs, record: Path, monkeypatch: pytest.MonkeyPatch, step: int, **values: object) -> None:
    """Leave a run that a power cut ended."""
    train_step = Trainer.train_step

    def dies(self: Trainer) -> None:
        if self.step == step:
            raise RuntimeError("power cut")
        train_step(self)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(Trainer, "train_step", dies)
        run_pretraining(run_spec(**values), inputs, record)


# --- what outlives its deletion ----------------------------------------------------------------------------------


def test_a_finished_run_whose_outputs_a_new_snakemake_deletes_is_not_trained_again(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "run.json"
    run_pretraining(run_spec(), inputs, record)
    outputs = {path: path.read_bytes() for path in (record, tmp_path / "evaluation.csv")}

    def trained_again(change: Callable[[], object], **values: object) -> bool:
        for path in outputs:
            path.unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "train_step", lambda self: pytest.fail("it trains"))
            change()
            try:
                run_pretraining(run_spec(**values), inputs, record)
            except pytest.fail.Exception:
                return True
        return False

    assert not trained_again(lambda: None)
    assert {path: path.read_bytes() for path in outputs} == outputs
    assert trained_again(lambda: None, learning_rate=0.003)
    assert trained_again(lambda: None, snapshots=[0.5])
    assert trained_again(lambda: monkeypatch.setattr(finished_module, "source_hash", lambda: "other source"))
    monkeypatch.undo()
    weights_file = tmp_path / "generator" / "model.safetensors"
    assert trained_again(lambda: weights_file.write_bytes(weights_file.read_bytes()[:-1] + b"?"))


# --- what decides the weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        {"evaluation_every": 7},
        {"checkpoint_every": 3},
        {"evaluation_sequences": 12},
        {"snapshots": [0.8]},
        {"corpus": "renamed", "tokenizer": "also"},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_an_edit_that_decides_no_weight_goes_on_and_ends_with_the_same_bits(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: dict[str, Any]
) -> None:
    whole, edited = tmp_path / "whole" / "run.json", tmp_path / "edited" / "run.json"
    run_pretraining(run_spec(), inputs, whole)
    stopped_run(inputs, edited, monkeypatch, 17)
    trainer = Trainer(run_spec(**edit), inputs, edited, 1, CPU)
    trainer.resume()
    assert trainer.step == 15
    record = run_pretraining(run_spec(**edit), inputs, edited)
    assert weights(edited) == weights(whole)
    assert {key: record.spec["settings"][key] for key in edit} == edit, "the record tells what was asked for"
    assert not (edited.parent / "checkpoints").exists()


@pytest.mark.parametrize("edit", [{"learning_rate": 2e-3}, {"steps": 31}, {"recipe": "rc2020"}, {"dropout": 0.0}])
def test_checkpoints_of_other_settings_stay_and_are_found_again(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, edit: dict[str, Any]
) -> None:
    record = tmp_path / "run.json"
    stopped_run(inputs, record, monkeypatch, 17)
    before = sorted((tmp_path / "checkpoints").rglob("step-*.pt"))
    capsys.readouterr()
    run_pretraining(run_spec(**edit), inputs, record)
    assert f"{before[0].parent} holds checkpoints of other settings" in capsys.readouterr().err
    assert sorted((tmp_path / "checkpoints").rglob("step-*.pt")) == before
    back = Trainer(run_spec(), inputs, record, 1, CPU)
    back.resume()
    assert back.step == 15


# --- what cannot be read -----------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Checkpoints]:
    checkpoints = Checkpoints(tmp_path / "checkpoints", "0123456789abcdef" * 4)
    for step in (10, 20, 30):
        checkpoints.save(step, {"value": torch.full((1000,), float(step))})
    yield checkpoints


def test_the_two_newest_are_kept(three: Checkpoints) -> None:
    assert steps_of(three.directory) == [20, 30]
    state = three.load()
    assert state is not None and state["step"] == 30 and bool((state["value"] == 30).all())


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit of the weights, which torch's reader does not notice."""
    place = content.index(bytes(torch.full((1000,), 30.0).numpy())) + 2003
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [halved, flipped, lambda content: b""], ids=["half", "flip", "empty"])
def test_a_damaged_checkpoint_is_kept_and_an_older_one_taken(three: Checkpoints, damage: Any, capsys: Any) -> None:
    newest = three.newest()
    assert newest is not None
    content = damage(newest.read_bytes())
    newest.write_bytes(content)
    state = three.load()
    assert state is not None and state["step"] == 20 and bool((state["value"] == 20).all())
    kept = newest.with_suffix(".damaged")
    assert kept.read_bytes() == content
    assert newest.name in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(errno.EIO, os.strerror(errno.EIO)), MemoryError()])
@pytest.mark.parametrize("where", ["sha256", "load"])
def test_a_failing_disk_or_memory_stops_and_keeps_all(
    three: Checkpoints, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    before = {path: path.read_bytes() for path in three.directory.rglob("*.pt")}
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"step-000000030.* cannot be read now") as told:
        patch.setattr(*((checkpoint_module, "sha256") if where == "sha256" else (torch, "load")), fails)
        three.load()
    assert "\n" not in str(told.value)
    assert {path: path.read_bytes() for path in three.directory.rglob("*") if path.is_file()} == before
    state = three.load()
    assert state is not None and state["step"] == 30


# --- what cannot be written --------------------------------------------------------------------------------------


def test_a_checkpoint_that_does_not_fit_is_one_line_and_the_older_one_stays(tmp_path: Path) -> None:
    """As of a full disk, torch says of a limit on the size of files only `unexpected pos`."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", "f" * 64)
    checkpoints.save(1, {"value": torch.zeros(10)})
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        with pytest.raises(UserError, match=r"cannot write a checkpoint .*full.*older checkpoint is kept") as told:
            checkpoints.save(2, {"value": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(told.value)
    assert [path.name[:14] for path in checkpoints.folder.iterdir()] == ["step-000000001"]
    state = checkpoints.load()
    assert state is not None and state["step"] == 1


def test_weights_are_on_the_disk_before_the_record_and_the_record_before_the_checkpoints_go(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut may take: a file that was not synced, and a name whose folder was not."""
    synced: list[str] = []
    fsync, unlink = os.fsync, Path.unlink

    def noting(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def removing(self: Path, missing_ok: bool = False) -> None:
        if self.name.startswith("step-") and (tmp_path / "run.json").exists():
            synced.append("checkpoint removed")
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(Path, "unlink", removing)
    run_pretraining(run_spec(steps=5), inputs, tmp_path / "run.json")
    milestones = (r"\.discriminator\..*/model\.safetensors", r"\.generator\..*/model\.safetensors", r"\.run\.json")
    order = [
        next(place for place, name in enumerate(synced) if re.search(pattern, name))
        for pattern in (*milestones, "checkpoint removed")
    ]
    assert order == sorted(order)
    assert str(tmp_path) in synced[order[1] : order[2]], "the folder's names too"
    assert str(tmp_path) in synced[order[2] : order[3]]


# --- what is not finite ------------------------------------------------------------------------------------------


def poison(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """One gradient is NaN while the loss is finite."""
    clip = torch.nn.utils.clip_grad_norm_
    calls = iter(range(1, 1000))

    def clipped(parameters: Any, largest: float) -> torch.Tensor:
        parameters = list(parameters)
        if next(calls) == step:
            parameters[0].grad[0, 0] = float("nan")
        return clip(parameters, largest)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clipped)


@pytest.mark.parametrize("every", [1, 50])
def test_a_gradient_that_is_not_finite_is_in_no_checkpoint(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setitem(trainer_module.READ_EVERY, "cpu", every)
    with monkeypatch.context() as patch:
        poison(patch, 7)
        record = run_pretraining(run_spec(checkpoint_every=1, snapshots=[0.234]), inputs, tmp_path / "run.json")
    assert record.status == "failed"
    assert record.reason is not None and "the gradient is nan at step 7" in record.reason
    named = Path(re.search(r"last good checkpoint is (\S+\.pt)", record.reason)[1])  # type: ignore[index]
    assert named.name.startswith("step-000000006")
    assert not (tmp_path / "snapshots").exists()
    for path in named.parent.iterdir():
        state = torch.load(path, weights_only=True)
        assert all(bool(tensor.isfinite().all()) for tensor in state["pair"].values())

    lower = Trainer(run_spec(checkpoint_every=1, learning_rate=1e-4), inputs, tmp_path / "run.json", 1, CPU)
    lower.resume()
    assert lower.step == 0 and named.exists(), "other settings start anew and lose nothing"
    run_pretraining(run_spec(checkpoint_every=1), inputs, tmp_path / "run.json")
    run_pretraining(run_spec(), inputs, tmp_path / "whole" / "run.json")
    assert weights(tmp_path / "run.json") == weights(tmp_path / "whole" / "run.json")


def test_weights_that_are_not_finite_are_not_saved(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions beyond the sequences take part in no loss and in no gradient."""
    train_step = Trainer.train_step

    def poisoned(self: Trainer) -> None:
        train_step(self)
        if self.step == 12:
            with torch.no_grad():
                self.pair.discriminator.embeddings.position.weight[20, 0] = float("nan")

    monkeypatch.setattr(Trainer, "train_step", poisoned)
    record = run_pretraining(run_spec(), inputs, tmp_path / "run.json")
    assert record.status == "failed" and "weights are not finite at step 15" in (record.reason or "")
    assert steps_of(tmp_path) == [5, 10]


def test_a_loss_that_is_not_finite_names_step_and_checkpoint(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = Trainer.train_step

    def poisoned(self: Trainer) -> None:
        if self.step == 12:
            with torch.no_grad():
                self.pair.word_embeddings.fill_(float("nan"))
        train_step(self)

    monkeypatch.setattr(Trainer, "train_step", poisoned)
    record = run_pretraining(run_spec(), inputs, tmp_path / "run.json")
    assert record.status == "failed"
    assert re.search(r"the loss is nan at step 13; .*step-000000010\S*\.pt.*learning_rate", record.reason or "")


def test_a_run_under_nohup_outlives_its_terminal(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = Trainer.train_step

    def hung_up(self: Trainer) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        train_step(self)

    monkeypatch.setattr(Trainer, "train_step", hung_up)
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does
    try:
        assert run_pretraining(run_spec(steps=3), inputs, tmp_path / "run.json").status == "ok"
    finally:
        signal.signal(signal.SIGHUP, handler)
