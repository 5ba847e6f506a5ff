"""What `gpu.py` measures: our trainer and networks, and their Hugging Face twins. Only this file knows the package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finetuning_batches import make_models
from pretraining_step import CLS, MASK, PAD, SEP, SHAPES, SPECIAL, Shape, huggingface_step, make_batch, make_pair
from torch import Tensor, nn

from electralab.config import Pretraining
from electralab.electra.corruption import Corruption, mask_tokens
from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.electra.objective import ElectraObjective
from electralab.files import sha256
from electralab.pretrain.inputs import Inputs
from electralab.pretrain.trainer import Trainer
from electralab.specs import PretrainSpec

LIVELY = 3000  # ids that the generated text uses: few enough to be learnt in a minute
FOLLOWERS = 8  # of every word
DROPOUT = 0.1


@dataclass(frozen=True)
class Setup:
    """Where and at which size."""

    device: torch.device
    folder: Path  # scratch
    exact: Shape  # without dropout, to compare with Hugging Face
    pretrained: Shape
    finetuned: ElectraConfig
    sequence_length: int  # of fine-tuning
    inference_batches: tuple[int, ...]
    rounds: int
    calls: int  # in a round
    draws: int  # of the generator's samples
    training_seconds: float
    compiler: str  # backend of torch.compile
    documents: int

    @property
    def tiny(self) -> bool:
        return self.exact.discriminator.layers < 6


def full_size(device: torch.device, folder: Path) -> Setup:
    """ELECTRA-Small's pretraining, fine-tuning in MiniLM's shape."""
    small = SHAPES["small"]
    return Setup(
        device, folder, small, with_dropout(small, 128), ElectraConfig(30522, 384, 384, 6, 12, 1536), 64, (1, 32, 256),
        rounds=15, calls=10, draws=200, training_seconds=120, compiler="inductor", documents=8000,
    )  # fmt: skip


def tiny_size(device: torch.device, folder: Path) -> Setup:
    """Every line of every part in seconds; its numbers mean nothing."""
    network = ElectraConfig(4096, 32, 64, 2, 2, 128, hidden_dropout=0.0, attention_dropout=0.0)
    shape = Shape(network, generator_size=0.5, batch_size=4, targets={}, sequence_length=32)
    return Setup(
        device, folder, shape, with_dropout(shape, 4), ElectraConfig(512, 32, 32, 2, 2, 64), 16, (1, 4),
        rounds=2, calls=1, draws=100, training_seconds=1.5, compiler="eager", documents=200,
    )  # fmt: skip


def with_dropout(shape: Shape, batch_size: int) -> Shape:
    network = replace(shape.discriminator, hidden_dropout=DROPOUT, attention_dropout=DROPOUT)
    return replace(shape, discriminator=network, batch_size=batch_size)


def make_trainer(setup: Setup, name: str, bf16: bool, steps: int, afresh: bool = True, **options: Any) -> Trainer:
    """The trainer that a user's run has, on generated text."""
    shape, record = setup.pretrained, setup.folder / name / "run.json"
    network = shape.discriminator
    settings = {
        "corpus": "generated",
        "tokenizer": "generated",
        "discriminator": {
            **{key: asdict(network)[key] for key in ("layers", "hidden_size", "embedding_size", "attention_heads")},
            **{key: asdict(network)[key] for key in ("intermediate_size", "max_positions")},
        },
        "sequence_length": shape.sequence_length,
        "batch_size": shape.batch_size,
        "steps": steps,
        "warmup_steps": max(1, steps // 10),
        "dropout": DROPOUT,
        "attention_dropout": DROPOUT,
        "evaluation_sequences": 2 * shape.batch_size,
        "precision": "fp32",
        **options,
    }
    spec = PretrainSpec(
        model=name, generator_size=shape.generator_size, seed=0, settings=Pretraining.model_validate(settings)
    )
    if afresh:
        shutil.rmtree(record.parent, ignore_errors=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    tokens = setup.folder / "tokens" / "manifest.json"
    if not tokens.exists():
        write_tokens(tokens, network.vocab_size, setup.documents)
    inputs = Inputs(tokens, tokens.with_name("tokenizer.json"))
    trainer = Trainer(spec, inputs, record, torch.get_num_threads(), setup.device)
    trainer.bf16 = bf16  # set here, because the settings refuse bf16 on a CPU without it, where a dry run may be
    return trainer


def write_tokens(manifest: Path, vocab_size: int, documents: int, length: int = 400) -> None:
    """A token cache of Markov chains, which can be learnt: every word has eight followers, the first of them likely."""
    random = np.random.default_rng(0)
    words = min(LIVELY, vocab_size - len(SPECIAL))
    followers = random.integers(0, words, (words, FOLLOWERS))
    odds = 0.5 ** np.arange(1, FOLLOWERS + 1)
    content: dict[str, Any] = {
        "format": 1, "corpus_checksum": "generated", "vocab_size": vocab_size, "pad_id": PAD, "unk_id": 1,
        "cls_id": CLS, "sep_id": SEP, "mask_id": MASK, "special_ids": SPECIAL, "sentence_end_ids": [],
        "documents": 0, "tokens": 0,
    }  # fmt: skip
    for part, count in (("train", documents), ("held_out", max(20, documents // 20))):
        word = random.integers(0, words, count)
        chain = np.empty((count, length + 1), "<u2")
        for position in range(length):
            chain[:, position] = word + len(SPECIAL)
            word = followers[word, random.choice(FOLLOWERS, count, p=odds / odds.sum())]
        chain[:, length] = SEP
        folder = manifest.parent / part
        folder.mkdir(parents=True, exist_ok=True)
        chain.tofile(folder / "00000.tokens.bin")
        np.arange(0, chain.size + 1, length + 1, dtype="<i8").tofile(folder / "00000.offsets.bin")
        content[part] = [
            {
                "file": "00000.tokens.bin", "documents": count, "tokens": count * length,
                "tokens_sha256": sha256(folder / "00000.tokens.bin"),
                "offsets_sha256": sha256(folder / "00000.offsets.bin"),
            }
        ]  # fmt: skip
        if part == "train":
            counts = np.bincount(chain[:, :length].ravel(), minlength=vocab_size).astype(np.int64)
            np.save(manifest.with_name("unigram_counts.npy"), counts)
    file = manifest.with_name("unigram_counts.npy")
    tokenizer = manifest.with_name("tokenizer.json")
    tokenizer.write_text("{}")
    content["unigram_counts"] = {"file": file.name, "sha256": sha256(file)}
    manifest.write_text(json.dumps({**content, "tokenizer_checksum": sha256(tokenizer)}))


def our_pretraining_step(setup: Setup, bf16: bool) -> Callable[[], Any]:
    trainer = make_trainer(setup, f"timed-{'bf16' if bf16 else 'fp32'}", bf16, steps=1_000_000)

    def step() -> None:
        trainer.train_step()
        trainer.step += 1

    return step


def their_pretraining_step(setup: Setup, **options: Any) -> Callable[[], Any]:
    """Hugging Face on batches that lie ready, which is a little less work than ours."""
    batches = [make_batch(setup.pretrained, seed) for seed in range(8)]
    step, done = huggingface_step(setup.pretrained, device=setup.device.type, **options), iter(range(10**9))
    return lambda: step(batches[next(done) % len(batches)])


def sampler(setup: Setup, bf16: bool) -> tuple[Tensor, Callable[[int], Tensor]]:
    """The generator's probabilities [N, V] at some positions, and what draws its replacements [N] there, by seed.

    The output LayerNorm's scale makes the probabilities of an untrained generator uneven.
    """
    pair = make_pair(setup.exact).to(setup.device).eval()
    pair.generator_head.norm.weight.data.fill_(10.0)
    ids = make_batch(setup.exact, seed=5)
    masking = mask_tokens(ids, MASK, SPECIAL, Corruption(), torch.Generator().manual_seed(5)).to(setup.device)
    ids, autocast = ids.to(setup.device), partial(torch.autocast, setup.device.type, torch.bfloat16, enabled=bf16)
    with torch.no_grad(), autocast():
        hidden = pair.generator(masking.generator_ids, None, None, masking.positions)
        probabilities = pair.generator_logits(hidden).double().softmax(-1)

    def draw(seed: int) -> Tensor:
        uniforms = torch.rand(
            len(masking.positions), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        )
        with torch.no_grad(), autocast():
            return ElectraObjective()(pair, ids, masking._replace(uniforms=uniforms.to(setup.device))).sampled_ids

    return probabilities, draw


def classifiers(setup: Setup) -> tuple[nn.Module, nn.Module]:
    """Ours and Hugging Face's, with equal weights."""
    encoder = Encoder(setup.finetuned)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.05, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
    ours, theirs = make_models(encoder, seed=0)
    return ours.to(setup.device), theirs.to(setup.device)
