"""A training step and an evaluation against the sums that they stand for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tiny_pretraining import make_inputs, run_spec

from electralab.pretrain.inputs import Inputs
from electralab.pretrain.trainer import Trainer

CPU = torch.device("cpu")
KINDS = [
    {"recipe": "google_code", "adam_bias_correction": True},
    {"recipe": "rc2020"},
    {"batches": "sentence_pair", "unigram_warmup": 0.5},
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def trainer(inputs: Inputs, folder: Path, **values: object) -> Trainer:
    settings = {"dropout": 0.0, "attention_dropout": 0.0, "batch_size": 16, "sequence_length": 32, **values}
    return Trainer(run_spec(**settings), inputs, folder / "run.json", 1, CPU)


@pytest.mark.parametrize("kind", KINDS, ids=["google_code", "rc2020", "warm-up"])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any]
) -> None:
    """The losses are means over a step's tokens, whose numbers differ between its micro-batches."""
    run = trainer(inputs, tmp_path, gradient_accumulation=4, clip_norm=1e9, **kind)
    monkeypatch.setattr(run.optimizer, "step", lambda: None)
    monkeypatch.setattr(run.optimizer, "zero_grad", lambda set_to_none: None)
    seen = []
    draw = type(run.batches).draw
    monkeypatch.setattr(type(run.batches), "draw", lambda *args: seen.append(draw(*args)) or seen[-1])
    for run.step in range(12):
        seen.clear()
        run.pair.zero_grad()
        run.train_step()
        if len({run.objective.totals(*part[:3]) for part in seen}) > 1:
            break
    assert len(seen) == 4 and len({run.objective.totals(*part[:3]) for part in seen}) > 1
    trained = {name: p.grad.clone() for name, p in run.pair.named_parameters() if p.grad is not None}
    run.pair.zero_grad()

    # Independently: sums over the parts, divided once.
    tokens = predictions = 0.0
    summed = torch.zeros(())
    unigram = bool(kind.get("unigram_warmup"))
    for part in seen:
        result = replace(run.objective, generator_weight=0.0, discriminator_weight=1.0)(
            run.pair, *part, noise="unigram" if unigram else "generator"
        )
        counted = result.counted if result.counted is not None else torch.ones_like(result.replaced)
        tokens += float(counted.sum())
        predictions += float(part.masking.predicted)
        summed = summed + 50 * result.loss * counted.sum()
    total = summed / tokens
    if not unigram:
        for part in seen:
            result = replace(run.objective, generator_weight=1.0, discriminator_weight=0.0)(run.pair, *part)
            total = total + result.loss * part.masking.predicted / predictions
    total.backward()
    for name, gradient in trained.items():
        torch.testing.assert_close(gradient, run.pair.get_parameter(name).grad, rtol=2e-3, atol=2e-6)
    assert run.readings.latest.loss == pytest.approx(total.item(), rel=1e-5)
    assert run.losses is not None
    mlm, rtd = run.losses
    assert (mlm is None) == unigram
    assert 50 * float(rtd) + float(mlm or 0) == pytest.approx(total.item(), rel=1e-5)


@pytest.mark.parametrize("recipe", ["paper", "google_code", "rc2020"])
def test_an_evaluation_does_not_depend_on_the_micro_batch(inputs: Inputs, tmp_path: Path, recipe: str) -> None:
    found = [
        run.evaluate(run.pair)
        for run in (
            trainer(inputs, tmp_path, recipe=recipe, gradient_accumulation=parts, evaluation_sequences=40)
            for parts in (1, 2, 8)
        )
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


def test_rc2020_is_scored_on_the_tokens_that_it_trains_on(inputs: Inputs, tmp_path: Path) -> None:
    """Not on [CLS], [SEP] and padding, which are never replaced and which its discriminator never learns about."""
    run = trainer(inputs, tmp_path, recipe="rc2020", evaluation_sequences=16)
    found = run.evaluate(run.pair)
    drawn = run.evaluate.batches.draw(0, torch.Generator().manual_seed(1))
    run.pair.eval()
    with torch.no_grad():
        result = run.objective(run.pair, *drawn)
    ordinary = ~np.isin(drawn.input_ids.numpy(), [0, 1, 2, 3, 4])
    replaced = result.replaced.numpy()[ordinary]
    assert found["rtd_base_rate"] == pytest.approx(replaced.mean())
    assert found["rtd_auc"] == pytest.approx(roc_auc_score(replaced, result.rtd_logits.numpy()[ordinary]))
