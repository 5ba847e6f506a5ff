"""Training in bf16 on a CPU: what a step computes, that it sees the weights of now, and that scores stay fp32."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from chains import fetched, predictions, run_chain
from finetune_task import write_task
from torch import Tensor, nn

from electralab.config import FullFinetuning
from electralab.finetune import loop
from electralab.finetune.examples import EncodedExamples, training_batches
from electralab.finetune.loop import predict, train_model
from electralab.finetune.objective import Classification
from electralab.finetune.trained_model import TrainedModel

ROWS, WORDS, RATE = 64, 12, 0.05
SETTINGS = FullFinetuning(
    epochs=3, batch_size=16, precision="bf16_where_native", warmup_fraction=0, layerwise_lr_decay=1, dropout=0
)


class Bag(TrainedModel):
    """Two dense layers on the mean of word vectors; in bf16 by casting everything by hand where that is asked for."""

    def __init__(self, by_hand: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.dense, self.head = nn.Embedding(WORDS, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        self.by_hand, self.seen = by_hand, set[torch.dtype]()

    def forward(self, input_ids: Tensor, *_: Tensor | None) -> Tensor:
        hidden = torch.tanh(self._product(self.dense, self.words(input_ids).mean(1)))
        logits = self._product(self.head, hidden)
        self.seen.add(logits.dtype)
        return logits

    def _product(self, layer: nn.Linear, hidden: Tensor) -> Tensor:
        if not (self.by_hand and self.training):
            return layer(hidden)
        return F.linear(hidden.bfloat16(), layer.weight.bfloat16(), layer.bias.bfloat16())


@pytest.fixture(scope="module")
def rows() -> EncodedExamples:
    generator = np.random.default_rng(0)
    tokens = generator.integers(2, WORDS, ROWS * 6)
    labels = (tokens.reshape(ROWS, 6).mean(axis=1) > (WORDS + 1) / 2).astype(np.int64)
    return EncodedExamples(tokens, np.arange(0, 6 * ROWS + 1, 6), np.full(ROWS, 6), labels, 0)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "multiplies_bf16", lambda _: True)


def trained(model: Bag, rows: EncodedExamples, settings: FullFinetuning = SETTINGS) -> Bag:
    train_model(model, Classification(2), rows, np.arange(ROWS), settings, RATE, 0, "cpu", "a test")
    return model


def by_hand(rows: EncodedExamples) -> Bag:
    """The same training without autocast: every weight is cast anew in every step."""
    model = Bag(by_hand=True)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, eps=SETTINGS.adam_epsilon, weight_decay=0)
    steps, step = SETTINGS.epochs * math.ceil(ROWS / SETTINGS.batch_size), 0
    for epoch in range(SETTINGS.epochs):
        for batch in training_batches(np.arange(ROWS), rows.lengths, SETTINGS.batch_size, 0, epoch):
            optimizer.param_groups[0]["lr"] = RATE * (steps - step) / steps
            ids, _, _, labels = rows.batch(batch)
            F.cross_entropy(model(ids).float(), labels).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    return model


def distance(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of two weights."""
    return max(float((a - b).detach().abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.usefixtures("native")
def test_every_step_reads_the_weights_of_now(rows: EncodedExamples) -> None:
    expected = by_hand(rows)
    assert distance(trained(Bag(), rows), expected) < 1e-3
    # What one context around all steps would do: it keeps the first step's copies of the weights.
    with torch.autocast("cpu", torch.bfloat16):
        stale = trained(Bag(), rows)
    assert distance(stale, expected) > 0.05


@pytest.mark.usefixtures("native")
def test_weights_and_answers_are_fp32(rows: EncodedExamples) -> None:
    model = trained(Bag(), rows)
    assert model.seen == {torch.bfloat16}
    model.seen.clear()
    answers = predict(model, Classification(2), rows, np.arange(ROWS), "cpu", "a test")
    assert model.seen == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert (answers.argmax(axis=1) == rows.labels).mean() > 0.8


def test_elsewhere_and_by_default_it_is_fp32(rows: EncodedExamples, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SETTINGS.model_copy(update={"precision": "fp32"})
    monkeypatch.setattr(loop, "multiplies_bf16", lambda _: False)
    expected = trained(Bag(), rows, plain)
    assert distance(trained(Bag(), rows), expected) == 0
    monkeypatch.setattr(loop, "multiplies_bf16", lambda _: True)
    assert distance(trained(Bag(), rows, plain), expected) == 0
    assert distance(trained(Bag(), rows), expected) > 0
    assert "precision" not in FullFinetuning().without_defaults()


@pytest.mark.parametrize("native", [True, False])
def test_the_record_says_what_was_computed_in(native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an encoder and of an adapter, which are trained by the same loop."""
    monkeypatch.setattr(loop, "multiplies_bf16", lambda _: native)
    task, encoder = write_task(tmp_path / "words"), fetched(tmp_path, "encoder")
    told = {"learning_rates": [1e-2], "epochs": 4, "batch_size": 16, "max_length": 32}
    said = "trained in bf16" if native else "this processor multiplies no bf16: computed in fp32"
    for kind in ("full", "lora")[: 1 + native]:
        settings = told | {"kind": kind, "precision": "bf16_where_native"}
        record = run_chain(tmp_path, task, encoder, **{kind: settings})[kind]
        assert record.status == "ok", record.reason
        assert f"bf16_where_native: {said}" in record.notes
        assert record.metrics["accuracy"] > record.metrics["majority_rate"]
        assert len(predictions(tmp_path / kind)) == 200
