"""Tiny decoders with a real byte-level vocabulary, as repositories hold them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from electralab.data.example import Example
from electralab.data.tasks import TaskData

PIECES = "Review : Sentiment Question 1 2 Do both questions ask the same thing ? Answer Text Options good bad film plot"
ANSWERS = " Yes No negative positive Maybe A B C\nYes\nNo"  # with the space before them, and bare
KINDS = ("opt", "llama")
POSITIONS = 96


def write_tokenizer(folder: Path, answers: str = ANSWERS) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([PIECES + answers] * 3, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return tokenizer


def write_decoder(folder: Path, kind: str = "opt", **options: object) -> Path:
    tokenizer = write_tokenizer(folder)
    torch.manual_seed(0)
    shared = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": 2,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.3,  # wide enough that every token and position matters
        **options,
    }
    if kind == "opt":
        config = transformers.OPTConfig(**{"ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3} | shared)
        transformers.OPTForCausalLM(config).save_pretrained(folder)
    else:
        config = transformers.LlamaConfig(**{"intermediate_size": 48, "num_key_value_heads": 2} | shared)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def task(
    validation: list[Example], train: list[Example], glue: str | None = "sst2", labels: tuple[str, ...] = ("no", "yes")
) -> TaskData:
    splits = {"train": train, "validation": validation}
    return TaskData("toy", list(labels), ["accuracy"], None, False, glue, True, splits, [], "checksum")
