"""Rates per layer, schedules and Adam against their sources, written a second time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from electralab.config import FullFinetuning, Pretraining
from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.finetune.encoder.classifier import Classifier
from electralab.finetune.optimizer import build_optimizer, schedule_factor, set_learning_rate
from electralab.finetune.trained_model import TrainedModel
from electralab.pretrain.schedule import learning_rate_factor

RULES = ["paper", "google_code", "rc2020"]


def make_classifier(layers, head="linear"):
    torch.manual_seed(0)
    shape = ElectraConfig(60, 16, 32, layers, 4, 48, max_positions=24)  # 16 -> 32: with an embeddings_project
    return Classifier(Encoder(shape), 2, "cls", 0.0, head)


def rates(classifier, rate, **settings):
    """The optimizer's rate of every parameter, by name."""
    optimizer = build_optimizer(classifier, rate, FullFinetuning(**settings))
    by_id = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    return {name: by_id[id(parameter)] for name, parameter in classifier.named_parameters()}


def google_layer_lrs(learning_rate, layer_decay, n_layers):
    """`_get_layer_lrs` of google-research/electra, `model/optimization.py`, as quoted in its issue #51."""
    depths = {"embeddings": 0, "embeddings_project": 0, "task_specific": n_layers + 2}
    for layer in range(n_layers):
        depths[f"layer_{layer}"] = layer + 1
    return {key: learning_rate * layer_decay ** (n_layers + 2 - depth) for key, depth in depths.items()}


def paper_layer_lrs(learning_rate, layer_decay, n_layers):
    """Each layer has the rate of the one above it times the decay (ELECTRA paper, appendix B)."""
    found, rate = {}, learning_rate
    for key in ["task_specific", *(f"layer_{layer}" for layer in reversed(range(n_layers))), "embeddings"]:
        found[key], rate = rate, rate * layer_decay
    return found | {"embeddings_project": found["embeddings"]}


def rc2020_layer_lrs(learning_rate, layer_decay, n_layers):
    """Counted from the top: the head and the top layer together, the lowest layer and the embeddings together."""
    found = {f"layer_{n_layers - 1 - below}": learning_rate * layer_decay**below for below in range(n_layers)}
    ends = {"task_specific": learning_rate, "embeddings": found["layer_0"], "embeddings_project": found["layer_0"]}
    return found | ends


SOURCES = {"paper": paper_layer_lrs, "google_code": google_layer_lrs, "rc2020": rc2020_layer_lrs}


def key_of(name):
    """Our parameter under the name that the source gives its group."""
    if name.startswith("head."):
        return "task_specific"
    part = name.removeprefix("encoder.").split(".")
    return f"layer_{part[1]}" if part[0] == "layers" else part[0]


@pytest.mark.parametrize("head", ["linear", "huggingface"])
@pytest.mark.parametrize("rule", RULES)
def test_every_parameter_of_a_twelve_layer_model_has_the_rate_of_the_source(rule, head):
    found = rates(make_classifier(12, head), 1e-4, layerwise_lr_decay=0.8, layerwise_lr_decay_rule=rule)
    expected = SOURCES[rule](1e-4, 0.8, 12)
    assert {key_of(name) for name in found} == set(expected)
    for name, rate in found.items():
        assert rate == pytest.approx(expected[key_of(name)], rel=1e-12), name


def test_the_ends_of_a_twelve_layer_model():
    """What issue #51 says of the code, and the paper's rule, as powers of the decay."""
    expected = {"google_code": (0, 2, 13, 14), "paper": (0, 1, 12, 13), "rc2020": (0, 0, 11, 11)}
    classifier = make_classifier(12)
    for rule, exponents in expected.items():
        found = rates(classifier, 1.0, layerwise_lr_decay=0.8, layerwise_lr_decay_rule=rule)
        names = ("head.weight", "encoder.layers.11.qkv.weight", "encoder.layers.0.qkv.weight")
        ends = [found[name] for name in (*names, "encoder.embeddings_project.weight")]
        assert [round(math.log(rate) / math.log(0.8), 6) for rate in ends] == list(exponents)


def test_recipes_choose_rule_schedule_and_adam():
    google, paper, theirs = (FullFinetuning(recipe=recipe) for recipe in ("google_code", "paper", "huggingface"))
    assert (google.layerwise_lr_decay_rule, google.adam_bias_correction) == ("google_code", False)
    assert google.learning_rates == [1e-4] and google.weight_decay == 0.01 and google.double_unordered
    assert paper.learning_rates == [3e-4] and paper.weight_decay == 0.0 and paper.layerwise_lr_decay_rule == "paper"
    assert set(rates(make_classifier(3), 5e-5, **theirs.model_dump()).values()) == {5e-5}


