"""Who owns the working directory: a lock whose owner is dead is cleared, that of a living one is respected.

Snakemake's lock is a list of files that outlives its process, and says nothing of it. So every Snakemake that reads
our Snakefile also holds a shared `flock` on one file for as long as it lives: the kernel takes it away with the
process, however that ends. Snakemake locks only after it has read the Snakefile, so whoever gets the `flock` alone
knows that no owner of a lock of this workflow lives. Two more witnesses are heard: the name of the host, since not
every network file system carries `flock`, and processes of other workflows that run in the same folder.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

FOLDER = Path(".snakemake/electralab")
OWNER = FOLDER / "owner"
LOCKS = Path(".snakemake/locks")

_held: dict[Path, IO[str]] = {}


def own_working_directory() -> None:
    """Hold the working directory until this process ends; first clear the locks that a dead Snakemake left.

    A folder that cannot be written or a file system without locks is left alone: Snakemake then says what it says.
    """
    path = OWNER.absolute()
    if path in _held:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError:
        try:
            file = path.open(encoding="utf-8")  # another user's: enough to hold it together
        except OSError:
            return
    _held[path] = file
    try:
        if file.writable() and _alone(file):
            _clear_locks(file)
        fcntl.flock(file, fcntl.LOCK_SH)  # waits for one that is clearing locks right now
    except OSError:
        return


def is_owned() -> bool:
    """Whether a living Snakemake holds the working directory."""
    try:
        with OWNER.open("a+", encoding="utf-8") as file:
            return not _alone(file)
    except OSError:
        return False


def _alone(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clear_locks(file: IO[str]) -> None:
    """Remove Snakemake's locks if nobody can own them, and note this host as that of the next owner."""
    locks, host = sorted(LOCKS.glob("*.lock")), platform.node()
    file.seek(0)
    last = file.read().strip() or host
    if locks and last != host:
        _say(f"this folder is locked, last by {last}: if no Snakemake runs there any more, run snakemake --unlock")
        return
    if locks and any(_other_snakemakes()):
        return
    for lock in locks:
        lock.unlink(missing_ok=True)
    if locks:
        _say("cleared the lock of a Snakemake that was killed; what it had finished is kept")
    file.truncate(0)
    file.write(host)
    file.flush()


def _other_snakemakes() -> Iterator[int]:
    """Processes that run any Snakemake in this folder, where the system lists them (Linux)."""
    here = os.stat(".")  # noqa: PTH116
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) == os.getpid() or not os.path.samestat(here, (process / "cwd").stat()):
                continue
            program = (process / "exe").readlink().name
            words = (process / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
        except OSError:  # it has ended, or is not ours to look at
            continue
        if program.startswith("python") and any(Path(word).name == "snakemake" for word in words[:4]):
            yield int(process.name)


def _say(text: str) -> None:
    print(f"electralab: {text}", file=sys.stderr, flush=True)
