"""Atomic files and checksums: a reader never sees half a file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from electralab.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
TABLE_SUFFIXES = (".jsonl", ".parquet", ".csv", ".tsv")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it into place.

    On any error the temporary file is removed and `path` keeps its earlier content.

    Raises:
        UserError: the disk is full or the quota is used up.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode  # what the user's umask gives to new files
        yield temporary
        temporary.chmod(mode)  # what was moved here, or written by safetensors, has another
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in FULL:
            raise UserError(full_disk(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; on success flush its files to disk and let it take the place of `folder`.

    On any error it is removed, and an earlier `folder` stays.

    Raises:
        UserError: the disk is full or the quota is used up.
    """
    folder = Path(folder)
    staging = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    staging.mkdir(parents=True)
    mode = staging.stat().st_mode & 0o666  # what the user's umask gives to new files
    try:
        yield staging
        for path in staging.rglob("*"):
            if path.is_file():
                path.chmod(mode)  # safetensors would give others no right to read
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        _sync_folder(staging)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
        _sync_folder(folder.parent)
    except Exception as error:
        # Libraries that write weights wrap what the system says in exceptions of their own.
        if getattr(error, "errno", None) in FULL or any(os.strerror(number) in str(error) for number in FULL):
            raise UserError(full_disk(folder)) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a power cut: a file that is renamed into it is there only once this is done."""
    if os.name == "posix":  # Windows cannot open a folder
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def full_disk(path: Path) -> str:
    """What to say where `path` could not be written."""
    remedy = "free some and run the same command again; finished work is kept"
    return f"no space left on the disk while writing {path}: {remedy}"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: indented, keys sorted, a newline at the end."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: build it first with snakemake {path}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run the same command again") from error


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in constant memory."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, checksums: Mapping[str, str], source: Path, remedy: str) -> None:
    """See that files are those that a record or a manifest names.

    Args:
        folder: the names are relative to it.
        checksums: hex SHA-256 by name.
        source: what names them.
        remedy: what to do where they are not.

    Raises:
        UserError: a file is missing or was changed.
    """
    for name, checksum in checksums.items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file} is missing, and {source} names it: {remedy}")
        if sha256(file) != checksum:
            raise UserError(f"{file} is not the file that {source} names (another checksum): {remedy}")


def files_checksum(paths: Sequence[Path], checksum: Callable[[Path], str] = sha256) -> str:
    """SHA-256 of a file; of several files, of their SHA-256 one below the other."""
    checksums = [checksum(path) for path in paths]
    if len(checksums) == 1:
        return checksums[0]
    return hashlib.sha256("".join(f"{found}\n" for found in checksums).encode()).hexdigest()


def table_parts(path: Path) -> list[Path]:
    """The files of a table: itself, or those of a folder of parts, as Spark and others write one."""
    return sorted(file for file in path.rglob(f"*{path.suffix}") if not file.is_dir()) if path.is_dir() else [path]


def locked(path: Path, *, shared: bool = False, wait: bool = True) -> IO[bytes]:
    """An open file that holds a lock of the kernel until it is closed or its process dies, however it dies.

    Locks are `flock`, which NFS carries from machine to machine (v4, and v3 with its lock daemon).

    Raises:
        BlockingIOError: another process holds it, and we are not to wait.
    """
    import fcntl  # not there on Windows, where only the lists of runs can be made

    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        raise
    return file


def only_writer(directory: Path) -> IO[bytes]:
    """Be the only process that writes to a run's folder, so that an orphaned trainer and its rerun never both write.

    Raises:
        UserError: another process is at it.
    """
    try:
        return locked(directory / ".lock", wait=False)
    except BlockingIOError:
        raise UserError(
            f"another process is still writing to {directory}: wait for it to end or stop it, then run again"
        ) from None
