"""Detection with a frozen generator: the exam of pretraining's own evaluation, the same for every discriminator."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pretraining import WORDS, make_inputs, run_spec

from electralab.config import Retention
from electralab.electra.convert import load_pair
from electralab.electra.pair import ElectraPair
from electralab.pretrain.detection import area_under_curve as pretraining_area
from electralab.pretrain.setup import build_batches
from electralab.pretrain.trainer import run_pretraining
from electralab.retention.detection import detected
from electralab.retention.influence import area_under_curve, mean_of
from electralab.retention.windows import Windows, sampled_windows
from electralab.tokens.cache import TokenCache
from electralab.tokens.tokenizer import TextEncoder, load_tokenizer


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a finished pretraining, and the manifest of its token cache."""
    root = tmp_path_factory.mktemp("pretraining")
    inputs = make_inputs(root)
    run_pretraining(run_spec(seeds=[3]), inputs, root / "model" / "run.json")
    return root / "model", inputs.tokens


def opened(folder: Path) -> tuple[ElectraPair, TextEncoder]:
    pair = load_pair(folder / "discriminator", folder / "generator", "none").eval()
    return pair, load_tokenizer(folder / "discriminator" / "tokenizer.json")


def text_windows(tokenizer: TextEncoder, **settings: int) -> Windows:
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS, k=generator.randrange(4, 60))) for _ in range(30)]
    return sampled_windows(texts, tokenizer, Retention(corpus="c", window=16, **settings))


def test_on_pretrainings_own_sequences_it_is_pretrainings_own_number(pretraining: tuple[Path, Path]) -> None:
    """The same sequences, masks and draws: one batch of the evaluation is drawn at once there too."""
    folder, tokens = pretraining
    pair, tokenizer = opened(folder)
    record = json.loads((folder / "run.json").read_text())
    spec, cache = run_spec(seeds=[3]), TokenCache(tokens, "held_out")
    batches = build_batches(spec.settings, cache, spec.settings.batch_size, seed=0)
    generator = torch.Generator().manual_seed(1)
    logits, replaced = [], []
    for index in range(spec.settings.evaluation_sequences // spec.settings.batch_size):
        ids = batches.batches.batch(index).input_ids
        whole = torch.full((len(ids),), ids.shape[1])
        windows = Windows(ids, whole, torch.ones_like(ids, dtype=torch.bool), torch.arange(len(ids)))
        found = detected(pair, windows, tokenizer, generator, batch_tokens=20)
        logits.append(found.logits.flatten())
        replaced.append(found.replaced.flatten())
    scores, positive = torch.cat(logits).double().numpy(), torch.cat(replaced).numpy()
    area = area_under_curve(scores, positive, np.arange(len(scores)))
    assert area.value == pytest.approx(record["metrics"]["rtd_auc"], abs=1e-9)
    assert area.value == pytest.approx(pretraining_area(scores, positive), abs=1e-12)


def test_draws_depend_on_neither_the_budget_nor_the_discriminator(pretraining: tuple[Path, Path]) -> None:
    pair, tokenizer = opened(pretraining[0])
    windows = text_windows(tokenizer)

    def answers(batch_tokens: int, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
        return tuple(detected(pair, windows, tokenizer, torch.Generator().manual_seed(seed), batch_tokens))  # type: ignore[return-value]

    logits, replaced = answers(10_000)
    alone, same = answers(1)
    assert torch.equal(replaced, same) and torch.allclose(logits[windows.real], alone[windows.real], atol=1e-5)
    assert not replaced[~windows.real].any() and not replaced[:, 0].any()
    assert not torch.equal(replaced, answers(10_000, seed=6)[1])
    with torch.no_grad():
        pair.discriminator.layers[0].output.weight.normal_()
    other, still = answers(10_000)
    assert torch.equal(replaced, still) and not torch.allclose(other, logits, atol=0.01)


# --- influences -------------------------------------------------------------------------------------------------------


def answers(documents: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels and documents of tokens: documents differ in length and in how hard they are; scores have ties."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(5, 40, documents)
    of = np.repeat(np.arange(documents), lengths)
    positive = generator.random(len(of)) < 0.2
    hardness = generator.normal(size=documents)[of]
    return (positive + generator.normal(size=len(of)) + hardness).round(1), positive, of


def resampled(documents: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Tokens of as many documents, drawn with replacement."""
    found = np.unique(documents)
    return np.concatenate([np.flatnonzero(documents == one) for one in generator.choice(found, len(found))])


@pytest.mark.parametrize("what", ["area", "mean"])
def test_intervals_are_those_of_a_bootstrap_over_documents(what: str) -> None:
    scores, positive, documents = answers(60)
    generator = np.random.default_rng(1)
    draws = [resampled(documents, generator) for _ in range(800)]
    if what == "area":
        found = area_under_curve(scores, positive, documents)
        values = [pretraining_area(scores[draw], positive[draw]) for draw in draws]
        assert found.value == pytest.approx(pretraining_area(scores, positive), abs=1e-12)
    else:
        found = mean_of(scores, documents)
        values = [scores[draw].mean() for draw in draws]
        assert found.value == scores.mean()
    assert found.half_width == pytest.approx(1.96 * np.std(values), rel=0.1)
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)


def test_a_difference_of_two_models_is_paired_by_its_influences() -> None:
    """Both models find the same documents hard: the interval of a difference is a bootstrap's, and much narrower."""
    scores, positive, documents = answers(60)
    other = scores + np.random.default_rng(2).normal(size=len(scores)) * 0.3
    a, b = (area_under_curve(each, positive, documents) for each in (scores, other))
    difference = a._replace(influence=a.influence - b.influence)
    generator = np.random.default_rng(3)
    values = []
    for _ in range(800):
        draw = resampled(documents, generator)
        values.append(pretraining_area(scores[draw], positive[draw]) - pretraining_area(other[draw], positive[draw]))
    assert difference.half_width == pytest.approx(1.96 * np.std(values), rel=0.1)
    assert a.half_width is not None and difference.half_width is not None
    assert difference.half_width < a.half_width / 2


def test_one_document_has_no_interval() -> None:
    scores, positive, documents = answers(1)
    assert area_under_curve(scores, positive, documents).half_width is None
