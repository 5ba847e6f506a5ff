"""Small models of every architecture as repositories hold them; what encoders read has pieces of several letters.

Their widths are multiples of 64, which is what bitsandbytes computes with on every CPU.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from finetune_task import SPECIAL, WORDS
from tiny_decoder import write_decoder
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedModel,
)

from electralab.config import LocalModel
from electralab.data.models import fetch_model
from electralab.tokens.vocabulary import wordpiece

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
RARE = ["zebra", "zeb", "##ra", "\u03c9mega"]  # omega is no piece of its own: without the word it is unknown
# Special tokens are not in front, and added in no order, so that every id moves when words before them go.
PIECES = [*RARE[:2], *WORDS[:2], *SPECIAL, *WORDS[2:], *RARE[2:], *LETTERS, *(f"##{letter}" for letter in LETTERS)]
DECODER_SIZES = {
    "opt": {"hidden_size": 64, "ffn_dim": 128, "word_embed_proj_dim": 64},
    "llama": {"hidden_size": 64, "intermediate_size": 128},
}


def write_pieces(folder: Path) -> Path:
    """The files of a WordPiece tokenizer as models of before and after `tokenizer.json` have them."""
    folder.mkdir(parents=True, exist_ok=True)
    wordpiece({piece: id_ for id_, piece in enumerate(PIECES)}, lowercase=True).save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    names = {f"{piece[1:-1].lower()}_token": piece for piece in SPECIAL}
    added = {
        str(PIECES.index(piece)): {"content": piece, "special": True, "normalized": False}
        for piece in reversed(SPECIAL)
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(names | {"added_tokens_decoder": added}))
    return folder


def encoder_of(kind: str, vocabulary: int) -> PreTrainedModel:
    common = {"vocab_size": vocabulary, "max_position_embeddings": 64, "pad_token_id": PIECES.index("[PAD]")}
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 128}
    if kind == "electra":
        return ElectraModel(ElectraConfig(**common, **sizes, embedding_size=64))
    if kind == "bert":
        return BertModel(BertConfig(**common, **sizes))
    return DistilBertModel(DistilBertConfig(**common, n_layers=2, n_heads=4, dim=64, hidden_dim=128))


def write_word_model(folder: Path, kind: str) -> Path:
    """The folder of a model that was never trained."""
    if kind in DECODER_SIZES:
        return write_decoder(folder, kind, **DECODER_SIZES[kind])
    torch.manual_seed(0)
    encoder_of(kind, len(PIECES)).save_pretrained(write_pieces(folder))
    return folder


def fetched_words(root: Path, kind: str) -> Path:
    """The manifest of such a model, as the workflow fetches it."""
    manifest = root / f"{kind}_model" / "manifest.json"
    fetch_model("toy", LocalModel(path=str(write_word_model(root / kind, kind))), manifest, root / "downloads")
    return manifest
