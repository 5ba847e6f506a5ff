"""The token cache: what is read back is what `transformers` says, and finished shards are not written again."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokens_corpus import write_corpus
from transformers import AutoTokenizer

from electralab.config import TrainedTokenizer
from electralab.errors import UserError
from electralab.tokens.cache import TokenCache, build_cache
from electralab.tokens.tokenizer import build_tokenizer

TRAIN = [
    [f"Shard one, document {i}. It has “two” sentences!\nAnd {'many ' * (i % 7)}words." for i in range(40)]
    + ["", " \n"],
    [f"Shard two tells about number {i * i}, naïvely?" for i in range(25)],
]
HELD_OUT = [["Held out text.", "More of it is here: literal [MASK]."]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("cache")
    corpus = write_corpus(built / "corpus", TRAIN, HELD_OUT)
    spec = TrainedTokenizer(kind="wordpiece", corpus="fixture", vocab_size=300)
    build_tokenizer(spec, built / "tokenizer" / "tokenizer.json", built, corpus)
    build_cache(corpus, built / "tokenizer" / "tokenizer.json", built / "tokens" / "manifest.json", workers=2)
    return built


def _files(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_documents_read_back_as_transformers_encodes_them(built: Path) -> None:
    auto = AutoTokenizer.from_pretrained(built / "tokenizer")
    texts = [text for shard in TRAIN for text in shard if text.strip()]
    cache = TokenCache(built / "tokens" / "manifest.json", "train")
    assert cache.documents == len(texts)
    expected = auto(texts, add_special_tokens=False)["input_ids"]
    assert [cache.document(number).tolist() for number in range(cache.documents)] == expected
    assert cache.tokens == sum(map(len, expected))
    with pytest.raises(IndexError):
        cache.document(cache.documents)


def test_a_separator_ends_every_document_of_the_stream(built: Path) -> None:
    cache = TokenCache(built / "tokens" / "manifest.json", "train")
    for stream, offsets in zip(cache.streams, cache.offsets):
        assert offsets[0] == 0
        assert offsets[-1] == len(stream)
        assert np.flatnonzero(stream == cache.sep_id).tolist() == (offsets[1:] - 1).tolist()
        assert int(stream.max()) < cache.vocab_size


def test_unigram_counts_are_of_the_training_text(built: Path) -> None:
    cache = TokenCache(built / "tokens" / "manifest.json", "held_out")
    train = TokenCache(built / "tokens" / "manifest.json", "train")
    text = np.concatenate([train.document(number) for number in range(train.documents)])
    counts = cache.unigram_counts()
    assert counts.tolist() == np.bincount(text, minlength=train.vocab_size).tolist()
    assert counts[[train.pad_id, train.cls_id, train.sep_id, train.mask_id]].tolist() == [0, 0, 0, 0]


def test_the_manifest_names_sentence_ends_and_special_tokens(built: Path) -> None:
    auto = AutoTokenizer.from_pretrained(built / "tokenizer")
    cache = TokenCache(built / "tokens" / "manifest.json", "held_out")
    assert auto.convert_ids_to_tokens(cache.sentence_end_ids) == [".", "!", "?"]
    assert (cache.pad_id, cache.mask_id) == (auto.pad_token_id, auto.mask_token_id)
    assert cache.special_ids == sorted(auto.all_special_ids)


def test_the_number_of_workers_changes_nothing(built: Path, tmp_path: Path) -> None:
    corpus, tokenizer = built / "corpus" / "manifest.json", built / "tokenizer" / "tokenizer.json"
    build_cache(corpus, tokenizer, tmp_path / "manifest.json", workers=1)
    assert _files(tmp_path) == _files(built / "tokens")


def test_a_whole_shard_is_kept_and_a_changed_one_is_written_again(built: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", TRAIN, HELD_OUT)
    tokenizer, manifest = built / "tokenizer" / "tokenizer.json", tmp_path / "tokens" / "manifest.json"
    build_cache(corpus, tokenizer, manifest, workers=1)
    shards = [manifest.parent / "train" / f"{number:05d}.tokens.bin" for number in (0, 1)]
    before = [path.stat().st_ino for path in shards]
    checksum = TokenCache(manifest, "train").checksum

    build_cache(corpus, tokenizer, manifest, workers=1)
    assert [path.stat().st_ino for path in shards] == before
    assert TokenCache(manifest, "train").checksum == checksum

    write_corpus(tmp_path / "corpus", [TRAIN[0], [*TRAIN[1], "One more."]], HELD_OUT)
    build_cache(corpus, tokenizer, manifest, workers=1)
    assert shards[0].stat().st_ino == before[0]
    assert TokenCache(manifest, "train").documents == 40 + 25 + 1
    assert TokenCache(manifest, "train").checksum != checksum


def test_another_tokenizer_writes_every_shard_again(built: Path, tmp_path: Path) -> None:
    corpus, manifest = built / "corpus" / "manifest.json", tmp_path / "tokens" / "manifest.json"
    build_cache(corpus, built / "tokenizer" / "tokenizer.json", manifest, workers=1)
    spec = TrainedTokenizer(kind="byte_level_bpe", corpus="fixture", vocab_size=300)
    build_tokenizer(spec, tmp_path / "bpe" / "tokenizer.json", tmp_path, corpus)
    build_cache(corpus, tmp_path / "bpe" / "tokenizer.json", manifest, workers=1)
    auto = AutoTokenizer.from_pretrained(tmp_path / "bpe")
    assert (
        TokenCache(manifest, "train").document(3).tolist() == auto(TRAIN[0][3], add_special_tokens=False)["input_ids"]
    )
    TokenCache(manifest, "train").check_tokenizer(tmp_path / "bpe" / "tokenizer.json")
    with pytest.raises(UserError, match="made with another tokenizer"):
        TokenCache(manifest, "train").check_tokenizer(built / "tokenizer" / "tokenizer.json")


def test_reading_needs_neither_the_tokenizer_nor_the_corpus_libraries(built: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from electralab.tokens.batches import make_batches\n"
        "from electralab.tokens.cache import TokenCache\n"
        "cache = TokenCache(Path(sys.argv[1]), 'train')\n"
        "make_batches('packed', cache, 16, 2, 0).batch(0)\n"
        "heavy = {'tokenizers', 'transformers', 'datasets', 'pyarrow', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    arguments = [sys.executable, "-c", program, str(built / "tokens" / "manifest.json")]
    finished = subprocess.run(arguments, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
