"""Pseudo-perplexity against `transformers`, one forward pass a token; the published number against its own code."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from masked_models import KINDS, POSITIONS, masked_model, write_masked_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM
from word_models import PIECES

from electralab.config import Retention
from electralab.electra.convert import load_encoder, load_language_head
from electralab.retention.influence import mean_of
from electralab.retention.pseudo_perplexity import (
    LanguageModel,
    published_perplexity,
    published_windows,
    token_losses,
)
from electralab.retention.windows import sampled_windows
from electralab.tokens.tokenizer import load_tokenizer

WORDS = [piece for piece in PIECES if piece.startswith("w")]
MASK = PIECES.index("[MASK]")


def sentences(count: int) -> list[str]:
    generator = random.Random(0)
    return [" ".join(generator.choices(WORDS, k=generator.randrange(3, 20))) for _ in range(count)]


def model_of(folder: Path) -> LanguageModel:
    encoder, head = load_encoder(folder)[0], load_language_head(folder)
    assert head is not None
    return LanguageModel(encoder, head, encoder.embeddings.word.weight.detach()).eval()


def naive_losses(folder: Path, rows: list[list[int]]) -> list[list[float]]:
    """Of every token but the first and the last of each row, one pass each."""
    model = AutoModelForMaskedLM.from_pretrained(folder).eval().double()
    losses = []
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([row])
            own = []
            for place in range(1, len(row) - 1):
                masked = ids.clone()
                masked[0, place] = MASK
                logits = model(masked).logits[0, place]
                own.append(float(F.cross_entropy(logits[None], ids[:, place])))
            losses.append(own)
    return losses


@pytest.mark.parametrize("kind", KINDS)
def test_equals_one_forward_pass_a_token(kind: str, tmp_path: Path) -> None:
    folder = write_masked_model(tmp_path / kind, kind)
    tokenizer, texts = load_tokenizer(folder / "tokenizer.json"), sentences(50)
    windows = sampled_windows(texts, tokenizer, Retention(corpus="c", window=32, sequences=50))
    losses = token_losses(model_of(folder), windows, tokenizer.mask_id, batch_tokens=700)
    rows = [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in tokenizer.encode(texts)]
    expected = [loss for row in naive_losses(folder, rows) for loss in row]
    found = mean_of(losses[windows.scored].numpy(), windows.documents[windows.scored.nonzero()[:, 0]].numpy())
    perplexity = math.exp(sum(expected) / len(expected))
    assert math.exp(found.value) == pytest.approx(perplexity, rel=1e-6)
    assert losses[windows.scored].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert perplexity > len(PIECES)  # a network that nobody trained


def test_batches_and_padding_change_nothing(tmp_path: Path) -> None:
    folder = write_masked_model(tmp_path / "bert", "bert")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    settings = Retention(corpus="c", window=16, stride=5, sequences=40)
    windows, model = sampled_windows(sentences(20), tokenizer, settings), model_of(folder)
    alone, together = (token_losses(model, windows, MASK, budget) for budget in (1, 100_000))
    assert torch.allclose(alone, together, rtol=1e-4, atol=1e-5)
    assert not together[~windows.scored].any()


@pytest.mark.parametrize("positions", [POSITIONS, 24])
def test_published_perplexity_is_what_its_code_computes(positions: int, tmp_path: Path) -> None:
    """A window a forward pass of copies with another token masked in each, its loss by `transformers`."""
    folder = write_masked_model(tmp_path / "bert", "bert")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    (ids,) = tokenizer.encode(["\n\n".join(sentences(120))])
    stream = [tokenizer.cls_id, *ids, tokenizer.sep_id]
    windows = published_windows(stream, positions, tokenizer.pad_id, wanted=99, seed=0)
    assert windows.lengths.tolist() == [positions] * (len(stream) // 512) + [min(positions, len(stream) % 512)]
    model, losses = masked_model("bert"), []
    with torch.inference_mode():
        for start in range(0, len(stream), 512):
            row = torch.tensor([stream[start : start + positions]])
            copies = row.repeat(row.size(-1) - 2, 1)
            hidden = torch.ones(row.size(-1) - 1).diag(1)[:-2] == 1
            masked = copies.masked_fill(hidden, MASK)
            losses.append(model(masked, labels=copies.masked_fill(~hidden, -100)).loss)
    expected = float(torch.stack(losses).mean().exp())
    assert published_perplexity(model_of(folder), windows, MASK, 2000) == pytest.approx(expected, rel=1e-5)
    some = published_windows(stream, positions, tokenizer.pad_id, wanted=2, seed=1)
    assert set(some.documents.tolist()) < set(windows.documents.tolist())


def test_a_head_converted_from_tensorflow_is_the_same_head(tmp_path: Path) -> None:
    """`bert-base-uncased` calls the parameters of LayerNorm gamma and beta."""
    folder = write_masked_model(tmp_path / "bert", "bert")
    before = load_language_head(folder)
    weights = load_file(folder / "model.safetensors")
    for ours, theirs in (("weight", "gamma"), ("bias", "beta")):
        weights = {name.replace(f"LayerNorm.{ours}", f"LayerNorm.{theirs}"): part for name, part in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    after = load_language_head(folder)
    assert before is not None and after is not None
    assert all(torch.equal(part, after.state_dict()[name]) for name, part in before.state_dict().items())
    assert not torch.equal(after.norm.weight, torch.ones_like(after.norm.weight))
