"""SYNTHETIC probe: is this sentence as written, or were two adjacent words swapped?

Built from held-out text, so that no pretraining has seen the sentences. A bag of words is blind to it by
construction: what a model gets right, it gets from word order.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable

from electralab.data.example import Example

WORDS = range(6, 31)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def build_word_order(
    documents: Iterable[str], train_rows: int, validation_rows: int, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Balanced training and validation examples whose sentences come from different documents.

    Label 1 means swapped. Fewer rows are returned where the text has too few sentences.
    """
    rng = random.Random(seed)
    order = [_sentences(document) for document in documents]
    rng.shuffle(order)
    counts = itertools.accumulate(len(sentences) for sentences in order)
    validation_documents = next((i for i, count in enumerate(counts, start=1) if count >= validation_rows), 1)
    validation = _examples(order[:validation_documents], validation_rows, rng, "validation")
    train = _examples(order[validation_documents:], train_rows, rng, "train")
    return train, validation


def _sentences(document: str) -> list[str]:
    return [
        sentence
        for sentence in SENTENCE.split(re.sub(r"\s+", " ", document))
        if len(sentence.split()) in WORDS and sentence[-1] in ".!?" and _swappable(sentence.split())
    ]


def _examples(documents: list[list[str]], rows: int, rng: random.Random, split: str) -> list[Example]:
    pool = list(dict.fromkeys(sentence for sentences in documents for sentence in sentences))
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
