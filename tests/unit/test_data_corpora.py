"""Corpora, tables and local tasks on small files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from electralab.config import Corpus, LocalTask, LocalText, TableColumns, WordOrderTask
from electralab.data.corpora import build_corpus, corpus_checksum, iter_documents
from electralab.data.tabular import read_rows
from electralab.data.tasks import build_task, read_task
from electralab.data.word_order import build_word_order
from electralab.files import read_json

ROWS = [{"text": 'a "quoted" word', "label": "yes"}, {"text": "naïve, isn't it?", "label": "no"}]


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
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
    assert [row for _, row in read_rows(path)] == ROWS


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
    assert content["documents"] == 80 and len(content["sources"]) == 41
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


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_a_local_task_round_trips(tmp_path: Path, suffix: str) -> None:
    for split in ("train", "validation"):
        write_table(tmp_path / f"{split}{suffix}", ROWS)
    task = LocalTask(path=str(tmp_path), columns=TableColumns(text="text"), labels=["no", "yes"])
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
    train, validation = build_word_order(documents, 200, 50)
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
