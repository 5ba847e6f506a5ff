"""Tiny models of every architecture, made from a config, for the tests of adapters."""

from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

VOCABULARY = 90
POSITIONS = 64
ENCODERS = ("electra", "bert", "distilbert")
DECODERS = ("opt", "llama")
LABEL_WORDS = [7, 9]


def make_model(kind: str) -> PreTrainedModel:
    """Two layers. Embeddings of ELECTRA and OPT are narrower than hidden states, Llama shares keys between heads."""
    torch.manual_seed(0)
    common = {"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS}
    encoder = {**common, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind == "electra":
        return ElectraModel(ElectraConfig(**encoder, hidden_size=64, embedding_size=32, intermediate_size=96))
    if kind == "bert":
        return BertModel(BertConfig(**encoder, hidden_size=32, intermediate_size=64))
    if kind == "distilbert":
        return DistilBertModel(DistilBertConfig(**common, dim=32, n_layers=2, n_heads=4, hidden_dim=64))
    if kind == "opt":
        return OPTForCausalLM(OPTConfig(**encoder, hidden_size=64, word_embed_proj_dim=32, ffn_dim=96))
    return LlamaForCausalLM(
        LlamaConfig(**encoder, hidden_size=64, intermediate_size=96, num_key_value_heads=2, tie_word_embeddings=True)
    )


def save_model(kind: str, folder: Path) -> Path:
    make_model(kind).save_pretrained(folder)
    return folder


def batch(kind: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eight rows, half of them padded: on the left for decoders, so that all end at the last position."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, VOCABULARY, (8, 12), generator=generator)
    attention_mask = torch.ones(8, 12, dtype=torch.bool)
    attention_mask[:4, 9:] = False
    labels = torch.randint(0, 2, (8,), generator=generator)
    return input_ids, attention_mask.flip(1) if kind in DECODERS else attention_mask, labels


def label_words(outputs, _input_ids, _attention_mask):
    """Logits of two words at the last position."""
    return outputs.logits[:, -1, LABEL_WORDS]
