"""Corpora, tables and local tasks on small files."""

from __future__ import annotations

import csv
import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from electralab.config import Corpus, HubTask, HubText, LocalTask, LocalText, TableColumns, WordOrderTask
from electralab.data import corpora
from electralab.data.corpora import build_corpus, corpus_checksum, iter_documents
from electralab.data.example import Example
from electralab.data.sources import open_sources
from electralab.data.tasks import build_task, read_task
from electralab.data.word_order import build_word_order
from electralab.deploy.tabular import read_rows
from electralab.files import read_json

ROWS = [{"text": 'a "quoted" word', "label": "yes"}, {"text": "naïve, isn't it?", "label": "no"}]


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".tsv":
        lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def local_corpus(path: Path, **values: object) -> Corpus:
    return Corpus.model_validate({"parts": [LocalText(path=str(path))], "shards": 2, **values})


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_every_table_format_reads_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    write_table(path, ROWS)
    assert [row for _, row in read_rows(path, ["text", "label"])] == ROWS


def test_a_quote_in_a_tsv_is_text(tmp_path: Path) -> None:
    """As in GLUE, where a sentence may open a quotation that another row closes."""
    (tmp_path / "a.tsv").write_text('text\tlabel\n"he said\tyes\nand left"\tno\n')
    assert [row["text"] for _, row in read_rows(tmp_path / "a.tsv", ["text"])] == ['"he said', 'and left"']


@given(st.lists(st.text(min_size=1, max_size=40).map(str.strip).filter(bool), min_size=40, max_size=120, unique=True))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_documents_survive_once_whatever_the_order(tmp_path: Path, documents: list[str]) -> None:
    sources = tmp_path / "in.jsonl"
    splits = []
    for ordered in (documents, documents[::-1] + documents[:3]):
        sources.write_text("".join(json.dumps({"text": text}) + "\n" for text in ordered), encoding="utf-8")
        manifest = tmp_path / "out" / "manifest.json"
        build_corpus("c", local_corpus(sources, held_out_fraction=0.4, shards=1), manifest, tmp_path)
        splits.append([set(iter_documents(manifest, part)) for part in ("train", "held_out")])
        content = read_json(manifest)
        assert content["documents"] == len(documents)
        assert content["characters"] == sum(map(len, documents))
    assert splits[0] == splits[1]
    assert splits[0][0] | splits[0][1] == set(documents) and not splits[0][0] & splits[0][1]


def test_a_folder_of_mixed_files_is_one_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "text" / "deep"
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"document {number}", encoding="utf-8")
    write_table(tmp_path / "text" / "more.csv", [{"text": f"row {i}", "label": "x"} for i in range(40)])
    (tmp_path / "text" / "ignored.md").write_text("not text")
    manifest = tmp_path / "corpus" / "manifest.json"
    build_corpus("c", local_corpus(tmp_path / "text", held_out_fraction=0.3), manifest, tmp_path)
    content = read_json(manifest)
    assert content["documents"] == 80 and [source["files"] for source in content["sources"]] == [41]
    documents = {*iter_documents(manifest, "train"), *iter_documents(manifest, "held_out")}
    assert "document 7" in documents and "row 7" in documents
    assert sum(len(list(iter_documents(manifest, "train", shard))) for shard in (0, 1)) == sum(
        entry["documents"] for entry in content["train"]
    )


def test_the_checksum_follows_the_text(tmp_path: Path) -> None:
    checksums = set()
    for changed in (False, True, False):
        sources = tmp_path / "in.jsonl"
        texts = [f"document {i}" for i in range(60)] + (["one more"] if changed else [])
        sources.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        manifest = tmp_path / "out" / "manifest.json"
        build_corpus("c", local_corpus(sources, held_out_fraction=0.3), manifest, tmp_path)
        checksums.add(corpus_checksum(manifest))
    assert len(checksums) == 2


def test_max_documents_stops_early(tmp_path: Path) -> None:
    sources = tmp_path / "in.jsonl"
    sources.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(200)))
    manifest = tmp_path / "out" / "manifest.json"
    build_corpus("c", local_corpus(sources, max_documents=50, held_out_fraction=0.3), manifest, tmp_path)
    assert read_json(manifest)["documents"] == 50


