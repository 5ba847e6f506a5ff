"""A pretraining that is killed, poisoned or misfed: nothing lost, one line, same weights in the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from electralab.config import Pretraining, TrainedTokenizer
from electralab.electra.convert import load_encoder
from electralab.errors import UserError
from electralab.files import sha256
from electralab.pretrain import trainer as trainer_module
from electralab.pretrain.trainer import Trainer, run_pretraining
from electralab.records import read_record
from electralab.specs import PretrainSpec
from electralab.tokens.cache import build_cache
from electralab.tokens.tokenizer import build_tokenizer

WORDS = "the a old new river house king ship sailed burned stood under over near quickly never again".split()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Token cache and tokenizer of a corpus of random sentences."""
    root = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    manifest: dict[str, object] = {"name": "c", "sources": [], "documents": 0, "characters": 0}
    for part, documents in (("train", 300), ("held_out", 40)):
        texts = [" ".join(rng.choice(WORDS, size=60)) + "." for _ in range(documents)]
        path = root / part / "00000.parquet"
        path.parent.mkdir()
        pq.write_table(pa.table({"text": texts}), path)
        entry = {"file": path.name, "sha256": sha256(path), "documents": documents, "characters": sum(map(len, texts))}
        manifest[part] = [entry]
    (root / "manifest.json").write_text(json.dumps(manifest))
    tokenizer = root / "tokenizer" / "tokenizer.json"
    spec = TrainedTokenizer(kind="wordpiece", corpus="c", vocab_size=120)
    build_tokenizer(spec, tokenizer, root / "downloads", root / "manifest.json")
    tokens = root / "tokens" / "manifest.json"
    build_cache(root / "manifest.json", tokenizer, tokens, workers=1)
    return tokens, tokenizer


def run_spec(**values: object) -> PretrainSpec:
    settings = {
        "corpus": "c",
        "tokenizer": "t",
        "discriminator": {
            "layers": 1, "hidden_size": 32, "embedding_size": 16, "attention_heads": 2,
            "intermediate_size": 64, "max_positions": 32, "head_size": 16,
        },
        "sequence_length": 16,
        "batch_size": 4,
        "steps": 30,
        "warmup_steps": 3,
        "learning_rate": 1e-3,
        "evaluation_every": 10,
        "evaluation_sequences": 8,
        "checkpoint_every": 5,
        **values,
    }  # fmt: skip
    return PretrainSpec(model="m-g50", generator_size=0.5, seed=3, settings=Pretraining.model_validate(settings))


def weights(record: Path) -> dict[str, str]:
    return {name: sha256(record.parent / name / "model.safetensors") for name in ("discriminator", "generator")}


@pytest.mark.parametrize("options", [{}, {"unigram_warmup": 0.5, "initialization": "position_aware_init"},
                                     {"gradient_accumulation": 2, "recipe": "google_code"}])  # fmt: skip
