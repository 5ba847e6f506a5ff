"""A pretraining that is killed, poisoned or misfed: nothing lost, one line, same weights in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_pretraining import make_inputs, run_spec, weights

from electralab.electra.convert import load_encoder
from electralab.errors import UserError
from electralab.pretrain import trainer as trainer_module
from electralab.pretrain.inputs import Inputs
from electralab.pretrain.trainer import Trainer, run_pretraining
from electralab.records import read_record


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("options", [{}, {"unigram_warmup": 0.5, "initialization": "position_aware_init"},
                                     {"gradient_accumulation": 2, "recipe": "google_code"}])  # fmt: skip
def test_a_run_stopped_anywhere_ends_with_the_same_bits(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    spec = run_spec(**options)
    whole = tmp_path / "whole" / "run.json"
    run_pretraining(spec, inputs, whole, 1, "cpu")

    parts = tmp_path / "parts" / "run.json"
    train_step = Trainer.train_step
    for stop_at in (7, 13, 22):

        def dies(self: Trainer, stop_at: int = stop_at) -> None:
            if self.step == stop_at:
                raise RuntimeError("power cut")
            train_step(self)

        monkeypatch.setattr(Trainer, "train_step", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            run_pretraining(spec, inputs, parts, 1, "cpu")
        assert not parts.exists()
    monkeypatch.setattr(Trainer, "train_step", train_step)
    run_pretraining(spec, inputs, parts, 1, "cpu")

    assert weights(parts) == weights(whole)
    quality, reference = (
        {k: v for k, v in read_record(p).metrics.items() if k != "tokens_per_second"} for p in (parts, whole)
    )
    assert quality == reference
    assert not (parts.parent / "checkpoints").exists()


def test_a_snapshot_is_the_discriminator_of_its_step_also_after_a_kill(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, seen = tmp_path / "run.json", {}
    train_step, dies_at = Trainer.train_step, 17

    def watched(self: Trainer) -> None:
        if self.step in (6, 15):
            seen[self.step] = self.pair.discriminator.layers[0].qkv.weight.detach().clone()
        if self.step == dies_at:
            raise RuntimeError("power cut")
        train_step(self)

    monkeypatch.setattr(Trainer, "train_step", watched)
    spec = run_spec(snapshots=[0.2, 0.5])
    with pytest.raises(RuntimeError, match="power cut"):
        run_pretraining(spec, inputs, record, 1, "cpu")
    dies_at = -1
    run_pretraining(spec, inputs, record, 1, "cpu")
    for step, folder in ((6, "20"), (15, "50")):
        encoder, _ = load_encoder(record.parent / "snapshots" / folder)
        assert torch.equal(encoder.layers[0].qkv.weight, seen[step])
        assert (record.parent / "snapshots" / folder / "tokenizer.json").exists()


def test_kill_9_and_run_again(inputs: Inputs, tmp_path: Path) -> None:
    spec = run_spec(steps=400, checkpoint_every=20, evaluation_every=200)
    whole, killed = tmp_path / "whole" / "run.json", tmp_path / "killed" / "run.json"
    run_pretraining(spec, inputs, whole, 1, "cpu")
    command = [
        sys.executable, "-m", "electralab", "pretrain", "--spec", spec.canonical(), "--tokens", str(inputs[0]),
        "--tokenizer", str(inputs[1]), "--device", "cpu", "--out", str(killed),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((killed.parent / "checkpoints").rglob("step-*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists(), "the run ended before it could be killed"
    subprocess.run(command, check=True, capture_output=True)
    assert weights(killed) == weights(whole)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_says_how_to_go_on(inputs: Inputs, tmp_path: Path, name: str) -> None:
    spec = run_spec(steps=100_000, checkpoint_every=100_000)
    record = tmp_path / "run.json"
    command = [
        sys.executable, "-m", "electralab", "pretrain", "--spec", spec.canonical(), "--tokens", str(inputs[0]),
        "--tokenizer", str(inputs[1]), "--device", "cpu", "--out", str(record),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "evaluation.csv").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.Signals[name])
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert f"stopped by {name}" in errors.splitlines()[-1] and "Traceback" not in errors
    assert len(list((tmp_path / "checkpoints").rglob("step-*.pt"))) == 1


def test_two_processes_never_write_the_same_run(inputs: Inputs, tmp_path: Path) -> None:
    from electralab.files import only_writer

    with only_writer(tmp_path), pytest.raises(UserError, match="another process"):
        run_pretraining(run_spec(), inputs, tmp_path / "run.json", 1, "cpu")


def test_bf16_is_refused_on_a_cpu_without_it(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.raises(UserError, match="precision: bf16"):
        run_pretraining(run_spec(precision="bf16"), inputs, tmp_path / "run.json", 1, "cpu")


def test_automatic_precision_is_fp32_on_a_cpu() -> None:
    assert not trainer_module._use_bf16(run_spec().settings, torch.device("cpu"))


def test_pretraining_learns_and_the_record_says_so(inputs: Inputs, tmp_path: Path) -> None:
    record = run_pretraining(run_spec(steps=120), inputs, tmp_path / "run.json", 1, "cpu")
    rows = (tmp_path / "evaluation.csv").read_text().splitlines()
    assert len(rows) == 1 + 1 + 12
    assert record.metrics["mlm_loss"] < 4.0
    assert record.cost.tokens == 120 * 4 * 16
    assert set(record.cost.flops) == {"electra_paper", "matmul_3x"}
    assert read_record(tmp_path / "run.json") == record