def test_max_documents_reads_no_further(tmp_path: Path) -> None:
    """A later source that is not needed is not opened."""
    first = tmp_path / "in.jsonl"
    first.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(200)))
    parts = [LocalText(path=str(first)), LocalText(path=str(tmp_path / "missing"))]
    corpus = Corpus(parts=parts, shards=1, held_out_fraction=0.3, max_documents=200)
    build_corpus("c", corpus, tmp_path / "out" / "manifest.json", tmp_path)
    assert [source["rows"] for source in read_json(tmp_path / "out" / "manifest.json")["sources"]] == [200]


def test_memory_does_not_grow_with_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the text, the same peak of Python's memory."""
    monkeypatch.setattr(corpora, "BUFFER", 2**17)
    peaks = []
    for documents in (2_000, 8_000):
        sources = tmp_path / "in.jsonl"
        with sources.open("w") as file:
            for number in range(documents):
                file.write(json.dumps({"text": f"{number} " + "word " * 400}) + "\n")
        manifest = tmp_path / "out" / "manifest.json"
        tracemalloc.start()
        build_corpus("c", local_corpus(sources), manifest, tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read_json(manifest)["characters"] > 2000 * documents
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'\xef\xbb\xbf{"text": "byte-order mark"}\n', "byte-order mark"),
        (b'{"text": "half \\ud83d pair"}\n', "half \ufffd pair"),
        (b'{"text": "whole \\ud83d\\ude00 pair"}\n', "whole \U0001f600 pair"),
        ('{"text": "line\u2028separator"}\n'.encode(), "line\u2028separator"),
        (b'{"text": 7}\n', "7"),
        (b'{"text": null}\n{"text": "after null"}\n', "after null"),
    ],
)
def test_odd_json_text_is_read(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    source = next(open_sources(LocalText(path=str(tmp_path / "in.jsonl")), tmp_path))
    assert [text for text in source.documents if text] == [expected]


def test_a_hub_data_set_is_read(tmp_path: Path) -> None:
    """`datasets` reads a folder as it reads the hub; a row without text is no document."""
    rows = [{"text": "first", "id": 1}, {"text": None, "id": 2}, {"text": "third", "id": 3}]
    write_table(tmp_path / "train.parquet", rows)
    source = next(open_sources(HubText(repository=str(tmp_path), revision="main", licence="CC0-1.0"), tmp_path))
    assert list(source.documents) == ["first", "", "third"]
    assert source.provenance["version_or_revision"] == "main" and source.provenance["licence"] == "CC0-1.0"


def test_a_hub_task_round_trips(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write_table(tmp_path / f"{split}.parquet", [{"a": "one", "b": "two", "y": 1}, {"a": "x", "b": "y", "y": 0}])
    columns = TableColumns(text="a", pair="b", label="y")
    own = {"repository": str(tmp_path), "revision": "main", "accept_overlap": True}
    task = HubTask(**own, columns=columns, labels=["0", "1"])
    build_task("h", task, tmp_path / "out" / "manifest.json", tmp_path)
    data = read_task(tmp_path / "out" / "manifest.json")
    assert data.train == data.validation == [Example("1", "one", "two", 1), Example("2", "x", "y", 0)]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_a_local_task_round_trips(tmp_path: Path, suffix: str) -> None:
    for split in ("train", "validation"):
        write_table(tmp_path / f"{split}{suffix}", ROWS)
    own = {"path": str(tmp_path), "accept_overlap": True}
    task = LocalTask(**own, columns=TableColumns(text="text"), labels=["no", "yes"])
    build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)
    data = read_task(tmp_path / "out" / "manifest.json")
    assert [(e.text, e.label) for e in data.train] == [(row["text"], int(row["label"] == "yes")) for row in ROWS]
    assert data.labels == ["no", "yes"] and not data.synthetic


def test_word_order_swaps_two_neighbours_and_nothing_else() -> None:
    words = "alpha beta gamma delta epsilon zeta eta theta".split()
    documents = [
        f"Start {' '.join(words[i % 8 :] + words[: i % 8])} number{i} end. Another {i} {' '.join(words)} stop."
        for i in range(200)
    ]
    originals = {s for document in documents for s in document.replace(". ", ".\n").splitlines()}
    train, validation = build_word_order(documents, [], 200, 50)
    assert len(train) == 200 and len(validation) == 50
    for split in (train, validation):
        assert sum(example.label for example in split) * 2 == len(split)
        for example in split:
            if example.label == 0:
                assert example.text in originals
                continue
            assert example.text not in originals
            found = example.text.split()
            undone = [" ".join([*found[:i], found[i + 1], found[i], *found[i + 2 :]]) for i in range(1, len(found) - 2)]
            assert originals & set(undone)
    assert not {e.text for e in train} & {e.text for e in validation}


WORDS_OF_A_SENTENCE = st.lists(st.sampled_from("red green blue old new".split()), min_size=5, max_size=9)
DOCUMENT = st.lists(WORDS_OF_A_SENTENCE.map(lambda words: f"The {' '.join(words)} end."), max_size=4).map(" ".join)


@given(st.lists(DOCUMENT, max_size=40), st.lists(DOCUMENT, max_size=10), st.integers(0, 3))
def test_word_order_shares_no_sentence_with_training_text_or_between_splits(
    held_out: list[str], training: list[str], seed: int
) -> None:
    """Sentences that recur, as set phrases do: each is in one split, and in no document of the pretraining."""
    train, validation = build_word_order(held_out, training, 30, 10, seed)
    as_written = [{e.text for e in split if e.label == 0} for split in (train, validation)]
    sentences = [{s + "." for s in re.split(r"\.\s*", " ".join(text).strip()) if s} for text in (held_out, training)]
    assert not as_written[0] & as_written[1]
    assert as_written[0] | as_written[1] <= sentences[0] - sentences[1]
    for split in (train, validation):
        assert abs(len(split) - 2 * sum(e.label for e in split)) <= 1
    assert (train, validation) == build_word_order(held_out, training, 30, 10, seed)


def test_word_order_takes_every_document_equally_often() -> None:
    """A sample from more documents than it needs; the first and the last are as likely as any."""
    documents = [f"Document number{i} has just a few words in it." for i in range(60)]
    counts = Counter(
        int(re.search(r"number(\d+)", e.text)[1])
        for seed in range(400)
        for split in build_word_order(documents, [], 10, 5, seed)
        for e in split
    )
    expected = 400 * 15 / 60
    chi_square = sum((counts[i] - expected) ** 2 / expected for i in range(60))
    assert chi_square < 103  # 59 degrees of freedom: the 0.9996 quantile


def test_word_order_says_when_there_are_too_few_sentences(tmp_path: Path) -> None:
    sentence = "Sentence {} has quite a few plain words in it today."
    sources = tmp_path / "in.jsonl"
    sources.write_text("".join(json.dumps({"text": sentence.format(i)}) + "\n" for i in range(400)))
    manifest = tmp_path / "c" / "manifest.json"
    build_corpus("c", local_corpus(sources, held_out_fraction=0.3), manifest, tmp_path)
    task = WordOrderTask(corpus="c", train_rows=1000, validation_rows=50)
    build_task("w", task, tmp_path / "w" / "manifest.json", tmp_path, manifest)
    content = read_json(tmp_path / "w" / "manifest.json")
    rows = content["splits"]["train"]["rows"]
    assert 0 < rows < 1000
    assert f"train: {rows} rows of 1000; the held-out text has no more sentences." in content["notes"]


def test_word_order_comes_from_held_out_documents_only(tmp_path: Path) -> None:
    sentence = "Sentence {} has quite a few plain words in it today."
    sources = tmp_path / "in.jsonl"
    sources.write_text("".join(json.dumps({"text": sentence.format(i)}) + "\n" for i in range(1500)))
    manifest = tmp_path / "c" / "manifest.json"
    build_corpus("c", local_corpus(sources, held_out_fraction=0.3), manifest, tmp_path)
    task = WordOrderTask(corpus="c", train_rows=100, validation_rows=50)
    build_task("w", task, tmp_path / "w" / "manifest.json", tmp_path, manifest)
    data = read_task(tmp_path / "w" / "manifest.json")
    assert data.synthetic
    held_out = set(iter_documents(manifest, "held_out"))
    assert all(example.text in held_out for example in (*data.train, *data.validation) if example.label == 0)
