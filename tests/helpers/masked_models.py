"""Small models with a head for masked words, as repositories hold them, of the pieces of `word_models`."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    PreTrainedModel,
)
from word_models import PIECES, write_pieces

from electralab.config import LocalModel
from electralab.data.models import fetch_model

KINDS = ("bert", "distilbert", "electra")
POSITIONS = 64
DRAWN = 0.3  # wide enough for losses that differ from token to token


def masked_model(kind: str) -> PreTrainedModel:
    common = {"vocab_size": len(PIECES), "max_position_embeddings": POSITIONS, "pad_token_id": PIECES.index("[PAD]")}
    common["initializer_range"] = DRAWN
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 96}
    torch.manual_seed(0)
    if kind == "electra":
        model: PreTrainedModel = ElectraForMaskedLM(ElectraConfig(**common, **sizes, embedding_size=32))
    elif kind == "bert":
        model = BertForMaskedLM(BertConfig(**common, **sizes))
    else:
        model = DistilBertForMaskedLM(DistilBertConfig(**common, n_layers=2, n_heads=4, dim=64, hidden_dim=96))
    for name, parameter in model.named_parameters():
        if "bias" in name or "LayerNorm" in name or "layer_norm" in name:  # drawn as 0 and 1, which would hide mistakes
            torch.nn.init.normal_(parameter, mean=float("weight" in name), std=0.3)
    return model.eval()


def write_masked_model(folder: Path, kind: str) -> Path:
    masked_model(kind).save_pretrained(write_pieces(folder))
    return folder


def fetched_masked_model(root: Path, kind: str) -> Path:
    """The manifest of such a model, as the workflow fetches it."""
    manifest = root / f"{kind}_model" / "manifest.json"
    fetch_model("toy", LocalModel(path=str(write_masked_model(root / kind, kind))), manifest, root / "downloads")
    return manifest
