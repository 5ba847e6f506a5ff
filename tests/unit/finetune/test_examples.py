"""Tokenised tasks, batches and splits, against naive second implementations."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from electralab.data.example import Example as Row
from electralab.deploy.rows import pair_lengths
from electralab.finetune.examples import (
    WINDOW_BATCHES,
    encode_examples,
    evaluation_batches,
    sample_examples,
    swapped_pairs,
    training_batches,
    tuning_split,
)

# One id a word, counted from 10: "7 7" -> [17, 17].
NUMBERS = SimpleNamespace(
    pad_id=0, cls_id=2, sep_id=3, encode=lambda texts: [[10 + int(word) for word in text.split()] for text in texts]
)

words = st.lists(st.integers(0, 50), max_size=30).map(lambda numbers: " ".join(map(str, numbers)))
examples_strategy = st.lists(st.builds(Row, st.just("x"), words, st.none() | words, st.integers(0, 2)), min_size=1)
lengths_strategy = st.lists(st.integers(2, 40), min_size=1, max_size=400).map(np.array)


def naive_encoding(row: Row, max_length: int) -> tuple[list[int], list[int]]:
    """`_truncate_seq_pair` of google-research/bert and the layout of its `convert_single_example`."""
    a = NUMBERS.encode([row.text])[0]
    b = None if row.pair is None else NUMBERS.encode([row.pair])[0]
    if b is None:
        ids = [2, *a[: max_length - 2], 3]
        return ids, [0] * len(ids)
    while len(a) + len(b) > max_length - 3:
        (a if len(a) > len(b) else b).pop()
    return [2, *a, 3, *b, 3], [0] * (len(a) + 2) + [1] * (len(b) + 1)


@settings(deadline=None)
@given(examples_strategy, st.integers(8, 40), st.randoms())
def test_a_batch_is_the_naive_encoding_padded_to_its_own_longest_row(examples, max_length, random):
    encoded = encode_examples(examples, NUMBERS, max_length)
    rows = [random.randrange(len(examples)) for _ in range(5)]
    batch = encoded.batch(np.array(rows))
    expected = [naive_encoding(examples[row], max_length) for row in rows]
    width = max(len(ids) for ids, _ in expected)
    assert width <= max_length
    mask = torch.tensor([[position < len(ids) for position in range(width)] for ids, _ in expected])
    types = torch.tensor([segments + [0] * (width - len(segments)) for _, segments in expected])
    assert batch.input_ids.tolist() == [ids + [0] * (width - len(ids)) for ids, _ in expected]
    assert torch.equal(mask, torch.ones_like(mask) if batch.attention_mask is None else batch.attention_mask)
    assert (batch.attention_mask is None) == bool(mask.all())
    assert torch.equal(types, torch.zeros_like(types) if batch.token_type_ids is None else batch.token_type_ids)
    assert batch.labels.tolist() == [examples[row].label for row in rows]


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(5, 100))
def test_pairs_are_cut_longest_first(text, pair, budget):
    a, b = text, pair
    while a + b > budget:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    assert pair_lengths(text, pair, budget) == (a, b)


@settings(deadline=None)
@given(lengths_strategy, st.integers(1, 16), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_reads_every_row_once_and_is_a_function_of_seed_and_epoch(lengths, batch_size, seed, epoch):
    rows = np.arange(len(lengths))[::2]
    batches = training_batches(rows, lengths, batch_size, seed, epoch)
    assert sorted(np.concatenate(batches)) == sorted(rows)
    assert len(batches) == -(-len(rows) // batch_size)
    again = training_batches(rows, lengths, batch_size, seed, epoch)
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in again]


@settings(deadline=None)
@given(lengths_strategy, st.integers(1, 16))
def test_evaluation_drops_nothing_and_goes_from_short_to_long(lengths, batch_size):
    rows = np.arange(len(lengths))
    order = np.concatenate(evaluation_batches(rows, lengths, batch_size))
    assert sorted(order) == rows.tolist()
    assert (np.diff(lengths[order]) >= 0).all()


def test_epochs_and_seeds_differ_and_batches_come_in_no_order_of_length():
    lengths = np.random.default_rng(0).integers(2, 100, size=3000)
    rows = np.arange(3000)
    first = [batch.tolist() for batch in training_batches(rows, lengths, 8, 0, 0)]
    assert first != [batch.tolist() for batch in training_batches(rows, lengths, 8, 0, 1)]
    assert first != [batch.tolist() for batch in training_batches(rows, lengths, 8, 1, 0)]
    means = [lengths[batch].mean() for batch in first]
    # 375 batches in random order: the correlation of length and place has a standard error of .05.
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


def test_bucketing_wastes_little_and_a_window_is_not_the_whole_epoch():
    """Sentence lengths like SST-2's: random batches of 32 are half padding, buckets nearly none (measured: x 2)."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(2.4, 0.7, size=8000).astype(int), 3, 64)
    rows = np.arange(8000)

    def padded(batches):
        return sum(len(batch) * lengths[batch].max() for batch in batches)

    random_batches = generator.permutation(rows).reshape(-1, 32)
    assert padded(random_batches) > 2 * lengths.sum()
    bucketed = training_batches(rows, lengths, 32, 0, 0)
    assert padded(bucketed) < 1.1 * lengths.sum()
    # Sorting 8,000 rows at once would leave 250 batches with one length each; windows mix anew every epoch.
    assert WINDOW_BATCHES * 32 < 8000
    neighbours = {tuple(sorted(batch)) for batch in bucketed}
    assert not neighbours & {tuple(sorted(batch)) for batch in training_batches(rows, lengths, 32, 0, 1)}


