"""Windows of held-out text: every token counts once, and a sample is a sample of them."""

from __future__ import annotations

import random

import pytest
from word_models import PIECES, write_pieces

from electralab.config import Retention
from electralab.errors import UserError
from electralab.retention.windows import sampled_windows, stream_windows
from electralab.tokens.tokenizer import TextEncoder, load_tokenizer

WORDS = [piece for piece in PIECES if piece.startswith("w")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return load_tokenizer(write_pieces(tmp_path_factory.mktemp("pieces")) / "tokenizer.json")


def documents(lengths: list[int]) -> list[str]:
    generator = random.Random(0)
    return [" ".join(generator.choices(WORDS, k=length)) for length in lengths]


@pytest.mark.parametrize("stride", [None, 1, 3, 8, 14])
def test_every_token_of_a_document_counts_once(stride: int | None, tokenizer: TextEncoder) -> None:
    texts = documents([1, 13, 14, 15, 40, 2])
    settings = Retention(corpus="c", window=16, stride=stride, sequences=10_000)
    windows = sampled_windows(texts, tokenizer, settings)
    for number, text in enumerate(texts):
        own = windows.documents == number
        counted = windows.input_ids[own][windows.scored[own]]
        assert counted.tolist() == tokenizer.encode([text])[0]
    assert windows.input_ids.shape[1] == 16 == windows.lengths.max()
    assert set(windows.input_ids[:, 0].tolist()) == {tokenizer.cls_id}
    ends = windows.input_ids.gather(1, windows.lengths[:, None] - 1)
    assert set(ends.flatten().tolist()) == {tokenizer.sep_id}
    padding = windows.input_ids[~windows.real]
    assert len(padding) and set(padding.tolist()) == {tokenizer.pad_id}


def test_windows_start_a_stride_apart(tokenizer: TextEncoder) -> None:
    (text,) = documents([30])
    windows = sampled_windows([text], tokenizer, Retention(corpus="c", window=16, stride=5, sequences=99))
    ids = tokenizer.encode([text])[0]
    starts = [0, 5, 10, 15, 20]
    assert [row[1:-1] for row in _texts(windows)] == [ids[start : start + 14] for start in starts]
    assert windows.scored.sum(1).tolist() == [14, 5, 5, 5, 1]


def _texts(windows: object) -> list[list[int]]:
    return [row[:length] for row, length in zip(windows.input_ids.tolist(), windows.lengths.tolist())]  # type: ignore[attr-defined]


def test_a_sample_is_by_seed_and_of_all_windows(tokenizer: TextEncoder) -> None:
    texts = documents([25] * 40)

    def sample(sequences: int, seed: int = 0) -> list[tuple[int, ...]]:
        settings = Retention(corpus="c", window=16, sequences=sequences, seed=seed)
        return [tuple(row) for row in _texts(sampled_windows(texts, tokenizer, settings))]

    every = sample(10_000)
    assert len(every) == 80
    assert sample(20) == sample(20) != sample(20, seed=1)
    assert set(sample(20)) <= set(every) and len(sample(20)) == 20
    drawn = [sample(20, seed) for seed in range(60)]
    counts = [sum(window in one for one in drawn) for window in every]
    assert min(counts) >= 3 and max(counts) <= 30  # binomial: 60 draws, 1 in 4 takes a window


def test_no_text_is_one_line(tokenizer: TextEncoder) -> None:
    with pytest.raises(UserError, match=r"^corpus c has no held-out text: raise its held_out_fraction or add text$"):
        sampled_windows([""], tokenizer, Retention(corpus="c"))


def test_a_stream_is_cut_as_it_is(tokenizer: TextEncoder) -> None:
    windows = stream_windows(list(range(5, 26)), 10, 8, tokenizer.pad_id)
    assert _texts(windows) == [list(range(5, 15)), list(range(13, 23)), list(range(21, 26))]
    assert windows.scored.sum(1).tolist() == [8, 8, 3]
    assert not windows.scored[:, 0].any()
    assert _texts(stream_windows(list(range(12)), 10, 10, 0)) == [list(range(10))]  # two tokens are left: none counts
