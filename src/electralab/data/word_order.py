"""SYNTHETIC probe: is this sentence as written, or were two adjacent words swapped?

Built from held-out documents, without the sentences that are also a sentence of a training document (agencies'
articles and set phrases recur). A bag of words is blind to it by construction: what a model gets right, it gets from
word order.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable

from electralab.data.example import Example
from electralab.data.sampling import reservoir

WORDS = range(6, 31)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def build_word_order(
    held_out: Iterable[str], training: Iterable[str], train_rows: int, validation_rows: int, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Balanced training and validation examples whose sentences come from different held-out documents.

    Args:
        held_out: documents that give the sentences.
        training: documents of the pretraining; none of their sentences is used.
        train_rows: examples wanted; fewer are returned where the text has too few sentences.
        validation_rows: examples wanted, taken first.
        seed: of the choice of documents, sentences and swaps.

    Returns:
        Training and validation examples; label 1 means swapped.
    """
    rng = random.Random(seed)
    documents = reservoir(filter(None, map(_sentences, held_out)), train_rows + validation_rows, rng)
    candidates = {sentence for document in documents for sentence in document}
    for document in training:
        candidates.difference_update(_split(document))
    documents = [[sentence for sentence in document if sentence in candidates] for document in documents]
    counts = itertools.accumulate(map(len, documents))
    first_for_training = next((i for i, count in enumerate(counts, start=1) if count >= validation_rows), 1)
    held_for_validation = {sentence for document in documents[:first_for_training] for sentence in document}
    for_training = {sentence for document in documents[first_for_training:] for sentence in document}
    validation = _examples(held_for_validation, validation_rows, rng, "validation")
    train = _examples(for_training - held_for_validation, train_rows, rng, "train")
    return train, validation


def _split(document: str) -> list[str]:
    return SENTENCE.split(re.sub(r"\s+", " ", document))


def _sentences(document: str) -> list[str]:
    """The sentences of a document that can be used."""
    return [
        sentence
        for sentence in _split(document)
        if len(sentence.split()) in WORDS and sentence[-1] in ".!?" and _swappable(sentence.split())
    ]


def _examples(sentences: set[str], rows: int, rng: random.Random, split: str) -> list[Example]:
    pool = sorted(sentences)
    rng.shuffle(pool)
    examples = []
    for number, sentence in enumerate(pool[:rows]):
        label = number % 2
        text = _swap(sentence, rng) if label else sentence
        examples.append(Example(f"{split}-{number}", text, None, label))
    rng.shuffle(examples)
    return examples


def _swap(sentence: str, rng: random.Random) -> str:
    words = sentence.split()
    place = rng.choice(_swappable(words))
    words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def _swappable(words: list[str]) -> list[int]:
    """Where a word and its successor may change places: they differ, and neither is the first or the last word,
    whose case and full stop would tell."""
    return [i for i in range(1, len(words) - 2) if words[i].lower() != words[i + 1].lower()]
