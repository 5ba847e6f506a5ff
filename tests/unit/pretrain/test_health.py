"""What a run's own numbers say of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pretraining import make_inputs, run_spec

from electralab.pretrain.health import Spikes, findings
from electralab.pretrain.schedule import learning_rate_factor
from electralab.pretrain.trainer import run_pretraining

# Numbers as a small model that has learnt gives them.
HEALTHY = {
    "step": 2400, "phase": "joint", "loss_spikes": 0, "rtd_auc_unigram": 0.84, "rtd_loss": 0.30,
    "rtd_base_entropy": 0.38, "mlm_loss": 5.2, "unigram_cross_entropy": 6.2,
}  # fmt: skip


def rows(**sick: Any) -> list[dict[str, Any]]:
    return [HEALTHY | {"step": 720, "phase": "unigram_warmup"}, HEALTHY | sick]


def test_a_healthy_run_is_left_alone() -> None:
    assert findings(rows(), 2400) == []


@pytest.mark.parametrize(
    ("sick", "words"),
    [
        ({"rtd_auc_unigram": 0.523}, ["discriminator has not learnt", "AUC 0.523", "learning_rate", "unigram_warmup"]),
        ({"rtd_loss": 0.381}, ["generator is too strong", "generator_sizes"]),
        ({"mlm_loss": 6.3}, ["no better than word frequencies", "learning_rate"]),
        ({"loss_spikes": 3}, ["jumped", "3 times", "warmup_steps"]),
    ],
)
def test_a_sick_run_is_told_what_to_change(sick: dict[str, Any], words: list[str]) -> None:
    (finding,) = findings(rows(**sick), 2400)
    assert [word for word in words if word not in finding] == []


def test_nobody_can_know_at_the_start() -> None:
    sick = {"rtd_auc_unigram": 0.5, "rtd_loss": 0.7, "mlm_loss": 9.0}
    assert findings([HEALTHY | sick | {"step": 500}], 2400) == []
    early = [HEALTHY | {"step": 720, "phase": "unigram_warmup"}, HEALTHY | {"step": 1000, "mlm_loss": 9.0}]
    assert findings(early, 2400) == [], "the generator has only begun"


def test_a_jump_of_the_loss_is_counted_once_and_noise_never() -> None:
    generator = torch.Generator().manual_seed(0)
    falling = [20 + 25 * 0.99**step + float(torch.randn((), generator=generator)) for step in range(600)]
    spikes = Spikes()
    for loss in falling:
        spikes.add(loss)
    assert spikes.count == 0
    spikes.add(45.0)
    spikes.add(20.0)
    assert spikes.count == 1


def test_evaluations_tell_the_rate_and_the_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def clipped(parameters: Any, largest: float) -> torch.Tensor:
        parameters = list(parameters)
        norms.append(float(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).norm()))
        return clip(parameters, largest)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clipped)
    spec = run_spec(learning_rate=1e-9)
    record = run_pretraining(spec, make_inputs(tmp_path / "inputs"), tmp_path / "run.json")
    with (tmp_path / "evaluation.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["gradient_norm"]) == pytest.approx(norms[29], rel=1e-4)
    assert float(last["learning_rate"]) == pytest.approx(1e-9 * learning_rate_factor(spec.settings, 29))
    assert any("no better than word frequencies" in note for note in record.notes)
    assert "warning: m-g50 seed 3: the generator predicts no better" in capsys.readouterr().err
    assert "gradient_norm" not in record.metrics
