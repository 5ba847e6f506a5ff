"""Schedule, optimizer, metrics and checkpoints of pretraining against independent references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from transformers import get_linear_schedule_with_warmup

from electralab.config import Pretraining
from electralab.pretrain.detection import area_under_curve, detection_metrics
from electralab.pretrain.optimizer import build_optimizer, set_learning_rate
from electralab.pretrain.schedule import learning_rate_factor


def pretraining(**values: object) -> Pretraining:
    return Pretraining.model_validate({"corpus": "c", "tokenizer": "t", **values})


def test_linear_decay_is_that_of_transformers() -> None:
    spec = pretraining(steps=100, warmup_steps=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = get_linear_schedule_with_warmup(optimizer, 10, 100)
    ours, theirs = [], []
    for step in range(100):
        ours.append(learning_rate_factor(spec, step))
        theirs.append(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    # Ours trains at step 0 where transformers wastes it at rate 0; from the end of the warm-up both are equal.
    assert ours[10:] == pytest.approx(theirs[10:])
    assert ours[:9] == pytest.approx(theirs[1:10])


def test_google_warmup_multiplies_a_running_decay() -> None:
    spec = pretraining(recipe="google_code", steps=1000, warmup_steps=100)
    assert learning_rate_factor(spec, 0) == 0
    assert learning_rate_factor(spec, 50) == pytest.approx(0.5 * 0.95)
    assert learning_rate_factor(spec, 500) == pytest.approx(0.5)


@given(st.integers(1, 500), st.integers(0, 600), st.sampled_from(["linear", "warmup_times_decay", "flat_then_linear"]))
@settings(max_examples=60, deadline=None)
def test_factor_stays_in_bounds(steps: int, warmup: int, schedule: str) -> None:
    spec = pretraining(steps=steps, warmup_steps=warmup, schedule=schedule)
    factors = [learning_rate_factor(spec, step) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)


@pytest.mark.parametrize("bias_correction", [True, False])
def test_adam_is_the_equation(bias_correction: bool) -> None:
    """Kingma and Ba 2015, algorithm 1, with decoupled decay; Google's variant leaves the moments uncorrected."""
    spec = pretraining(
        adam_bias_correction=bias_correction, learning_rate=0.01, weight_decay=0.1, steps=20, warmup_steps=0
    )
    torch.manual_seed(0)
    model = torch.nn.Module()
    model.word = torch.nn.Parameter(torch.randn(5, 3))
    model.weight = torch.nn.Parameter(torch.randn(4, 3))
    model.bias = torch.nn.Parameter(torch.randn(4))
    values = {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}
    moments = {name: (np.zeros_like(v), np.zeros_like(v)) for name, v in values.items()}
    optimizer = build_optimizer(model, model.word, spec)
    beta1, beta2 = spec.adam_betas
    for step in range(20):
        factor = learning_rate_factor(spec, step)
        set_learning_rate(optimizer, spec, step, factor)
        rate = 0.01 * factor
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            gradient = parameter.grad.double().numpy()
            m, v = moments[name]
            m[:] = beta1 * m + (1 - beta1) * gradient
            v[:] = beta2 * v + (1 - beta2) * gradient**2
            m_hat, v_hat = m, v
            if bias_correction:
                m_hat, v_hat = m / (1 - beta1 ** (step + 1)), v / (1 - beta2 ** (step + 1))
            values[name] *= 1 - rate * (0.1 if parameter.ndim > 1 else 0.0)
            values[name] -= rate * m_hat / (np.sqrt(v_hat) + spec.adam_epsilon)
        optimizer.step()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), values[name], rtol=2e-4, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(2, 200), st.booleans())
@settings(max_examples=60, deadline=None)
def test_area_under_curve_is_that_of_scikit_learn(seed: int, size: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=size).round(1 if ties else 12)
    labels = rng.random(size) < 0.3
    labels[:2] = [True, False]
    assert area_under_curve(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores))


def test_detection_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    replaced = rng.random(4000) < 0.14
    logits = (rng.normal(size=4000) + replaced - 1.0).astype(np.float32)
    found = detection_metrics(logits, replaced)
    flagged = logits > 0
    assert found["rtd_precision"] == pytest.approx(sk.precision_score(replaced, flagged))
    assert found["rtd_recall"] == pytest.approx(sk.recall_score(replaced, flagged))
    assert found["rtd_accuracy"] == pytest.approx(sk.accuracy_score(replaced, flagged))
    assert found["rtd_balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(replaced, flagged))
    assert found["rtd_loss"] == pytest.approx(sk.log_loss(replaced, 1 / (1 + np.exp(-logits.astype(float)))))
    # At the base-rate threshold as many tokens are flagged as were replaced, so precision equals recall.
    count = int(replaced.sum())
    top = np.argsort(-logits)[:count]
    assert found["rtd_recall_at_base_rate"] == pytest.approx(replaced[top].mean())
    rate = replaced.mean()
    assert found["rtd_base_entropy"] == pytest.approx(-rate * math.log(rate) - (1 - rate) * math.log(1 - rate))


def test_a_constant_answer_scores_nothing() -> None:
    replaced = np.zeros(100, dtype=bool)
    replaced[:15] = True
    found = detection_metrics(np.full(100, -2.0, dtype=np.float32), replaced)
    assert found["rtd_auc"] == 0.5
    assert found["rtd_accuracy"] == 0.85
    assert found["rtd_recall"] == 0.0