@given(st.floats(1e-5, 1e-2), st.floats(0.1, 1.0), st.integers(1, 4), st.sampled_from(RULES))
def test_first_update_moves_every_parameter_by_the_rate_of_its_layer(rate, decay, layers, rule):
    """Adam's first step is rate x sign(gradient), so the rates are read off the weights themselves."""
    classifier = make_classifier(layers).double()
    before = {name: parameter.detach().clone() for name, parameter in classifier.named_parameters()}
    settings = FullFinetuning(layerwise_lr_decay=decay, layerwise_lr_decay_rule=rule)
    optimizer = build_optimizer(classifier, rate, settings)
    for parameter in classifier.parameters():
        parameter.grad = torch.ones_like(parameter)
    set_learning_rate(optimizer, settings, 0, 1.0)
    optimizer.step()
    expected = SOURCES[rule](rate, decay, layers)
    for name, parameter in classifier.named_parameters():
        moved = (before[name] - parameter.detach()).mean().item()
        assert moved == pytest.approx(expected[key_of(name)], rel=1e-4), name


def test_weight_decay_spares_layernorm_and_biases_and_every_parameter_is_in_one_group():
    classifier = make_classifier(3, "huggingface")
    optimizer = build_optimizer(classifier, 1e-3, FullFinetuning(weight_decay=0.01))
    decay = {id(parameter): group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    listed = sum(len(group["params"]) for group in optimizer.param_groups)
    assert listed == len(decay) == len(list(classifier.parameters()))
    norms = {id(p) for module in classifier.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    for name, parameter in classifier.named_parameters():
        spared = id(parameter) in norms or name.endswith("bias")
        assert decay[id(parameter)] == (0.0 if spared else 0.01), name


class Parts(TrainedModel):
    """What `build_optimizer` reads of a classifier: one weight of the head, one of the top layer."""

    def __init__(self):
        super().__init__()
        self.encoder_layers = 1
        self.head = nn.Linear(3, 1, bias=False)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList([nn.Linear(3, 1, bias=False)])


def google_adam(weight, gradients, rate, decay, epsilon):
    """`AdamWeightDecayOptimizer` of google-research/electra: no bias correction, decoupled weight decay."""
    m, v = np.zeros_like(weight), np.zeros_like(weight)
    for gradient, factor in gradients:
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight = weight - rate * factor * (m / (np.sqrt(v) + epsilon) + decay * weight)
    return weight


@given(st.floats(0, 0.1), st.sampled_from([1e-6, 1e-3]), st.integers(1, 12), st.integers(0, 9))
def test_adam_without_bias_correction_is_googles(decay, epsilon, steps, seed):
    torch.manual_seed(seed)
    parts = Parts().double()
    options = {"weight_decay": decay, "adam_epsilon": epsilon, "adam_bias_correction": False}
    settings = FullFinetuning(**options, layerwise_lr_decay_rule="google_code")
    start = {name: parameter.detach().numpy().copy() for name, parameter in parts.named_parameters()}
    optimizer = build_optimizer(parts, 1e-2, settings)
    gradients = []
    for step in range(steps):
        gradient, factor = torch.randn(1, 3, dtype=torch.float64), (step + 1) / steps
        for parameter in parts.parameters():
            parameter.grad = gradient.clone()
        set_learning_rate(optimizer, settings, step, factor)
        optimizer.step()
        gradients.append((gradient.numpy(), factor))
    for name, rate in (("head.weight", 1e-2), ("encoder.layers.0.weight", 1e-2 * 0.8**2)):
        expected = google_adam(start[name], gradients, rate, decay, epsilon)
        np.testing.assert_allclose(parts.get_parameter(name).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@given(st.integers(1, 60), st.floats(0, 0.9))
def test_the_linear_schedule_is_that_of_transformers(steps, warmup_fraction):
    from transformers import get_linear_schedule_with_warmup

    warmup = int(warmup_fraction * steps)
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_linear_schedule_with_warmup(reference, warmup, steps)
    settings = FullFinetuning()
    ours = build_optimizer(Parts(), 0.3, settings)
    for step in range(steps):
        set_learning_rate(ours, settings, step, schedule_factor("linear", step, steps, warmup))
        assert ours.param_groups[0]["lr"] == pytest.approx(0.3 * schedule.get_last_lr()[0], abs=1e-12)
        reference.step()
        schedule.step()


@given(st.integers(1, 60), st.floats(0, 0.9))
def test_warmup_times_decay_is_googles_and_pretrainings(steps, warmup_fraction):
    """`polynomial_decay` of power 1 to 0, then `min(1, step / warmup)` times it."""
    warmup = int(warmup_fraction * steps)
    pretraining = Pretraining(
        corpus="c", tokenizer="t", steps=steps, warmup_steps=warmup, schedule="warmup_times_decay"
    )
    for step in range(steps):
        decayed = (1.0 - 0.0) * (1 - min(step, steps) / steps) + 0.0
        expected = decayed * min(1.0, step / warmup if warmup else 1.0)
        found = schedule_factor("warmup_times_decay", step, steps, warmup)
        assert found == pytest.approx(expected, abs=1e-12)
        assert found == pytest.approx(learning_rate_factor(pretraining, step), abs=1e-12)