def test_a_run_stopped_anywhere_ends_with_the_same_bits(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    spec = run_spec(**options)
    whole = tmp_path / "whole" / "run.json"
    run_pretraining(spec, *inputs, whole, 1, "cpu")

    parts = tmp_path / "parts" / "run.json"
    train_step = Trainer.train_step
    for stop_at in (7, 13, 22):

        def dies(self: Trainer, stop_at: int = stop_at) -> torch.Tensor:
            if self.step == stop_at:
                raise RuntimeError("power cut")
            return train_step(self)

        monkeypatch.setattr(Trainer, "train_step", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            run_pretraining(spec, *inputs, parts, 1, "cpu")
        assert not parts.exists()
    monkeypatch.setattr(Trainer, "train_step", train_step)
    run_pretraining(spec, *inputs, parts, 1, "cpu")

    assert weights(parts) == weights(whole)
    quality, reference = (
        {k: v for k, v in read_record(p).metrics.items() if k != "tokens_per_second"} for p in (parts, whole)
    )
    assert quality == reference
    assert not (parts.parent / "checkpoints").exists()


def test_a_snapshot_is_the_discriminator_of_its_step_also_after_a_kill(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, seen = tmp_path / "run.json", {}
    train_step, dies_at = Trainer.train_step, 17

    def watched(self: Trainer) -> torch.Tensor:
        if self.step in (6, 15):
            seen[self.step] = self.pair.discriminator.layers[0].qkv.weight.detach().clone()
        if self.step == dies_at:
            raise RuntimeError("power cut")
        return train_step(self)

    monkeypatch.setattr(Trainer, "train_step", watched)
    spec = run_spec(snapshots=[0.2, 0.5])
    with pytest.raises(RuntimeError, match="power cut"):
        run_pretraining(spec, *inputs, record, 1, "cpu")
    dies_at = -1
    run_pretraining(spec, *inputs, record, 1, "cpu")
    for step, folder in ((6, "20"), (15, "50")):
        encoder, _ = load_encoder(record.parent / "snapshots" / folder)
        assert torch.equal(encoder.layers[0].qkv.weight, seen[step])
        assert (record.parent / "snapshots" / folder / "tokenizer.json").exists()


def test_kill_9_and_run_again(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    spec = run_spec(steps=400, checkpoint_every=20, evaluation_every=200)
    whole, killed = tmp_path / "whole" / "run.json", tmp_path / "killed" / "run.json"
    run_pretraining(spec, *inputs, whole, 1, "cpu")
    command = [
        sys.executable, "-m", "electralab", "pretrain", "--spec", spec.canonical(), "--tokens", str(inputs[0]),
        "--tokenizer", str(inputs[1]), "--device", "cpu", "--out", str(killed),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((killed.parent / "checkpoints").glob("step-*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists(), "the run ended before it could be killed"
    subprocess.run(command, check=True, capture_output=True)
    assert weights(killed) == weights(whole)


def test_sigterm_saves_and_says_how_to_go_on(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    spec = run_spec(steps=100_000, checkpoint_every=100_000)
    record = tmp_path / "run.json"
    command = [
        sys.executable, "-m", "electralab", "pretrain", "--spec", spec.canonical(), "--tokens", str(inputs[0]),
        "--tokenizer", str(inputs[1]), "--device", "cpu", "--out", str(record),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "evaluation.csv").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped by SIGTERM" in errors.splitlines()[-1] and "Traceback" not in errors
    assert len(list((tmp_path / "checkpoints").glob("step-*.pt"))) == 1


def test_a_loss_that_is_not_finite_names_step_and_checkpoint(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = Trainer.train_step

    def poisoned(self: Trainer) -> torch.Tensor:
        if self.step == 12:
            with torch.no_grad():
                self.pair.word_embeddings.fill_(float("nan"))
        return train_step(self)

    monkeypatch.setattr(Trainer, "train_step", poisoned)
    record = run_pretraining(run_spec(), *inputs, tmp_path / "run.json", 1, "cpu")
    assert record.status == "failed"
    assert re.search(r"the loss is nan at step 13; .*step-000000010\.pt.*learning_rate", record.reason or "")
    assert (tmp_path / "checkpoints" / "step-000000010.pt").exists()


def test_a_run_with_other_settings_starts_anew(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    trainer = Trainer(run_spec(), *inputs, tmp_path / "run.json", 1, torch.device("cpu"))
    trainer.step = 10
    trainer._save()
    other = Trainer(run_spec(learning_rate=2e-3), *inputs, tmp_path / "run.json", 1, torch.device("cpu"))
    other.resume()
    assert other.step == 0


def test_two_processes_never_write_the_same_run(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    from electralab.files import only_writer

    with only_writer(tmp_path), pytest.raises(UserError, match="another process"):
        run_pretraining(run_spec(), *inputs, tmp_path / "run.json", 1, "cpu")


def test_bf16_is_refused_on_a_cpu_without_it(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.raises(UserError, match="precision: bf16"):
        run_pretraining(run_spec(precision="bf16"), *inputs, tmp_path / "run.json", 1, "cpu")


def test_automatic_precision_is_fp32_on_a_cpu() -> None:
    assert not trainer_module._use_bf16(run_spec().settings, torch.device("cpu"))


def test_pretraining_learns_and_the_record_says_so(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    record = run_pretraining(run_spec(steps=120), *inputs, tmp_path / "run.json", 1, "cpu")
    rows = (tmp_path / "evaluation.csv").read_text().splitlines()
    assert len(rows) == 1 + 1 + 12
    assert record.metrics["mlm_loss"] < 4.0
    assert record.cost.tokens == 120 * 4 * 16
    assert set(record.cost.flops) == {"electra_paper", "matmul_3x"}
    assert read_record(tmp_path / "run.json") == record
