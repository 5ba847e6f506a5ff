"""Texts to ids with `tokenizers` alone, from the folder of a model."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from electralab.errors import UserError
from electralab.files import read_json
from electralab.model_files import SPECIAL_TOKENS, TOKENIZER_CONFIG


class PlainTokenizer:
    """Text to ids, without special tokens; text that spells one ("[MASK]") is text.

    Args:
        tokenizer_json: the `tokenizer.json` of a tokenizer folder.

    Raises:
        UserError: a file is missing or damaged, or a special token is missing.
    """

    def __init__(self, tokenizer_json: Path) -> None:
        self._tokenizer = _read(tokenizer_json)
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        names = _special_names(tokenizer_json.with_name(TOKENIZER_CONFIG))
        missing = [role for role in SPECIAL_TOKENS if names[role] not in vocabulary]
        if missing:
            raise UserError(
                f"{tokenizer_json}: no {', '.join(missing)} token; ELECTRA needs {', '.join(SPECIAL_TOKENS)}"
            )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            vocabulary[str(names[role])] for role in SPECIAL_TOKENS
        )
        added = self._tokenizer.get_added_tokens_decoder().items()
        roles = {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}
        self.special_ids: list[int] = sorted(roles | {id_ for id_, token in added if token.special})

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, without special tokens and without truncation."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts, add_special_tokens=False)]


def _read(tokenizer_json: Path) -> Tokenizer:
    text = json.dumps(read_json(tokenizer_json))
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # `tokenizers` raises the bare Exception class
        raise UserError(f"{tokenizer_json} is not a tokenizer of `tokenizers` ({error}): build it again") from error


def _special_names(tokenizer_config: Path) -> dict[str, str | None]:
    """The text of every special token; Hugging Face writes it as a string or as an `AddedToken` dictionary."""
    configuration = read_json(tokenizer_config)
    # Models that begin and end a text with BOS and EOS use them where BERT has [CLS] and [SEP].
    sources = {role: [role] for role in SPECIAL_TOKENS} | {"cls": ["cls", "bos"], "sep": ["sep", "eos"]}
    names: dict[str, str | None] = {}
    for role, keys in sources.items():
        values = [configuration.get(f"{key}_token") for key in keys]
        value = next((value for value in values if value), None)
        names[role] = value["content"] if isinstance(value, dict) else value
    return names
