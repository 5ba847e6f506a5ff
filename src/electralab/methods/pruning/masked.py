"""A classifier of ours in training whose zeros stay zeros."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from electralab.config import Pruning
from electralab.finetune.encoder.classifier import Classifier
from electralab.methods.pruning.masks import Dense, Masks, choose

PARTS = ("query", "key", "value")  # of the one matrix that our encoder has


class MaskedClassifier(Classifier):
    """Weights that a mask leaves out are zero before training and after every update."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.masks: Masks = {}  # by the parameter's name
        self._pairs: list[tuple[nn.Parameter, Tensor]] = []

    def keep_zero(self, masks: Masks) -> None:
        """Set to zero what masks leave out, from now on."""
        self.masks, self._pairs = masks, []
        self._zero()

    def after_update(self, step: int) -> None:  # noqa: ARG002
        """Zero again what the optimizer moved."""
        self._zero()

    def _zero(self) -> None:
        if not self._pairs:  # after the model is on its device
            named = dict(self.named_parameters())
            self._pairs = [(named[name], mask.to(named[name].device)) for name, mask in self.masks.items()]
        with torch.no_grad():
            for parameter, mask in self._pairs:
                parameter.mul_(mask.to(parameter.device))

    def zeros(self) -> float:
        """Share of what has a mask that is zero."""
        found = [parameter for name, parameter in self.named_parameters() if name in self.masks]
        return sum(int((tensor == 0).sum()) for tensor in found) / max(sum(tensor.numel() for tensor in found), 1)


def chosen_masks(model: Classifier, settings: Pruning, seed: int) -> Masks:
    """Masks by the names of parameters; query, key and value are layers of their own, as published."""
    found: Masks = {}
    for name, mask in choose(dense_layers(model, settings.parts), settings, seed).items():
        module, _, kind = name.rpartition(".")
        layer, _, part = module.rpartition(".")
        if part in PARTS:  # which come one after the other
            fused = f"{layer}.qkv.{kind}"
            found[fused] = torch.cat([found[fused], mask]) if fused in found else mask
        else:
            found[name] = mask
    return found


def zero_masks(model: Classifier) -> Masks:
    """Masks of what is zero in dense layers."""
    masks = {
        f"{name}.{kind}": tensor.detach() != 0
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        for kind, tensor in layer.named_parameters()
    }
    return {name: mask for name, mask in masks.items() if not mask.all()}


def dense_layers(model: Classifier, parts: str) -> dict[str, Dense]:
    """The dense layers that are pruned, by name (see `sparsity.dense_layers`)."""
    published, found = parts == "published", {}
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear) or (name.startswith("head") and not published):
            continue
        weights, biases = layer.weight.detach(), layer.bias.detach()
        if name.endswith(".qkv"):
            for part, weight, bias in zip(PARTS, weights.chunk(3), biases.chunk(3)):
                found[f"{name.removesuffix('qkv')}{part}"] = Dense(weight, bias if published else None)
        else:
            found[name] = Dense(weights, biases if published else None)
    return found
