"""Which weights go, against `torch.nn.utils.prune`, loops, and exact solutions of one-shot pruning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from experiments import refused, with_block
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn.utils import prune

from electralab.config import Prune, PruneFull
from electralab.errors import Unsuitable
from electralab.methods.pruning.masks import Dense, choose
from electralab.methods.pruning.prune import check_shapes
from electralab.methods.pruning.sparsegpt import DAMPING, sparsegpt


def layers(seed: int = 0, bias: bool = True) -> dict[str, nn.Linear]:
    torch.manual_seed(seed)
    return {"first": nn.Linear(12, 8, bias=bias), "second": nn.Linear(8, 20, bias=bias)}


def dense(of: dict[str, nn.Linear], bias: bool) -> dict[str, Dense]:
    return {name: Dense(layer.weight.detach(), layer.bias.detach() if bias else None) for name, layer in of.items()}


def torch_masks(of: dict[str, nn.Linear], settings: Prune) -> dict[str, torch.Tensor]:
    """Methods 2 to 7 as efficient ELECTRA called them."""
    kinds = ("weight", "bias") if settings.parts == "published" else ("weight",)
    if settings.among == "global":
        named = [(layer, kind) for layer in of.values() for kind in kinds]
        prune.global_unstructured(named, prune.L1Unstructured, amount=settings.sparsity)
    for layer in of.values():
        for kind in kinds:
            rows = settings.structure == "rows"
            if settings.among == "global":
                continue
            if settings.structure == "unstructured" or kind == "bias":  # which has neither rows nor columns
                prune.l1_unstructured(layer, kind, settings.sparsity)
            else:
                norm = 1 if settings.criterion == "l1" else 2
                prune.ln_structured(layer, kind, settings.sparsity, norm, dim=0 if rows else 1)
    return {
        f"{name}.{kind}": getattr(layer, f"{kind}_mask").bool()
        for name, layer in of.items()
        for kind in kinds
        if hasattr(layer, f"{kind}_mask")
    }


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.45, 0.65])
@pytest.mark.parametrize("parts", ["encoder", "published"])
@pytest.mark.parametrize(
    "what",
    [
        {"among": "global"},
        {},
        {"structure": "rows"},
        {"structure": "rows", "criterion": "l2"},
        {"structure": "columns"},
        {"structure": "columns", "criterion": "l2"},
    ],
    ids=["2", "3", "4", "5", "6", "7"],
)
def test_the_published_methods_are_those_of_torch(what, parts, rate):
    settings = Prune(sparsity=rate, parts=parts, **what)
    found = choose(dense(layers(), parts == "published"), settings, 0)
    wanted = torch_masks(layers(), settings)
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], mask) for name, mask in wanted.items())


def test_random_is_exact_over_all_layers_and_follows_the_seed():
    settings = Prune(criterion="random", among="global", sparsity=0.25)
    masks = [choose(dense(layers(), False), settings, seed) for seed in (0, 0, 1)]
    gone = [sum(int((~mask).sum()) for mask in found.values()) for found in masks]
    assert gone == [round(0.25 * (96 + 160))] * 3
    assert torch.equal(masks[0]["first.weight"], masks[1]["first.weight"])
    assert not torch.equal(masks[0]["first.weight"], masks[2]["first.weight"])


def moments_of(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.T @ inputs / len(inputs)


@pytest.mark.parametrize("structure", ["unstructured", "2:4"])
def test_wanda_by_loops(structure):
    """|w| times the norm of its input, compared within a row or within every four of it (Sun et al. 2024, eq. 1)."""
    (name, layer), inputs = next(iter(layers().items())), torch.randn(50, 12) * torch.rand(12) * 3
    settings = Prune(criterion="wanda", structure=structure)
    mask = choose({name: Dense(layer.weight.detach())}, settings, 0, {name: moments_of(inputs)})[f"{name}.weight"]
    for row in range(8):
        scores = [abs(float(layer.weight[row, i])) * float(inputs[:, i].norm()) for i in range(12)]
        groups = [range(12)] if structure == "unstructured" else [range(i, i + 4) for i in (0, 4, 8)]
        for group in groups:
            gone = sorted(group, key=lambda i: scores[i])[: len(group) // 2]
            assert [bool(mask[row, i]) for i in group] == [i not in gone for i in group]


def exact(weight: np.ndarray, moments: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Column by column, with the inverse for the columns that are left computed anew (Frantar and Alistarh, eq. 3)."""
    pruned = weight.astype(np.float64).copy()
    damped = moments.astype(np.float64) + DAMPING * moments.diagonal().mean() * np.eye(len(moments))
    for column in range(weight.shape[1]):
        inverse = np.linalg.inv(damped[column:, column:])
        for row in range(len(weight)):
            if not mask[row, column]:
                pruned[row, column:] -= pruned[row, column] / inverse[0, 0] * inverse[0]
                pruned[row, column] = 0.0
    return pruned


