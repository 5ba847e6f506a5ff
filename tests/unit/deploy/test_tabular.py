"""Tables of every format against pandas, and cells that are no text."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from electralab.config import Corpus, LocalTask, LocalText
from electralab.data.corpora import build_corpus, iter_documents
from electralab.data.sources import open_sources
from electralab.data.tasks import build_task, read_task
from electralab.deploy.tabular import as_text, read_rows
from electralab.errors import UserError
from electralab.files import read_json

# Any text of one line; carriage returns within it are text, as for pandas with `lineterminator="\\n"`.
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\ufeff\0")).map(
    lambda text: f"<{text}>"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@settings(max_examples=50)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=4))
@example([("<a good\rfilm>", "<1>"), ('<a "quoted\r\r film>', "<0>")])
def test_a_tsv_has_the_cells_that_pandas_reads(folder: Path, rows: list[tuple[str, str]]) -> None:
    path = folder / "t.tsv"
    content = "".join("\t".join(row) + "\n" for row in [("a", "b"), *rows])
    path.write_bytes(content.encode())
    options: dict[str, Any] = {"sep": "\t", "quoting": 3, "keep_default_na": False, "dtype": str}
    expected = pd.read_csv(io.BytesIO(content.encode()), lineterminator="\n", **options)
    assert [row for _, row in read_rows(path, ["a"])] == expected.to_dict("records")


@settings(max_examples=50)
@given(st.lists(st.tuples(cells, st.text(st.sampled_from('ab,"\r\n\t')).map("{}.".format)), min_size=1, max_size=4))
def test_a_csv_that_pandas_wrote_has_the_cells_that_were_written(folder: Path, rows: list[tuple[str, str]]) -> None:
    path = folder / "t.csv"
    path.write_bytes(pd.DataFrame(rows, columns=["a", "b"]).to_csv(index=False, lineterminator="\n").encode())
    assert [(row["a"], row["b"]) for _, row in read_rows(path, ["a"])] == rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_line_ends_are_no_text(tmp_path: Path, end: str) -> None:
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        (tmp_path / name).write_bytes(f"a{separator}b{end}one\rmore{separator}two{end}".encode())
        assert [row for _, row in read_rows(tmp_path / name, ["a"])] == [{"a": "one\rmore", "b": "two"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text\rone\rtwo\r", r"a\.csv: its header holds carriage returns: end its lines with line feeds"),
        ("a.tsv", b"text\rone\rtwo\r", r"a\.tsv: its header holds carriage returns: end its lines with line feeds"),
        ("a.jsonl", b'{"text": Infinity}\n', r"a\.jsonl, row 1, column 'text': an infinite number where text"),
        ("a.jsonl", b'{"text": true}\n', r"a\.jsonl, row 1, column 'text': a bool where text is expected"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        for source in open_sources(LocalText(path=str(tmp_path)), tmp_path):
            list(source.documents)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_a_cell_is_text_a_finite_number_or_empty(value: Any) -> None:
    if value is None or value != value:
        assert as_text(value, "here") is None
    elif isinstance(value, bool | list) or (isinstance(value, float) and math.isinf(value)):
        with pytest.raises(UserError, match=r"here: .* where text is expected"):
            as_text(value, "here")
    else:
        assert as_text(value, "here") == str(value)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_not_a_number_is_no_document(tmp_path: Path, suffix: str) -> None:
    """`json.dumps` writes NaN for a text that pandas misses, and a parquet column of it is one of numbers."""
    if suffix == ".jsonl":
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in ("one", math.nan, None, "")))
    else:
        pq.write_table(pa.table({"text": pa.array([math.nan, None, 2.5])}), tmp_path / "a.parquet")
    (source,) = open_sources(LocalText(path=str(tmp_path)), tmp_path)
    assert list(filter(None, source.documents)) == ["one" if suffix == ".jsonl" else "2.5"]


def test_a_label_of_a_column_with_a_gap_is_explained(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        pq.write_table(pa.table({"sentence": [split], "label": [1.0]}), tmp_path / f"{split}.parquet")
    task = LocalTask(path=str(tmp_path), labels=["0", "1"])
    with pytest.raises(
        UserError, match=r"label '1\.0' is not among 0, 1; whole numbers beside an empty cell become frac"
    ):
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)


def test_truth_values_are_labels(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        pq.write_table(
            pa.table({"sentence": [split, f"{split} 2"], "label": [True, False]}), tmp_path / f"{split}.parquet"
        )
    build_task("t", LocalTask(path=str(tmp_path), labels=["False", "True"]), tmp_path / "out" / "m.json", tmp_path)
    assert [example.label for example in read_task(tmp_path / "out" / "m.json").train] == [1, 0]


def test_tables_that_are_folders_of_parts_are_read_as_pandas_reads_them(tmp_path: Path) -> None:
    """As Spark writes them."""
    for split in ("train", "validation"):
        folder = tmp_path / f"{split}.parquet"
        folder.mkdir()
        (folder / "_SUCCESS").touch()
        for part in range(3):
            rows = {"sentence": [f"{split} {part} {n}" for n in range(2)], "label": ["a", "b"]}
            pq.write_table(pa.table(rows), folder / f"part-{part:05d}.snappy.parquet")
    manifest = tmp_path / "out" / "manifest.json"
    build_task("t", LocalTask(path=str(tmp_path), labels=["a", "b"]), manifest, tmp_path)
    data, expected = read_task(manifest), pd.read_parquet(tmp_path / "train.parquet")
    assert [example.text for example in data.train] == list(expected["sentence"])
    assert [example.id for example in data.train] == ["1", "2", "3", "4", "5", "6"]
    (tmp_path / "test.parquet").mkdir()
    with pytest.raises(UserError, match=r"test\.parquet is a folder without \.parquet files"):
        build_task("t", LocalTask(path=str(tmp_path), labels=["a", "b"]), manifest, tmp_path)


def test_a_class_without_a_row_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\none\ta\ntwo\tb\n")
    (tmp_path / "validation.tsv").write_text("sentence\tlabel\nthree\tc\nfour\tb\n")
    manifest = tmp_path / "out" / "manifest.json"
    build_task("t", LocalTask(path=str(tmp_path), labels=["a", "b", "c"]), manifest, tmp_path)
    assert read_json(manifest)["notes"] == ["train: no row has the label 'c'", "validation: no row has the label 'a'"]


# --- documents of a .txt ------------------------------------------------------------------------------------------


def blank_line_file(path: Path, documents: int, end: str = "\n") -> list[str]:
    """The format that google-research/electra reads: a sentence a line, a blank line behind a document."""
    texts = [f"Document {n}, first sentence.{end}Second sentence of {n}." for n in range(documents)]
    path.write_bytes(f"{end} {end}".join(["", *texts, end]).encode())
    return [text.replace(end, "\n") for text in texts]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_part_documents_where_they_are_said_to(tmp_path: Path, end: str) -> None:
    expected = blank_line_file(tmp_path / "corpus.txt", 200, end)
    part = LocalText(path=str(tmp_path / "corpus.txt"), documents="blank_line")
    manifest = tmp_path / "out" / "manifest.json"
    build_corpus("c", Corpus(parts=[part], shards=1, held_out_fraction=0.3), manifest, tmp_path)
    assert sorted([*iter_documents(manifest, "train"), *iter_documents(manifest, "held_out")]) == sorted(expected)
    assert read_json(manifest)["notes"] == []


def test_a_txt_that_is_one_document_says_so(tmp_path: Path) -> None:
    blank_line_file(tmp_path / "corpus.txt", 200)
    corpus = Corpus(parts=[LocalText(path=str(tmp_path / "corpus.txt"))], shards=1)
    with pytest.raises(UserError, match=r"1 document of [\d,]+ characters on average: a \.txt is one .*blank_line"):
        build_corpus("c", corpus, tmp_path / "out" / "manifest.json", tmp_path)


def test_long_documents_are_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):
        (tmp_path / "in" / f"{number}.txt").write_text(f"{number} " + "words of a long document " * 1000)
    manifest = tmp_path / "out" / "manifest.json"
    corpus = Corpus(parts=[LocalText(path=str(tmp_path / "in"))], shards=1, held_out_fraction=0.3)
    build_corpus("c", corpus, manifest, tmp_path)
    (note,) = read_json(manifest)["notes"]
    assert "30 documents of 25,001 characters on average: a .txt is one document" in note.replace("25,002", "25,001")
    assert f"result: 30 documents, 0.8 million characters; {note}" in capsys.readouterr().err


def test_files_that_are_links_are_followed_and_counted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere.txt").write_text("linked")
    (tmp_path / "in" / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    (tmp_path / "in" / "own.txt").write_text("own")
    (source,) = open_sources(LocalText(path=str(tmp_path / "in")), tmp_path)
    assert list(source.documents) == ["linked", "own"] and source.provenance["linked_files"] == 1
