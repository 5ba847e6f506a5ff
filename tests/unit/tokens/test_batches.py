"""Batches: every token once per epoch, the same batch whatever came before, and segments as their sources define."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from electralab.errors import UserError
from electralab.tokens import batches as batches_module
from electralab.tokens.batches import Batch, Kind, _segments, make_batches
from electralab.tokens.cache import TokenCache
from electralab.tokens.shuffle import draw, shuffled, uniform

PAD, CLS, SEP, MASK, STOP, FIRST_WORD, VOCAB = 0, 2, 3, 4, 5, 10, 60_000
KINDS: list[Kind] = ["packed", "document_window", "sentence_pair"]


def make_cache(folder: Path, shards: list[list[list[int]]]) -> TokenCache:
    """A cache of given documents, written from the description of its format."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    entries = []
    for number, documents in enumerate(shards):
        stream = np.array([id_ for document in documents for id_ in [*document, SEP]], "<u2")
        offsets = np.cumsum([0, *(len(document) + 1 for document in documents)]).astype("<i8")
        (folder / "train" / f"{number:05d}.tokens.bin").write_bytes(stream.tobytes())
        (folder / "train" / f"{number:05d}.offsets.bin").write_bytes(offsets.tobytes())
        entries.append(
            {
                "file": f"{number:05d}.tokens.bin",
                "tokens": len(stream) - len(documents),
                "documents": len(documents),
                "tokens_sha256": hashlib.sha256(stream.tobytes()).hexdigest(),
                "offsets_sha256": hashlib.sha256(offsets.tobytes()).hexdigest(),
            }
        )
    manifest = {
        "format": 1,
        "vocab_size": VOCAB,
        "pad_id": PAD,
        "unk_id": 1,
        "cls_id": CLS,
        "sep_id": SEP,
        "mask_id": MASK,
        "special_ids": [0, 1, 2, 3, 4],
        "sentence_end_ids": [STOP],
        "corpus_checksum": "",
        "tokenizer_checksum": "",
        "unigram_counts": {"file": "unigram_counts.npy", "sha256": ""},
        "train": entries,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return TokenCache(folder / "manifest.json", "train")


def numbered(lengths: list[list[int]]) -> list[list[list[int]]]:
    """Documents of these lengths in which every token of the cache has an id of its own."""
    total = FIRST_WORD
    shards = []
    for shard in lengths:
        documents = []
        for length in shard:
            documents.append(list(range(total, total + length)))
            total += length
        shards.append(documents)
    return shards


def sentences(seed: int, documents: int, stop_every: int = 9) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    texts = [generator.integers(FIRST_WORD, VOCAB, generator.integers(2, 300)) for _ in range(documents)]
    return [np.where(generator.random(len(text)) < 1 / stop_every, STOP, text).tolist() for text in texts]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> TokenCache:
    return make_cache(tmp_path_factory.mktemp("cache"), [sentences(0, 120), sentences(1, 60), sentences(2, 1)])


def _equal(first: Batch, second: Batch) -> bool:
    return all((a is None and b is None) or torch.equal(a, b) for a, b in zip(first, second))


def epoch(cache: TokenCache, kind: Kind, length: int, size: int, seed: int, number: int = 0) -> list[list[int]]:
    """The sequences of one epoch, however they fall into batches."""
    batches = make_batches(kind, cache, length, size, seed)
    examples = round(batches.epoch_batches * size)
    first, last = number * examples, (number + 1) * examples
    rows = [row for index in range(first // size, -(-last // size)) for row in batches.batch(index).input_ids.tolist()]
    return rows[first % size :][:examples]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=1, max_size=3),
    length=st.integers(8, 24),
    size=st.integers(1, 7),
    seed=st.integers(-5, 2**63),
    number=st.integers(0, 3),
)
def test_a_packed_epoch_holds_every_token_once_up_to_the_tails(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[list[int]], length: int, size: int, seed: int, number: int
) -> None:
    shards = numbered(lengths)
    streams = [[id_ for document in shard for id_ in [*document, SEP]] for shard in shards]
    cache = make_cache(tmp_path_factory.mktemp("cache"), shards)
    whole = sum(len(stream) // (length - 1) for stream in streams)
    if not whole:
        with pytest.raises(UserError, match="less than one sequence"):
            make_batches("packed", cache, length, size, seed)
        return
    rows = epoch(cache, "packed", length, size, seed, number)
    assert len(rows) == whole
    assert all(row[0] == CLS and PAD not in row for row in rows)
    seen = Counter(id_ for row in rows for id_ in row[1:])
    separators = seen.pop(SEP, 0)
    assert set(seen.values()) <= {1}
    kept = [id_ for stream in streams for id_ in stream[: len(stream) // (length - 1) * (length - 1)]]
    assert set(seen) == {id_ for id_ in kept if id_ != SEP}
    assert separators == kept.count(SEP)
    # A row is a stretch of one stream, so the words in it are neighbours in the text.
    for row in rows:
        words = [id_ for id_ in row[1:] if id_ != SEP]
        assert words == list(range(words[0], words[0] + len(words)))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**64 - 1), st.integers(0, 1000))
def test_an_epoch_is_a_permutation(length: int, seed: int, number: int) -> None:
    positions = np.arange(number * length, (number + 1) * length, dtype=np.uint64)
    assert sorted(shuffled(positions, length, seed).tolist()) == list(range(length))


def test_epochs_and_seeds_differ_and_look_uniform() -> None:
    length = 10_007
    orders = [shuffled(np.arange(length, dtype=np.uint64), length, seed).astype(np.int64) for seed in range(20)]
    following = shuffled(np.arange(length, 2 * length, dtype=np.uint64), length, 0).astype(np.int64)
    for order in (*orders[1:], following):
        # Two independent permutations of n agree in one place on average (Poisson(1): P(> 8) is 1e-6).
        assert np.sum(order == orders[0]) <= 8
    for order in orders:
        # Rank correlation of a random permutation with the identity has a standard deviation of 1/sqrt(n-1) = 0.01.
        assert abs(np.corrcoef(order, np.arange(length))[0, 1]) < 0.05
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.05
    first_of_each = [shuffled(np.zeros(1, np.uint64), 4, seed).item() for seed in range(4000)]
    # Chi-squared with 3 degrees of freedom is below 16.27 with probability 0.999.
    assert sum((count - 1000) ** 2 / 1000 for count in np.bincount(first_of_each)) < 16.27


def test_draws_are_uniform_and_independent_between_streams() -> None:
    index = np.arange(100_000, dtype=np.uint64)
    one, two = (uniform(draw(7, stream, index)) for stream in (1, 2))
    for values in (one, two, uniform(draw(8, 1, index))):
        counts = np.bincount((values * 100).astype(int), minlength=100)
        assert ((counts - 1000) ** 2 / 1000).sum() < 148.2  # chi-squared, 99 degrees of freedom, 0.999
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.015
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.015


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_does_not_depend_on_history(cache: TokenCache, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_batches(kind, cache, 32, 6, seed=3)
    in_one_plan = [whole.batch(index) for index in range(40)]
    monkeypatch.setattr(batches_module, "EXAMPLES_TO_PLAN", 13)
    batches = make_batches(kind, cache, 32, 6, seed=3)
    forward = [batches.batch(index) for index in range(40)]
    assert all(_equal(one, other) for one, other in zip(forward, in_one_plan))
    resumed = make_batches(kind, cache, 32, 6, seed=3)
    assert all(_equal(resumed.batch(index), forward[index]) for index in reversed(range(40)))
    assert not _equal(forward[0], make_batches(kind, cache, 32, 6, seed=4).batch(0))
    # Micro-batches are the same sequences as the batch they make up.
    halves = make_batches(kind, cache, 32, 3, seed=3)
    assert torch.equal(torch.cat([halves.batch(2).input_ids, halves.batch(3).input_ids]), forward[1].input_ids)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_masks(cache: TokenCache, kind: Kind) -> None:
    batches = make_batches(kind, cache, 32, 5, seed=0)
    for index in range(30):
        input_ids, mask, types = batches.batch(index)
        assert input_ids.shape == (5, 32)
        assert input_ids.dtype == torch.int64
        assert int(input_ids.min()) >= 0
        assert int(input_ids.max()) < cache.vocab_size
        assert (input_ids[:, 0] == CLS).all()
        assert not (input_ids == MASK).any()
        assert (mask is None) == (kind == "packed")
        assert (types is None) == (kind != "sentence_pair")
        if mask is not None:
            assert mask.dtype == torch.bool
            assert torch.equal(mask, input_ids != PAD)
            last = mask.sum(1) - 1
            assert (input_ids.gather(1, last[:, None]) == SEP).all()


def test_packing_pads_nothing(cache: TokenCache) -> None:
    assert make_batches("packed", cache, 32, 5, seed=0).real_token_fraction == 1.0


def test_a_document_window_is_a_stretch_of_one_document(tmp_path: Path) -> None:
    lengths = [[5, 30, 200], [14, 15, 1]]
    cache = make_cache(tmp_path, numbered(lengths))
    documents = [document for shard in numbered(lengths) for document in shard]
    starts: dict[int, Counter[int]] = {number: Counter() for number in range(len(documents))}
    for number in range(400):
        rows = epoch(cache, "document_window", 16, 4, 0, number)
        found = []
        for row in rows:
            text = row[1 : row.index(SEP)]
            found.append(next(i for i, document in enumerate(documents) if text[0] in document))
            document = documents[found[-1]]
            start = text[0] - document[0]
            assert text == document[start : start + 14]
            assert len(text) == min(len(document), 14)
            starts[found[-1]][start] += 1
        assert sorted(found) == list(range(len(documents))), "one window of every document per epoch"
    assert set(starts[0]) == set(starts[3]) == {0}
    # Offsets are uniform over every possible window, the last one included (16 degrees of freedom, p = 0.001: 39.25).
    assert set(starts[1]) == set(range(17))
    assert sum((starts[1][offset] - 400 / 17) ** 2 / (400 / 17) for offset in range(17)) < 39.25


def test_real_token_fraction_counts_the_padding(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, numbered([[6] * 10 + [14] * 10]))
    assert make_batches("document_window", cache, 16, 4, seed=0).real_token_fraction == pytest.approx((8 + 16) / 32)


@pytest.mark.parametrize(
    ("lengths", "target", "coin", "first", "second"),
    [
        ([3, 2, 4, 1], 6, False, [0, 1], [2, 3]),
        ([3, 2, 4, 1], 6, True, [0, 1, 2], [3]),  # the coin lets one sentence overflow A, once
        ([3, 2, 4, 1], 7, False, [0, 1, 3], [2]),  # a later sentence that fits still joins A
        ([9, 1], 6, True, [0], [1]),  # the first always does
        ([2, 2], 100, False, [0, 1], []),
        ([], 6, True, [], []),
    ],
)
def test_segments_follow_googles_rule(
    lengths: list[int], target: int, coin: bool, first: list[int], second: list[int]
) -> None:
    """Worked by hand from `_create_example` in build_pretraining_dataset.py."""
    texts = [[number] * length for number, length in enumerate(lengths)]
    found = _segments(texts, target, coin)
    assert found == tuple([id_ for number in numbers for id_ in texts[number]] for numbers in (first, second))


def test_sentence_pairs_have_googles_proportions(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, [sentences(5, 1500, stop_every=8)])
    length = 128
    batches = make_batches("sentence_pair", cache, length, 250, seed=1)
    rows = single = short = 0
    for index in range(20):
        input_ids, mask, types = batches.batch(index)
        assert mask is not None
        assert types is not None
        for ids, real, kinds in zip(input_ids.tolist(), mask.sum(1).tolist(), types.tolist()):
            separators = [place for place, id_ in enumerate(ids) if id_ == SEP]
            assert separators[-1] == real - 1
            assert len(separators) in (1, 2)
            second = range(separators[0] + 1, real) if len(separators) == 2 else range(0)
            assert kinds == [int(place in second) for place in range(length)]
            rows += 1
            single += len(separators) == 1
            short += real < length - 20
    # 10 % by choice, and the short ones that hold one sentence; 5 % have a random target.
    assert 0.08 < single / rows < 0.14
    assert 0.02 < short / rows < 0.07
    assert batches.real_token_fraction > 0.95


def test_sentence_pairs_keep_the_tokens_of_their_window(tmp_path: Path) -> None:
    shards = numbered([[40] * 60])
    cache = make_cache(tmp_path, shards)
    cache.sentence_end_ids = [id_ for document in shards[0] for id_ in document if id_ % 7 == 0]
    rows = epoch(cache, "sentence_pair", 32, 8, 0)
    seen = Counter(id_ for row in rows for id_ in row if id_ >= FIRST_WORD)
    assert set(seen.values()) == {1}
    # A pair gives up one token for its second [SEP]; 5 % of the windows end early.
    assert len(seen) > 0.92 * cache.tokens
    first_words = [row[row.index(SEP) + 1] for row in rows if row.count(SEP) == 2]
    begins = {document[0] for document in shards[0]} | {id_ + 1 for id_ in cache.sentence_end_ids}
    assert first_words
    assert set(first_words) <= begins, "B begins with a sentence"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_that_is_too_small_is_one_line(tmp_path: Path, kind: Kind) -> None:
    cache = make_cache(tmp_path, [[]])
    with pytest.raises(UserError, match="0 tokens, less than one sequence of 32: use a larger corpus"):
        make_batches(kind, cache, 32, 4, seed=0)
