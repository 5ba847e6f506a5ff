"""BERT and DistilBERT read as ELECTRA: the same network under other names.

BERT is ELECTRA with embeddings as wide as the layers; so are TinyBERT and MiniLM. DistilBERT has no token types, which
a table of zeros says. Poolers and heads of other objectives are left behind.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

ARCHITECTURES = ("electra", "bert", "distilbert")
# What `config.json` must say, if it says anything: our encoder does nothing else.
REQUIRED = {"hidden_act": "gelu", "activation": "gelu", "position_embedding_type": "absolute", "is_decoder": False}

DISTILBERT_FIELDS = {
    "vocab_size": "vocab_size",
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "pad_token_id": "pad_token_id",
    "initializer_range": "initializer_range",
}
DISTILBERT_NAMES = {
    "transformer.layer": "encoder.layer",
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
TOKEN_TYPES = 2
# Checkpoints converted from TensorFlow name LayerNorm's parameters as TensorFlow does.
TENSORFLOW_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def unsupported(values: dict[str, Any]) -> str | None:
    """The first entry of a `config.json` that our encoder cannot follow, or None."""
    if values.get("model_type") not in ARCHITECTURES:
        return f"model_type {values.get('model_type')!r}"
    wrong = [name for name, needed in REQUIRED.items() if values.get(name, needed) != needed]
    return f"{wrong[0]} {values[wrong[0]]!r}" if wrong else None


def as_electra(values: dict[str, Any], state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A supported model's `config.json` and weights in ELECTRA's terms.

    Args:
        values: `config.json`.
        state: weights by their Hugging Face names, with or without the prefix of a backbone inside a larger model.

    Returns:
        Both, the weights of the backbone starting with `electra.`; beside them stay the heads of an ELECTRA.
    """
    kind = values["model_type"]
    state = with_pytorch_names(state)
    inside = any(name.startswith(f"{kind}.") for name in state)
    if kind == "electra":
        return values, state if inside else {f"electra.{name}": tensor for name, tensor in state.items()}
    if inside:
        state = {name.removeprefix(f"{kind}."): t for name, t in state.items() if name.startswith(f"{kind}.")}
    if kind == "distilbert":
        values = {theirs: values[ours] for ours, theirs in DISTILBERT_FIELDS.items() if ours in values}
        values["type_vocab_size"] = TOKEN_TYPES
        state = {_renamed(name, DISTILBERT_NAMES): tensor for name, tensor in state.items()}
        state["embeddings.token_type_embeddings.weight"] = torch.zeros(TOKEN_TYPES, values.get("hidden_size", 0))
    values = values | {"embedding_size": values.get("hidden_size")}
    return values, {f"electra.{name}": tensor for name, tensor in state.items()}


def with_pytorch_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights whose names may be TensorFlow's, under those of PyTorch."""
    return {_renamed(name, TENSORFLOW_NAMES): tensor for name, tensor in state.items()}


def as_stored(kind: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a backbone, whose names start with `electra.`, under the names of an architecture.

    DistilBERT has no table of token types: it must be zero.
    """
    if kind == "distilbert":
        back = {theirs: ours for ours, theirs in DISTILBERT_NAMES.items()}
        state = {_renamed(name, back): tensor for name, tensor in state.items() if "token_type" not in name}
    return {f"{kind}.{name.removeprefix('electra.')}": tensor for name, tensor in state.items()}


def _renamed(name: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        # Whole parts of a dotted name only: `sa_layer_norm` and `output_layer_norm` also end alike.
        name = re.sub(rf"(?<![^.]){re.escape(old)}(?![^.])", new, name)
    return name
