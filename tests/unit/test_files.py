"""Atomic files: a reader sees the old content or the new, never half of it."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electralab.errors import UserError
from electralab.files import atomic_write, read_json, sha256, staged_folder, write_json, write_text


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "first")
    write_text(path, "zweite Fassung, größer")
    assert path.read_bytes() == "zweite Fassung, größer".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_have_the_mode_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    """Also those that a library wrote for nobody else to read, as safetensors does."""
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "x")
        with atomic_write(tmp_path / "moved") as temporary:
            (tmp_path / "private").touch(0o600)
            (tmp_path / "private").replace(temporary)
        with staged_folder(tmp_path / "folder") as staging:
            (staging / "private").touch(0o600)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~umask}


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_error_keeps_the_old_content(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_reader_sees_the_old_file_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_sentence(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(UserError, match=r"no space left .*file\.txt.*free some") as caught, atomic_write(path):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"


def test_full_device_keeps_the_old_content(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(UserError, match="no space left"), atomic_write(path), Path("/dev/full").open("w") as device:
        device.write("x" * 100_000)
        device.flush()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from electralab.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=JSON)
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate is not text
        return
    write_json(path, value)
    assert read_json(path) == value


def test_json_does_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": {"d": 2, "c": 3}})
    write_json(tmp_path / "b.json", {"a": {"c": 3, "d": 2}, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe{}", b"not json"])
def test_damaged_json_names_the_file_and_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json is damaged .*delete it"):
        read_json(path)


def test_missing_json_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist: build it first with snakemake .*run\.json"):
        read_json(tmp_path / "run.json")


def test_sha256_is_that_of_coreutils(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 5000)
    reference = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert sha256(path) == reference
