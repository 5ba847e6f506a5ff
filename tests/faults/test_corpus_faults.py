"""Text that cannot be read, full disks, kills: one line, and nothing half written that is trusted."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from left_behind import left_behind

from electralab.config import Corpus, LocalText
from electralab.data.corpora import build_corpus, iter_documents
from electralab.errors import UserError
from electralab.files import only_writer


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
