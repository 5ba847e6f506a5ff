"""BERT's WordPiece with a memory: the ids of `tokenizers`, several times faster per core.

BERT's pipeline (normalise, split on white space and punctuation, match pieces) never looks across white space, so the
ids of a text are the concatenated ids of its white-space separated chunks. Text repeats itself: almost every chunk
has been seen before, and then costs one dictionary look-up. A new chunk of printable ASCII is split here and its
words are matched by the WordPiece model of `tokenizers`; any other new chunk goes through the whole of `tokenizers`.
"""

from __future__ import annotations

import json
import re

import numpy as np
from tokenizers import Tokenizer

MAX_CHUNKS = 2**19
MAX_WORDS = 2**18
MAX_CHUNK_LENGTH = 32  # longer ones (URLs) rarely repeat; with the counts above this bounds the memory

# BERT deletes these control characters, so they join what is around them, but `str.split` splits at them.
_DELETED_BY_BERT = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
_WORD_OR_PUNCTUATION = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")


class FastWordPiece:
    """Word-cached encoder with the ids of `tokenizer.encode(text, add_special_tokens=False)`.

    Args:
        tokenizer: WordPiece with BERT's normaliser and pre-tokenizer (see `supports`) and fewer than 65,536 entries.
            Text that spells a special token is text: the tokenizer is switched to `encode_special_tokens`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.encode_special_tokens = True
        lowercase = bool(json.loads(tokenizer.to_str())["normalizer"]["lowercase"])
        self._chunks = _Chunks(tokenizer, _Words(tokenizer), lowercase)

    def encode(self, text: str) -> bytes:
        """The ids of one text as little-endian uint16."""
        for character in _DELETED_BY_BERT:
            if character in text:
                text = text.replace(character, "")
        return b"".join(map(self._chunks.__getitem__, text.split()))


class _Words(dict[str, bytes]):
    """Ids of normalised ASCII words and punctuation marks."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._match = tokenizer.model.tokenize

    def __missing__(self, word: str) -> bytes:
        ids = pack([piece.id for piece in self._match(word)])
        if len(self) < MAX_WORDS and len(word) <= MAX_CHUNK_LENGTH:
            self[word] = ids
        return ids


class _Chunks(dict[str, bytes]):
    """Ids of the text between two white spaces, as it is written."""

    def __init__(self, tokenizer: Tokenizer, words: _Words, lowercase: bool) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._words = words
        self._lowercase = lowercase

    def __missing__(self, chunk: str) -> bytes:
        if chunk.isascii() and chunk.isprintable():
            text = chunk.lower() if self._lowercase else chunk
            ids = b"".join(map(self._words.__getitem__, _WORD_OR_PUNCTUATION.findall(text)))
        else:
            ids = pack(self._tokenizer.encode(chunk, add_special_tokens=False).ids)
        if len(self) < MAX_CHUNKS and len(chunk) <= MAX_CHUNK_LENGTH:
            self[chunk] = ids
        return ids


def pack(ids: list[int]) -> bytes:
    """Ids as little-endian uint16, the token cache's format."""
    return np.array(ids, dtype="<u2").tobytes()


def supports(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer is BERT's pipeline exactly: then, and only then, are white-space chunks independent."""
    layout = json.loads(tokenizer.to_str())
    normalizer, pre_tokenizer = layout["normalizer"] or {}, layout["pre_tokenizer"] or {}
    return (
        layout["model"]["type"] == "WordPiece"
        and normalizer.get("type") == "BertNormalizer"
        and normalizer["clean_text"]
        and pre_tokenizer.get("type") == "BertPreTokenizer"
        and all(token["special"] for token in layout["added_tokens"])
    )
