"""A pretraining of seconds: a corpus of random sentences, its tokenizer and token cache, and the spec of a run."""

from __future__ import annotations

import random
from pathlib import Path

from tokens_corpus import write_corpus

from electralab.config import Pretraining, TrainedTokenizer
from electralab.files import sha256
from electralab.pretrain.inputs import Inputs
from electralab.specs import PretrainSpec
from electralab.tokens.cache import build_cache
from electralab.tokens.tokenizer import build_tokenizer

WORDS = "the a old new river house king ship sailed burned stood under over near quickly never again".split()


def make_inputs(root: Path) -> Inputs:
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS, k=60)) + "." for _ in range(340)]
    corpus = write_corpus(root / "corpus", [texts[:300]], [texts[300:]])
    tokenizer, tokens = root / "tokenizer" / "tokenizer.json", root / "tokens" / "manifest.json"
    spec = TrainedTokenizer(kind="wordpiece", corpus="c", vocab_size=120)
    build_tokenizer(spec, tokenizer, root / "downloads", corpus)
    build_cache(corpus, tokenizer, tokens, workers=1)
    return Inputs(tokens, tokenizer)


def run_spec(**values: object) -> PretrainSpec:
    settings = {
        "corpus": "c",
        "tokenizer": "t",
        "discriminator": {
            "layers": 1, "hidden_size": 32, "embedding_size": 16, "attention_heads": 2,
            "intermediate_size": 64, "max_positions": 32, "head_size": 16,
        },
        "sequence_length": 16,
        "batch_size": 4,
        "steps": 30,
        "warmup_steps": 3,
        "learning_rate": 1e-3,
        "evaluation_every": 10,
        "evaluation_sequences": 8,
        "checkpoint_every": 5,
        **values,
    }  # fmt: skip
    return PretrainSpec(model="m-g50", generator_size=0.5, seed=3, settings=Pretraining.model_validate(settings))


def weights(record: Path) -> dict[str, str]:
    return {name: sha256(record.parent / name / "model.safetensors") for name in ("discriminator", "generator")}
