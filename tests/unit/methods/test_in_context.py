"""In-context evaluation: solved examples, what is cut, and what is answered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny_decoder import KINDS, edit_config, task, write_decoder

from electralab.config import InContext
from electralab.data.example import Example
from electralab.finetune.decoder.model import VerbalizedDecoder
from electralab.finetune.decoder.prompts import TEMPLATES, PromptTokenizer
from electralab.finetune.metrics import classification_metrics
from electralab.methods.base_models import load_causal
from electralab.methods.in_context import InContextReader, draw_shots, sample_scored

TEMPLATE = TEMPLATES["sst2"]
WORDS = ["good", "bad", "film", "plot", "the", "thing", "?"]
VALIDATION = [Example(str(n), " ".join(WORDS[n % 5 : n % 5 + 1 + n % 3]), None, n % 2) for n in range(40)]
TRAIN = [Example(str(n), f"plot {n}", None, n % 2) for n in range(60)]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp(request.param), request.param)


def reader(folder: Path, shots: list[Example], max_length: int = 96) -> InContextReader:
    tokenizer = PromptTokenizer(folder)
    decoder = VerbalizedDecoder(load_causal(folder, InContext()), tokenizer.label_ids(TEMPLATE))
    return InContextReader(decoder, tokenizer, TEMPLATE, shots, max_length, "cpu", "toy")


@pytest.mark.parametrize("shots", [0, 3])
def test_answers_are_those_of_every_prompt_by_itself(folder: Path, shots: int) -> None:
    """Batches read what their prompts share once; transformers, a prompt at a time, all of it."""
    shown = draw_shots(task(VALIDATION, TRAIN), shots, seed=0)
    answers = reader(folder, shown).answer(VALIDATION)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    words = theirs.convert_tokens_to_ids(["Ġnegative", "Ġpositive"])
    before = "".join(f"Review: {row.text}\nSentiment: {'positive' if row.label else 'negative'}\n\n" for row in shown)
    opening = "</s>" if model.config.model_type == "opt" else ""
    for row, answer in zip(VALIDATION, answers):
        ids = torch.tensor([theirs(f"{opening}{before}Review: {row.text}\nSentiment:")["input_ids"]])
        with torch.no_grad():
            probabilities = model(ids).logits[0, -1].double().softmax(dim=-1)[words]
        np.testing.assert_allclose(np.exp(answer), probabilities / probabilities.sum(), atol=1e-5)
    assert np.exp(answers)[:, 0].std() > 0.01


@given(shots=st.integers(0, 12), classes=st.integers(2, 4), seed=st.integers(0, 99))
def test_shots_are_balanced_training_rows_that_are_not_scored(shots: int, classes: int, seed: int) -> None:
    validation = [Example(str(n), f"row {n}", None, n % classes) for n in range(0, 60, 2)]
    train = [Example(str(n), f"row {n % 90}", None, (n % 90) % classes) for n in range(120)]
    data = task(validation, train, labels=tuple("abcd"[:classes]))
    shown = draw_shots(data, shots, seed)
    assert shown == draw_shots(data, shots, seed)
    assert len(shown) == len({row.text for row in shown}) == shots
    assert set(shown) <= set(train) and not {row.text for row in shown} & {row.text for row in validation}
    counts = Counter(row.label for row in shown)
    assert not shots or max(counts.values()) - min(counts[label] for label in range(classes)) <= 1


def test_seeds_show_other_examples_in_another_order() -> None:
    data = task(VALIDATION, TRAIN)
    drawn = [draw_shots(data, 4, seed) for seed in range(12)]
    assert len({tuple(row.id for row in shown) for shown in drawn}) == 12
    assert len({tuple(row.label for row in shown) for shown in drawn}) > 2  # the last label is not always the same
    odd = [Counter(row.label for row in draw_shots(data, 3, seed))[0] for seed in range(12)]
    assert set(odd) == {1, 2}


def test_a_long_prompt_loses_its_first_shots_and_never_its_question(folder: Path) -> None:
    shots = [Example("1", "bad film " * 6, None, 0), Example("2", "good plot", None, 1)]
    short, long = Example("3", "thing", None, 0), Example("4", "the film " * 12, None, 1)
    reads = reader(folder, shots, max_length=60)
    first, second = (reads.tokenizer._tokenizer.decode(reads.encode([row]).tokens.tolist()) for row in (short, long))
    assert first.count("Review:") == 3 and first.endswith("Review: thing\nSentiment:")
    assert second == "Review: good plot\nSentiment: positive\n\nReview: " + "the film " * 12 + "\nSentiment:"
    assert reads.notes() == ["1 of 2 prompts were longer than 60 tokens and show fewer than 2 solved examples"]
    huge = reads.encode([Example("5", "the film " * 90, None, 1)])
    written = reads.tokenizer._tokenizer.decode(huge.tokens.tolist())
    assert huge.lengths[0] <= 60 and written.startswith("Review: the film") and written.endswith("\nSentiment:")
    assert reads.notes()[1] == "1 of 3 questions alone were longer than 60 tokens: their texts were cut"
    reads.answer([short, long])  # prompts that share less than their shots


def test_a_model_without_a_padding_token_answers_the_same_and_says_so(folder: Path, tmp_path: Path) -> None:
    other = write_decoder(tmp_path, "llama")
    expected = reader(other, TRAIN[:2]).answer(VALIDATION)
    edit_config(other, pad_token_id=None)
    without = reader(other, TRAIN[:2])
    np.testing.assert_allclose(without.answer(VALIDATION), expected, atol=1e-6)
    assert "no padding token" in without.notes()[0]


def test_a_sample_of_the_scored_rows_is_seeded_and_grows() -> None:
    data = task(VALIDATION, TRAIN)
    data.splits["test"] = [row._replace(label=None) for row in VALIDATION]
    assert sample_scored(data, None, 0) is data
    few, more = sample_scored(data, 5, 3), sample_scored(data, 9, 3)
    assert len(few.validation) == 5 and set(few.validation) < set(more.validation) < set(VALIDATION)
    assert list(few.splits) == ["train", "validation"] and few.train == TRAIN
    assert few.validation != sample_scored(data, 5, 4).validation


def test_weighted_f1_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    chosen = np.array([0, 0, 1, 1, 0, 1])
    log_probabilities = np.log(np.where(np.eye(3)[chosen] > 0, 0.8, 0.1))
    # Class 0: precision 2/3, recall 2/3; class 1: precision 1/3, recall 1/2; class 2 is never answered.
    assert classification_metrics(labels, log_probabilities)["f1_weighted"] == pytest.approx(
        (3 * 2 / 3 + 2 * 0.4 + 1 * 0) / 6
    )
