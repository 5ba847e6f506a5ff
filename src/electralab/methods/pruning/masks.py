"""Which weights stay: a mask a tensor, by norm, by chance, or by what enters a layer.

The published methods 1 to 7 of efficient ELECTRA are `random` and `l1` among all layers, `l1` within a layer, and rows
and columns by `l1` and `l2`. Counts are exact: of n weights, rows or columns round(sparsity * n) go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from electralab.config import Pruning

Masks = dict[str, Tensor]  # bool, true where a weight stays


class Dense(NamedTuple):
    """A dense layer: its weight [out, in], and its bias [out] where that is pruned too."""

    weight: Tensor
    bias: Tensor | None = None


def choose(
    layers: Mapping[str, Dense], settings: Pruning, seed: int, moments: Mapping[str, Tensor] | None = None
) -> Masks:
    """A mask for every weight, under the layer's name with `.weight`, and for every bias under `.bias`.

    Args:
        layers: by name.
        settings: what goes; `sparsegpt` changes weights too and is not chosen here.
        seed: of `random`.
        moments: of `wanda`: mean products of a layer's inputs, [in, in], by the layer's name.
    """
    if settings.structure in ("rows", "columns"):
        return {name: mask for layer in layers for name, mask in _structured(layer, layers[layer], settings).items()}
    tensors = _tensors(layers)
    if settings.criterion == "wanda":
        assert moments is not None, "wanda looks at inputs"
        scores = {
            f"{name}.weight": layer.weight.detach().abs() * moments[name].diagonal().sqrt()
            for name, layer in layers.items()
        }
        return {name: by_row(score, settings) for name, score in scores.items()}
    scores = {name: tensor.detach().abs().float() for name, tensor in tensors.items()}
    if settings.criterion == "random":
        generator = torch.Generator().manual_seed(seed)
        scores = {name: torch.rand(tensor.shape, generator=generator) for name, tensor in tensors.items()}
    if settings.structure == "2:4":
        return {name: two_of_four(score) for name, score in scores.items() if score.dim() == 2}
    if settings.among == "layer":
        return {name: smallest_go(score, settings.sparsity) for name, score in scores.items()}
    return dict(zip(scores, smallest_of_all_go(list(scores.values()), settings.sparsity)))


def by_row(scores: Tensor, settings: Pruning) -> Tensor:
    """A mask [out, in] of the weights with the smallest scores of every row, or of every four in it."""
    if settings.structure == "2:4":
        return two_of_four(scores)
    kept = torch.ones_like(scores, dtype=torch.bool)
    gone = scores.argsort(dim=1, stable=True)[:, : round(settings.sparsity * scores.shape[1])]
    return kept.scatter_(1, gone, False)


def two_of_four(scores: Tensor) -> Tensor:
    """A mask [out, in] of the two with the smallest scores of every four inputs."""
    fours = scores.reshape(len(scores), -1, 4)
    kept = torch.ones_like(fours, dtype=torch.bool)
    return kept.scatter_(2, fours.argsort(dim=2, stable=True)[..., :2], False).view(scores.shape)


def _tensors(layers: Mapping[str, Dense]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, layer in layers.items():
        found[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            found[f"{name}.bias"] = layer.bias
    return found


def _structured(name: str, layer: Dense, settings: Pruning) -> Masks:
    """Whole rows or columns; of biases, which have neither, the smallest, as efficient ELECTRA does."""
    norm = 1 if settings.criterion == "l1" else 2
    rows = settings.structure == "rows"
    kept = smallest_go(layer.weight.detach().float().norm(norm, dim=1 if rows else 0), settings.sparsity)
    mask = kept[:, None] if rows else kept[None, :]
    masks = {f"{name}.weight": mask.expand(layer.weight.shape).clone()}
    if layer.bias is not None:
        masks[f"{name}.bias"] = smallest_go(layer.bias.detach().abs(), settings.sparsity)
    return masks


def smallest_go(scores: Tensor, sparsity: float) -> Tensor:
    """True but for the share of smallest scores; of equal ones the first go."""
    kept = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    kept[scores.flatten().argsort(stable=True)[: round(sparsity * scores.numel())]] = False
    return kept.view(scores.shape)


def smallest_of_all_go(scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """The same among several tensors."""
    kept = smallest_go(torch.cat([score.flatten() for score in scores]), sparsity)
    parts = torch.split(kept, [score.numel() for score in scores])
    return [part.view(score.shape) for score, part in zip(scores, parts)]
