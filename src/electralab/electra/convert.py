"""Exact conversion to and from the Hugging Face ELECTRA format, without importing transformers.

`discriminator/` opens with `AutoModel` (the backbone) or `ElectraForPreTraining`, `generator/` with
`AutoModelForMaskedLM`. Only names differ, and the query, key and value matrices, which are one matrix here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.electra.pair import ElectraPair, Tied
from electralab.errors import UserError

DISCRIMINATOR = "ElectraForPreTraining"
GENERATOR = "ElectraForMaskedLM"

# Names of our parameters and of theirs; `{i}` runs over the layers.
OUTER = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "embeddings_project": "embeddings_project",
}
INNER = {
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
QUERY_KEY_VALUE = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))
DISCRIMINATOR_HEAD = {
    "dense": "discriminator_predictions.dense",
    "prediction": "discriminator_predictions.dense_prediction",
}
GENERATOR_HEAD = {"dense": "generator_predictions.dense", "norm": "generator_predictions.LayerNorm"}

# Our config field -> theirs.
FIELDS = {
    "vocab_size": "vocab_size",
    "embedding_size": "embedding_size",
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_eps": "layer_norm_eps",
    "pad_token_id": "pad_token_id",
    "initializer_range": "initializer_range",
}


def huggingface_config(config: ElectraConfig, architecture: str) -> dict[str, Any]:
    """`config.json` of a network."""
    fields = {theirs: getattr(config, ours) for ours, theirs in FIELDS.items()}
    return {
        **fields,
        "architectures": [architecture],
        "model_type": "electra",
        "hidden_act": "gelu",
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def encoder_state(encoder: Encoder, prefix: str = "electra.") -> dict[str, Tensor]:
    """An encoder's weights under Hugging Face names."""
    state = {}
    for name, tensor in encoder.state_dict().items():
        module, _, kind = name.rpartition(".")
        if not module.startswith("layers."):
            state[f"{prefix}{OUTER[module]}.{kind}"] = tensor
            continue
        _, index, part = module.split(".")
        layer = f"{prefix}encoder.layer.{index}"
        if part == "qkv":
            for theirs, third in zip(QUERY_KEY_VALUE, tensor.chunk(3)):
                state[f"{layer}.{theirs}.{kind}"] = third
        else:
            state[f"{layer}.{INNER[part]}.{kind}"] = tensor
    return state


def discriminator_state(pair: ElectraPair) -> dict[str, Tensor]:
    """The discriminator as an `ElectraForPreTraining` state dict."""
    return encoder_state(pair.discriminator) | _rename(pair.discriminator_head.state_dict(), DISCRIMINATOR_HEAD)


def generator_state(pair: ElectraPair) -> dict[str, Tensor]:
    """The generator as an `ElectraForMaskedLM` state dict; its output matrix is the word table."""
    head = pair.generator_head.state_dict()
    bias = head.pop("bias")
    return encoder_state(pair.generator) | _rename(head, GENERATOR_HEAD) | {"generator_lm_head.bias": bias}


def _rename(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    return {f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tensor for name, tensor in state.items()}
