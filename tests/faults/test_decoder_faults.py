"""Decoders and prompts that cannot be used: one line that says why, before anything is trained or answered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model_hub import write_bert
from safetensors.torch import load_file, save_file
from tiny_decoder import edit_config, task, write_decoder, write_tokenizer

from electralab.config import InContext
from electralab.data.example import Example
from electralab.errors import UserError
from electralab.finetune.decoder.model import VerbalizedDecoder, check_positions, encode_prompts
from electralab.finetune.decoder.prompts import TEMPLATES, PromptTokenizer, Template
from electralab.methods.base_models import load_causal
from electralab.methods.in_context import InContextReader, draw_shots

ROW = Example("1", "good film", None, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_decoder(tmp_path / "decoder")


def message(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_neither_padding_nor_end_of_text(folder: Path) -> None:
    edit_config(folder, pad_token_id=None, eos_token_id=None)
    with pytest.raises(UserError, match="neither a pad_token_id nor an eos_token_id") as error:
        PromptTokenizer(folder)
    assert str(folder) in message(error)


def test_a_label_word_that_the_vocabulary_does_not_hold(folder: Path) -> None:
    write_tokenizer(folder, answers=" No negative positive")
    with pytest.raises(UserError, match="label word 'Yes' is not a token of this model's vocabulary") as error:
        PromptTokenizer(folder).label_ids(TEMPLATES["qqp"])
    message(error)


def test_a_word_that_the_tokenizer_reads_as_unknown(folder: Path) -> None:
    """One token, but not the word's."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "Answer": 1, ":": 2, "No": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(UserError, match="label word 'Yes' is not a token"):
        PromptTokenizer(folder).label_ids(TEMPLATES["boolq"])


@pytest.mark.parametrize("words", [("Yes", "Yes"), ("positive", "positively"), ("0", "3")])
def test_label_words_that_begin_alike(folder: Path, words: tuple[str, str]) -> None:
    template = Template("Review: {text}\nAnswer:", words)
    with pytest.raises(UserError, match=f"'{words[0]}' and '{words[1]}' begin with the same token") as error:
        PromptTokenizer(folder).label_ids(template)
    message(error)


def test_an_encoder_is_no_decoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a bert, which is no decoder: use opt or llama") as error:
        load_causal(write_bert(tmp_path / "bert"), InContext())
    message(error)


def test_weights_that_are_not_all_there(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    del state["model.decoder.layers.1.fc1.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights of the body are missing.*layers\.1\.fc1\.weight") as error:
        load_causal(folder, InContext())
    message(error)


def test_prompts_longer_than_the_model(folder: Path) -> None:
    check_positions(folder, 96, "few_shots")
    with pytest.raises(UserError, match="method few_shots: max_length 97 is longer than the 96 positions") as error:
        check_positions(folder, 97, "few_shots")
    message(error)


def test_no_room_for_a_text(folder: Path) -> None:
    with pytest.raises(UserError, match=r"max_length 8 leaves no room for a text: .* alone takes \d+ tokens") as error:
        encode_prompts([ROW], TEMPLATES["qqp"], PromptTokenizer(folder), 8)
    message(error)


def test_too_few_rows_to_show() -> None:
    rows = [ROW, Example("2", "bad film", None, 0), Example("3", "bad plot", None, 0)]
    assert len(draw_shots(task([], rows), 2, 0)) == 2
    with pytest.raises(UserError, match=r"too few training rows of class 'yes'.*show 4 solved examples") as error:
        draw_shots(task([], rows), 4, 0)
    message(error)
    with pytest.raises(UserError, match="too few training rows of class 'yes'"):
        draw_shots(task([ROW], rows), 2, 0)  # the only one is to be scored


def test_a_model_that_answers_with_nan(folder: Path) -> None:
    tokenizer, template = PromptTokenizer(folder), TEMPLATES["sst2"]
    model = load_causal(folder, InContext())
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight.fill_(np.nan)
    decoder = VerbalizedDecoder(model, tokenizer.label_ids(template))
    with pytest.raises(UserError, match="toy: the model answers with NaN or infinity") as error:
        InContextReader(decoder, tokenizer, template, [], 96, "cpu", "toy").answer([ROW])
    message(error)


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer") as error:
        PromptTokenizer(folder)
    message(error)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json does not exist"):
        PromptTokenizer(folder)
