"""The alphabet of a WordPiece vocabulary: enough of it for Chinese, and the usual one for letters."""

from __future__ import annotations

import random
import string
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokens_corpus import write_corpus

from electralab.config import TrainedTokenizer
from electralab.files import read_json
from electralab.tokens.cache import build_cache
from electralab.tokens.tokenizer import build_tokenizer
from electralab.tokens.vocabulary import train_wordpiece

CHARACTERS = [chr(0x4E00 + number) for number in range(2500)]


def chinese(documents: int) -> list[str]:
    """Text of 2,500 characters whose frequencies follow Zipf's law."""
    rng = random.Random(0)
    weights = [1 / rank for rank in range(1, len(CHARACTERS) + 1)]
    return ["".join(rng.choices(CHARACTERS, weights, k=400)) + "。" for _ in range(documents)]


def unknown_share(tokenizer: Tokenizer, texts: list[str]) -> float:
    ids = [number for text in texts for number in tokenizer.encode(text, add_special_tokens=False).ids]
    return ids.count(tokenizer.token_to_id("[UNK]")) / len(ids)


@pytest.mark.parametrize("vocab_size", [21_128, 8_000, 3_000])
def test_chinese_is_known_where_the_vocabulary_has_room(vocab_size: int) -> None:
    """As with the trainer of `tokenizers` without a limit of the alphabet."""
    texts = chinese(200)
    reference = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    reference.normalizer, reference.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=["[UNK]"], show_progress=False)
    reference.train_from_iterator(texts, trainer=trainer)
    assert unknown_share(reference, texts) == 0
    assert unknown_share(train_wordpiece(lambda: texts, vocab_size, True), texts) <= 1e-4


def test_a_vocabulary_without_room_is_filled_with_the_most_frequent_characters() -> None:
    texts = chinese(200)
    pieces = train_wordpiece(lambda: texts, 1000, True).get_vocab()
    known = [piece for piece in pieces if len(piece) == 1]
    assert len(known) > 900 and len(pieces) <= 1000
    frequent = Counter("".join(texts)).most_common(900)
    assert {character for character, _ in frequent} <= set(known)


def test_letters_keep_their_usual_alphabet() -> None:
    """An eighth of the vocabulary, where it covers the text: rare signs are left out."""
    rare = [chr(0x2200 + number) for number in range(64)]
    text = " ".join(string.ascii_lowercase[n % 26] + string.ascii_lowercase[n % 7] for n in range(400_000))
    pieces = train_wordpiece(lambda: [text, *rare], 256, True).get_vocab()
    single = {piece for piece in pieces if len(piece) == 1}
    assert set(string.ascii_lowercase) <= single and len(single) == 256 // 8


def test_a_cache_says_which_share_of_its_text_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, held_out = chinese(60), ["held out"]
    corpus = write_corpus(tmp_path / "corpus", [train], [held_out])
    spec = TrainedTokenizer(kind="wordpiece", corpus="fixture", vocab_size=500)
    build_tokenizer(spec, tmp_path / "tokenizer" / "tokenizer.json", tmp_path, corpus)
    build_cache(corpus, tmp_path / "tokenizer" / "tokenizer.json", tmp_path / "cache" / "manifest.json", workers=1)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer" / "tokenizer.json"))
    share = unknown_share(tokenizer, train)
    assert share > 0.1
    assert read_json(tmp_path / "cache" / "manifest.json")["unknown_share"] == pytest.approx(share)
    assert f"{share:.2%} of them [UNK]: the vocabulary lacks" in capsys.readouterr().err
