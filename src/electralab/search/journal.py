"""An Optuna study that any number of workers share through one folder, and that outlives all of them.

A worker holds the kernel's lock on the trial that it runs. The kernel frees it when the worker dies, however it dies,
so a trial that is under way in the journal and whose lock is free has lost its worker, and the next one takes it over,
with the same number and the same options.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import IO, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from electralab.errors import UserError
from electralab.files import locked

EARLIER = "earlier"  # studies of other settings or inputs, by name
PARTS = ("journal.log", "trials", "winner", "tensorboard", "wandb")  # of a study, in its folder


@contextmanager
def opened_study(folder: Path, name: str) -> Iterator[optuna.Study]:
    """The study of this name in `journal.log`; one of another name is moved into `earlier/`, and back when asked for.

    Raises:
        UserError: the journal is damaged, or belongs to another study that a process is at work on.
    """
    with ExitStack() as stack:
        # A worker that waits here is not at work yet.
        with locked(folder / ".claim"):
            at_work = folder / ".workers"  # what all that are at work share a lock on; it names their study
            if not at_work.exists() or at_work.read_text() != name:
                _put_away(folder, name, at_work)
            _bring_back(folder, name)
            stack.enter_context(locked(at_work, shared=True))
            study = optuna.create_study(
                study_name=name,
                storage=_storage(folder / "journal.log"),
                direction="maximize",
                pruner=optuna.pruners.MedianPruner(),
                load_if_exists=True,
            )
        yield study


class Claim(NamedTuple):
    """A trial that is ours until `lock` is closed; or nothing now, and whether others are still at work."""

    trial: optuna.Trial | None
    lock: IO[bytes] | None
    busy: Path | None  # the lock file of a trial that another worker runs


def claim_trial(study: optuna.Study, folder: Path, trials: int, may_start: bool) -> Claim:
    """A trial that has lost its worker, else a new one if there are fewer than `trials`.

    Args:
        study: the study.
        folder: of the study.
        trials: how many there shall be.
        may_start: False to take nothing but trials that have left a record.
    """
    with locked(folder / ".claim"):
        busy = None
        for number in _under_way(study, trials):
            place = trial_folder(folder, number)
            try:
                lock = locked(place / ".worker", wait=False)
            except BlockingIOError:
                busy = busy or place / ".worker"
                continue
            trial_id = _under_way(study, trials).get(number)  # its worker may just have told it
            if trial_id is not None and (may_start or (place / "run.json").exists()):
                return Claim(optuna.Trial(study, trial_id), lock, None)
            lock.close()
        if may_start and len(study.get_trials(deepcopy=False)) < trials:
            trial = study.ask()
            return Claim(trial, locked(trial_folder(folder, trial.number) / ".worker"), None)
        return Claim(None, None, busy)


def wait_for(busy: Path) -> None:
    """Wait until the worker of another trial has ended or died."""
    locked(busy).close()


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial leaves its record."""
    return folder / "trials" / str(number)


def _under_way(study: optuna.Study, trials: int) -> dict[int, int]:
    """Number to Optuna's id of the trials that have not been told, as the journal is now."""
    found = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return {trial.number: trial._trial_id for trial in found if trial.number < trials}


def tell_lost(study: optuna.Study, folder: Path) -> None:
    """Say so where the journal lacks trials that have left a record: it lost its end, or was deleted."""
    known = len(study.get_trials(deepcopy=False))
    lost = [path for path in (folder / "trials").glob("*/run.json") if int(path.parent.name) >= known]
    if lost:
        print(
            f"{folder / 'journal.log'} lacks {len(lost)} trials that have records: what is drawn again as it was is "
            "taken from its record",
            file=sys.stderr,
        )


def set_aside(record: Path) -> None:
    """Keep the record of other options, or one that cannot be read, beside the one that will be written."""
    if record.exists():
        kept = next(path for n in count(1) if not (path := record.with_name(f"earlier-{n}.json")).exists())
        record.rename(kept)
        print(f"{record} is not of this run: kept as {kept.name}", file=sys.stderr)


def _put_away(folder: Path, name: str, at_work: Path) -> None:
    """Move what another study left, of which nobody may be at work, out of the way."""
    try:
        alone = locked(at_work, wait=False)
    except BlockingIOError:
        raise UserError(
            f"another process searches in {folder} with other settings or inputs: wait for it to end or stop it, then "
            "run again"
        ) from None
    with alone:
        there = [folder / part for part in PARTS if (folder / part).exists()]
        if there:
            kept = folder / EARLIER / (at_work.read_text() or "unnamed")
            kept.mkdir(parents=True, exist_ok=True)
            print(f"{folder} belongs to other settings or inputs: moved to {kept}; starting anew", file=sys.stderr)
            for path in there:
                path.rename(kept / path.name)
        alone.truncate(0)
        alone.write(name.encode())


def _bring_back(folder: Path, name: str) -> None:
    """Go on with a study that was put away; safe to repeat after a kill."""
    kept = folder / EARLIER / name
    if kept.exists():
        for path in kept.iterdir():
            path.rename(folder / path.name)
        kept.rmdir()


class _JournalLock(JournalFileOpenLock):
    """Optuna's own lock is a file, which a killed worker leaves behind for the others to wait on."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._held: IO[bytes] | None = None

    def acquire(self) -> bool:
        self._held = locked(self._journal.with_name(".journal"))
        _drop_torn_line(self._journal)
        return True

    def release(self) -> None:
        assert self._held is not None, "acquired before"
        self._held.close()


def _drop_torn_line(journal: Path) -> None:
    """Half a line is what a worker leaves that was killed while it wrote; the next line would be joined to it."""
    with journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _storage(journal: Path) -> JournalStorage:
    lock = _JournalLock(journal)
    backend = JournalFileBackend(str(journal), lock)
    lock.acquire()
    try:
        for line in journal.read_bytes().splitlines():
            json.loads(line)  # Optuna passes over a damaged line until there is one after it
        return JournalStorage(backend)
    except OSError:
        raise
    except Exception as error:  # Optuna raises several unrelated types for a damaged file
        raise UserError(
            f"{journal} is damaged ({type(error).__name__}: {error}): delete it and run the same command again; trials "
            "whose options are drawn again are not run again"
        ) from None
    finally:
        lock.release()