@pytest.mark.parametrize(
    ("inputs", "structure"), [(12, "unstructured"), (12, "2:4"), (160, "unstructured"), (160, "2:4")]
)
def test_sparsegpt_makes_up_for_what_goes(inputs, structure):
    """Also over a border between blocks."""
    torch.manual_seed(1)
    weight, vectors = torch.randn(6, inputs), torch.randn(500, inputs) @ torch.randn(inputs, inputs) / inputs**0.5
    moments, setting = moments_of(vectors), Prune(criterion="sparsegpt", structure=structure)
    pruned, mask = sparsegpt(weight, moments, setting)
    np.testing.assert_allclose(pruned.numpy(), exact(weight.numpy(), moments.numpy(), mask.numpy()), atol=2e-3)
    assert int((pruned == 0).sum()) == round(0.5 * weight.numel()) and torch.equal(pruned != 0, mask)
    if structure == "2:4":
        assert (mask.view(6, -1, 4).sum(2) == 2).all()
    magnitude = choose({"x": Dense(weight)}, Prune(structure=structure), 0)["x.weight"]
    errors = [float(((weight - kept) @ vectors.T).norm()) for kept in (pruned, weight * magnitude)]
    assert errors[0] < 0.9 * errors[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.floats(0, 0.99), st.integers(0, 3))
def test_counts_are_exact_whatever_the_shape(outputs, inputs, rate, seed):
    torch.manual_seed(seed)
    weight = torch.randint(-2, 3, (outputs, inputs)).float()  # with ties and zeros
    for what in ({}, {"among": "global"}, {"structure": "rows"}, {"structure": "columns"}):
        mask = choose({"x": Dense(weight)}, Prune(sparsity=rate, **what), 0)["x.weight"]
        count = {"rows": outputs, "columns": inputs}.get(what.get("structure", ""), weight.numel())
        size = weight.numel() // count
        assert int((~mask).sum()) == size * round(rate * count)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sparsity": 1.0}, "less than 1"),
        ({"sparsity": -0.1}, "greater than or equal to 0"),
        ({"structure": "2:4", "sparsity": 0.4}, "structure 2:4 is a sparsity of 0.5"),
        ({"among": "global", "structure": "rows"}, "among: global is for unstructured l1 and random"),
        ({"criterion": "wanda", "structure": "rows"}, "prunes single weights, or 2:4"),
        ({"criterion": "sparsegpt", "parts": "published"}, "of parts: encoder alone"),
        ({"criterion": "l2"}, "single weights are pruned by l1"),
        ({"criterion": "random", "structure": "columns"}, "by criterion l1 or l2"),
    ],
)
def test_settings_that_no_method_has(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Prune(**wrong)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "prune", "sparsity": 0.5},
        {"kind": "prune_full", "sparsity": 0.5},
        {"kind": "prune_as_you_tune", "sparsity": 0.5},
        {"kind": "remove", "neurons": 0.5},
        {"kind": "remove_heads", "heads": 0.5},
        {"kind": "remove_heads", "neurons": 0.5},
    ],
)
def test_a_share_outside_0_and_1_is_one_line(settings, share):
    *_, name = settings
    line = refused(with_block({"wrong": settings | {name: share}}, methods=["wrong"]))
    said = ("less than 1", "greater than", "finite")
    assert f"methods.wrong.{name}" in line and any(words in line for words in said)


def test_fours_have_to_be_whole():
    with pytest.raises(Unsuitable, match="a test: odd has 6 inputs, no multiple of 4: use structure unstructured"):
        check_shapes({"odd": Dense(torch.ones(4, 6))}, "2:4", 0.5, "a test")


def test_what_looks_at_a_trained_model_cannot_come_before_training():
    with pytest.raises(ValidationError, match="use a method of kind prune"):
        PruneFull(criterion="sparsegpt")
