"""The cached WordPiece encoder against `tokenizers` itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, pre_tokenizers

from electralab.model_files import SPECIAL_TOKENS
from electralab.tokens import fast_wordpiece
from electralab.tokens.fast_wordpiece import FastWordPiece, supports
from electralab.tokens.vocabulary import train_wordpiece

TEXT = (
    Path(__file__).read_text(encoding="utf-8") + "naïve café straße Ελλάδα 中文 don’t “quoted” — dash … İstanbul " * 3
)


def _trained(lowercase: bool) -> Tokenizer:
    return train_wordpiece(lambda: TEXT.split("\n"), 600, lowercase)


def _reference(tokenizer: Tokenizer) -> Tokenizer:
    """The same pipeline with no special tokens at all: what a text that never holds one must give."""
    layout = json.loads(tokenizer.to_str())
    layout["added_tokens"], layout["post_processor"] = [], None
    return Tokenizer.from_str(json.dumps(layout))


ENCODERS = {lowercase: FastWordPiece(_trained(lowercase)) for lowercase in (True, False)}
REFERENCES = {lowercase: _reference(_trained(lowercase)) for lowercase in (True, False)}

words = st.one_of(
    st.sampled_from(["the", "The", "tokenizers", "don't", "U.S.", "3.14", "a_b", "x" * 100, "y" * 101, "Z" * 500]),
    st.sampled_from(
        ["don’t", "naïve", "e\u0301", "\u0301", "İ", "ß", "ﬁ", "中文", "a中b", "Σ", "\ufffd", "\u200b", "🙂"]
    ),
    st.sampled_from([*SPECIAL_TOKENS.values(), "[mask]", "[MASK", "[MASK]s", "##s", "[unused1]"]),
    st.text(st.characters(codec="ascii"), max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
blanks = st.sampled_from([*" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000\x00\x7f", "", "  ", "\r\n"])
texts = st.lists(st.tuples(words, blanks), max_size=12).map(lambda pairs: "".join(a + b for a, b in pairs))


@settings(max_examples=400, deadline=None)
@given(texts, st.booleans())
@example("a\x0bb \x85 c\x1cd", True)
@example("[MASK] [CLS]", True)
def test_ids_are_those_of_tokenizers(text: str, lowercase: bool) -> None:
    ids = np.frombuffer(ENCODERS[lowercase].encode(text), "<u2").tolist()
    assert ids == REFERENCES[lowercase].encode(text, add_special_tokens=False).ids


def test_every_character_that_can_be_written() -> None:
    characters = [chr(point) for point in range(0x30000) if not 0xD800 <= point < 0xE000]
    for start in range(0, len(characters), 4096):
        text = "".join(f"a{character}b{character} {character}\n" for character in characters[start : start + 4096])
        ids = np.frombuffer(ENCODERS[True].encode(text), "<u2").tolist()
        assert ids == REFERENCES[True].encode(text, add_special_tokens=False).ids


def test_a_full_memory_changes_nothing_and_stops_growing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_wordpiece, "MAX_CHUNKS", 50)
    monkeypatch.setattr(fast_wordpiece, "MAX_WORDS", 20)
    encoder = FastWordPiece(_trained(True))
    ids = np.frombuffer(encoder.encode(TEXT), "<u2").tolist()
    assert ids == REFERENCES[True].encode(TEXT, add_special_tokens=False).ids
    assert len(encoder._chunks) == 50
    assert len(encoder._chunks._words) == 20


def test_a_pipeline_that_is_not_berts_is_not_taken_for_it() -> None:
    assert supports(_trained(True))
    split_otherwise = _trained(True)
    split_otherwise.pre_tokenizer = pre_tokenizers.Whitespace()
    assert not supports(split_otherwise)
    not_normalised = _reference(_trained(True))
    layout = json.loads(not_normalised.to_str())
    layout["normalizer"] = None
    assert not supports(Tokenizer.from_str(json.dumps(layout)))
    with_words = _trained(True)
    with_words.add_tokens([AddedToken("two words", special=False)])
    assert not supports(with_words)
