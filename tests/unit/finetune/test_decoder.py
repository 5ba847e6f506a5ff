"""Decoders that answer with label words: left padding, truncation, logits."""

from __future__ import annotations

import dataclasses
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny_decoder import KINDS, write_decoder
from torch.nn import functional as F

from electralab.config import InContext, Lora
from electralab.data.example import Example
from electralab.finetune.decoder.model import (
    VerbalizedDecoder,
    encode_prompts,
    left_padded_positions,
    pack_prompts,
)
from electralab.finetune.decoder.prompts import TEMPLATES, PromptTokenizer
from electralab.finetune.loop import predict, train_model
from electralab.finetune.objective import Classification
from electralab.methods.base_models import load_causal

TEXTS = ["a good film", "bad", "the plot of the film is the same thing as the good questions", "?", "both"]
ROWS = [Example(str(n), text, TEXTS[-1 - n], n % 2) for n, text in enumerate(TEXTS)]
TEMPLATE = TEMPLATES["qqp"]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PromptTokenizer:
    return PromptTokenizer(folder)


@pytest.fixture(scope="module")
def decoder(folder: Path, tokenizer: PromptTokenizer) -> VerbalizedDecoder:
    return VerbalizedDecoder(load_causal(folder, InContext()), tokenizer.label_ids(TEMPLATE)).eval()


def test_padding_changes_nothing(decoder: VerbalizedDecoder, tokenizer: PromptTokenizer) -> None:
    prompts = encode_prompts(ROWS, TEMPLATE, tokenizer, 96)
    batch = prompts.batch(np.arange(len(ROWS)))
    assert batch.attention_mask is not None and not batch.attention_mask.all()
    with torch.no_grad():
        together = decoder(batch.input_ids, batch.attention_mask)
        alone = [decoder(single.input_ids) for row in range(len(ROWS)) if (single := prompts.batch(np.array([row])))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
    assert together.std() > 0.1  # the rows do differ


def test_logits_are_those_that_transformers_generates_from(folder: Path, decoder: VerbalizedDecoder) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>", padding_side="left"
    )
    opening = "</s>" if model.config.model_type == "opt" else ""
    texts = [f"{opening}Question 1: {row.text}\nQuestion 2: {row.pair}\n" for row in ROWS]
    asked = [f"{text}Question: Do both questions ask the same thing? Answer:" for text in texts]
    given = theirs(asked, padding=True, return_tensors="pt", return_token_type_ids=False)
    told = model.generate(
        **given, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
    ).logits[0]
    prompts = encode_prompts(ROWS, TEMPLATE, PromptTokenizer(folder), 96)
    batch = prompts.batch(np.arange(len(ROWS)))
    assert torch.equal(batch.input_ids, given["input_ids"])
    with torch.no_grad():
        ours = decoder(batch.input_ids, batch.attention_mask)
    expected = told[:, theirs.convert_tokens_to_ids(["ĠNo", "ĠYes"])]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_the_published_loss_is_that_of_the_next_word(folder: Path, tokenizer: PromptTokenizer) -> None:
    """Its gradient is that of the label word among the whole vocabulary; answers are among the label words."""
    template = dataclasses.replace(TEMPLATE, text=f"{TEMPLATE.text} ", gap="")
    prompts = encode_prompts(ROWS, template, tokenizer, 96)
    batch, ids = prompts.batch(np.arange(len(ROWS))), torch.tensor(tokenizer.label_ids(template))
    network = load_causal(folder, InContext())
    model = VerbalizedDecoder(network, ids.tolist(), "as_published").eval()
    logits = network(batch.input_ids, attention_mask=batch.attention_mask.long()).logits[:, -1]
    given = model(batch.input_ids, batch.attention_mask)
    ours, theirs = Classification(2).loss(given, batch.labels), F.cross_entropy(logits, ids[batch.labels])
    torch.testing.assert_close(ours, theirs)
    parameters = list(network.parameters())
    for one, other in zip(*(torch.autograd.grad(loss, parameters) for loss in (ours, theirs))):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    answers = predict(model, Classification(2), prompts, np.arange(len(ROWS)), "cpu", "toy")
    expected = logits[:, ids].double().log_softmax(dim=-1)
    np.testing.assert_allclose(answers, expected.detach(), atol=1e-5)