@pytest.mark.parametrize("rows", [400, 1600])
def test_batches_mix_between_epochs_however_few_the_rows(rows):
    """Of the pairs of rows that share a batch, those that share one in the next epoch too. Windows of a quarter
    meet again in a quarter of the cases; sorted whole, two thirds of the pairs would stay together."""
    lengths = np.clip(np.random.default_rng(0).lognormal(3.2, 0.5, size=rows).astype(int), 3, 128)

    def mates(epoch):
        batches = training_batches(np.arange(rows), lengths, 32, 0, epoch)
        return {pair for batch in batches for pair in itertools.combinations(sorted(batch.tolist()), 2)}

    shared = [len(mates(epoch) & mates(epoch + 1)) / len(mates(epoch)) for epoch in range(3)]
    shuffled = 31 / (rows - 1)
    assert max(shared) < shuffled + 0.2


@settings(deadline=None)
@given(st.integers(2, 500), st.integers(0, 20))
def test_the_tuning_part_is_a_tenth_disjoint_and_seeded(rows, seed):
    train, tuning = tuning_split(rows, seed)
    assert sorted([*train, *tuning]) == list(range(rows))
    assert len(train) > 0
    assert len(tuning) == max(1, round(rows / 10))
    assert tuning_split(rows, seed)[1].tolist() == tuning.tolist()


def test_samples_are_seeded_and_nested():
    examples = [Row(str(number), "1", None, 0) for number in range(100)]
    small, large = sample_examples(examples, 20, 0), sample_examples(examples, 50, 0)
    assert len({row.id for row in small}) == 20
    assert set(small) < set(large)
    assert small == sample_examples(examples, 20, 0) != sample_examples(examples, 20, 1)
    assert sample_examples(examples, None, 0) == sample_examples(examples, 100, 0) == examples


def test_scores_stay_numbers_and_rows_without_a_label_are_marked():
    rows = [Row("a", "1", None, 2.4), Row("b", "2", None, None)]
    scores = encode_examples(rows, NUMBERS, 8, regression=True).batch(np.array([1, 0])).labels
    assert scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx([np.nan, 2.4], nan_ok=True)
    classes = encode_examples([Row("a", "1", None, 1), Row("b", "2", None, None)], NUMBERS, 8).labels
    assert (classes.dtype, classes.tolist()) == (np.int64, [1, -1])


@given(examples_strategy)
def test_swapping_twice_gives_the_rows_back_and_moves_only_the_texts(examples):
    swapped = swapped_pairs(examples)
    assert swapped_pairs(swapped) == examples
    for before, after in zip(examples, swapped):
        assert (after.id, after.label) == (before.id, before.label)
        texts = (before.text, before.pair) if before.pair is None else (before.pair, before.text)
        assert (after.text, after.pair) == texts