def test_positions_are_counted_from_the_first_real_token() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)
    assert left_padded_positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 0]]


def test_a_batch_is_filled_up_on_the_left(tokenizer: PromptTokenizer) -> None:
    prompts = pack_prompts([[5, 6, 7, 8], [5, 6], [5, 6, 9]], ROWS[:3], tokenizer)
    batch = prompts.batch(np.array([2, 0, 1]))
    assert batch.input_ids.tolist() == [[1, 5, 6, 9], [5, 6, 7, 8], [1, 1, 5, 6]]
    assert batch.attention_mask is not None and batch.token_type_ids is None
    assert batch.attention_mask.tolist() == [[False, True, True, True], [True] * 4, [False, False, True, True]]
    assert batch.labels.tolist() == [0, 0, 1]
    tails = prompts.batch(np.array([0, 2]), start=2)
    assert tails.input_ids.tolist() == [[7, 8], [1, 9]]


@given(st.lists(st.lists(st.integers(3, 5), min_size=1, max_size=6), min_size=1, max_size=4))
def test_what_rows_share_leaves_a_token_to_each(rows: list[list[int]]) -> None:
    class Filled:
        pad_id = 1

    examples = [Example(str(n), "", None, None) for n in range(len(rows))]
    shared = pack_prompts(rows, examples, Filled()).shared_start(np.arange(len(rows)))  # type: ignore[arg-type]
    longest = min(map(len, rows)) - 1
    expected = max(n for n in range(longest + 1) if len({tuple(row[:n]) for row in rows}) == 1)
    assert shared == expected


TEXT = st.text(st.sampled_from("abc film漢é🙂?\n "), max_size=80)


@given(text=TEXT, pair=TEXT, max_length=st.integers(40, 96))
def test_only_texts_are_cut(tokenizer: PromptTokenizer, text: str, pair: str, max_length: int) -> None:
    row = Example("0", text, pair, 1)
    (ids,) = (encode_prompts([row], TEMPLATE, tokenizer, max_length).tokens.tolist(),)
    (whole,) = tokenizer.encode([TEMPLATE.prompt(row)])
    assert len(ids) <= max_length
    if len(whole) <= max_length:
        assert ids == whole
        return
    written = tokenizer._tokenizer.decode(ids[len(tokenizer.opening) :], skip_special_tokens=False)
    kept = [
        TEMPLATE.prompt(row._replace(text=text[:first], pair=pair[:second]))
        for first in range(len(text) + 1)
        for second in range(len(pair) + 1)
    ]
    assert written in kept
    # Nothing is given away: what is left is near the limit, up to a character of several tokens.
    assert len(ids) > max_length - 8


def test_the_longer_text_is_cut_first(tokenizer: PromptTokenizer) -> None:
    row = Example("0", "good film", "bad plot " * 40, 1)
    prompts = encode_prompts([row], TEMPLATE, tokenizer, 60)
    written = tokenizer._tokenizer.decode(prompts.tokens.tolist())
    assert "Question 1: good film\nQuestion 2: bad plot bad" in written
    assert re.search(r" (bad|plot)\nQuestion: Do both questions ask the same thing\? Answer:$", written)
    assert prompts.lengths.tolist() == [60]


def test_a_decoder_learns_in_the_loop_of_every_model(folder: Path, tokenizer: PromptTokenizer) -> None:
    """Which of two words is in the text: from chance to nearly always right."""
    generator = random.Random(0)
    rows = []
    for number in range(240):
        label = generator.randrange(2)
        words = [generator.choice(["film", "plot", "the", "thing"]) for _ in range(generator.randrange(2, 6))]
        words.insert(generator.randrange(len(words)), ("bad", "good")[label])
        rows.append(Example(str(number), " ".join(words), None, label))
    template = TEMPLATES["sst2"]
    encoded = encode_prompts(rows, template, tokenizer, 32)
    model = VerbalizedDecoder(load_causal(folder, InContext()), tokenizer.label_ids(template))
    settings = Lora(epochs=6, batch_size=16, dropout=0.0)
    train, held = np.arange(200), np.arange(200, 240)
    train_model(model, Classification(2), encoded, train, settings, 3e-3, 0, "cpu", "toy")
    answers = predict(model, Classification(2), encoded, held, "cpu", "toy")
    assert (answers.argmax(axis=1) == encoded.labels[held]).mean() > 0.9
