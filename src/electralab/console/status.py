"""`electralab status`: which runs are done, which run now, which failed, what is left. Reads files only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from electralab.config import read_experiment
from electralab.console.logs import last_lines
from electralab.console.owner import is_owned
from electralab.console.state import read_state
from electralab.errors import UserError
from electralab.files import read_json
from electralab.names import artifact_in
from electralab.plan import Plan
from electralab.progress import duration, warning_in
from electralab.records import RunRecord, read_record, source_hash


@dataclass
class Runs:
    """The runs of an experiment by what became of them; a run is named by its folder."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """With the reason; also records that cannot be read."""
    skipped: dict[str, str] = field(default_factory=dict)
    """With the reason."""
    left: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    """Those made by another version of the package's source than the present."""
    lost: list[Path] = field(default_factory=list)
    """Files that finished runs left and that are there no more, one a run."""
    unwell: dict[str, list[str]] = field(default_factory=dict)
    """What a finished pretraining says of its own health."""

    @classmethod
    def read(cls, records: Sequence[str]) -> Self:
        """Look at every record."""
        runs = cls()
        for path in map(Path, records):
            name = str(path.parent)
            if not path.exists():
                runs.left.append(name)
                continue
            try:
                record = read_record(path)
            except UserError as error:
                runs.failed[name] = str(error)
                continue
            if record.status == "ok":
                runs.done.append(name)
                runs.lost += _lost(path.parent, record)
                if record.stage == "pretrain" and record.notes:
                    runs.unwell[name] = record.notes
            else:
                why = runs.failed if record.status == "failed" else runs.skipped
                why[name] = record.reason or "no reason was recorded"
            if record.provenance.source_hash != source_hash():
                runs.stale.append(name)
        return runs

    def failures(self) -> list[str]:
        """A line for each run that failed, and for each that was skipped."""
        return [
            *(f"- failed: {name}: {reason}" for name, reason in self.failed.items()),
            *(f"- skipped: {name}: {reason}" for name, reason in self.skipped.items()),
        ]


def _lost(folder: Path, record: RunRecord) -> list[Path]:
    """The first file of a model that has gone, if one has: Snakemake watches records and manifests only."""
    if record.stage == "pretrain":
        files = [folder / name for name in record.files]
    else:
        manifest = Path(artifact_in(str(folder)))
        try:
            files = [manifest, *(manifest.parent / name for name in read_json(manifest)["files"])]
        except (UserError, KeyError, TypeError):
            return [manifest]
    return [file for file in files if not file.exists()][:1]


def print_status(overlays: Sequence[Path]) -> int:
    """Tell how an experiment stands; returns 1 while one of its runs has failed, else 0.

    Without overlays it is the experiment that Snakemake is running here, else that of `config.yaml`.

    Raises:
        UserError: the config is wrong.
    """
    state, living = read_state(), is_owned()
    if overlays or not living or state is None or state.name is None:
        base = Path("config.yaml")
        if not base.exists():
            base = Path(__file__).parents[3] / "config.yaml"
        plan = Plan(read_experiment([base, *overlays]))
        name, records = plan.experiment.name, plan.records
    else:
        name, records = state.name, state.records
    runs = Runs.read(records)
    started = state.running if living and state is not None else []
    running = [job for job in started if not all(Path(path).exists() for path in job.output)]
    at_work = {str(Path(path).parent) for job in running for path in job.output}
    waiting = [run for run in runs.left if run not in at_work]
    print(
        f"{name}: {len(runs.done)} of {len(records)} runs done, {len(runs.left) - len(waiting)} running, "
        f"{len(runs.failed)} failed, {len(runs.skipped)} skipped, {len(waiting)} left; "
        f"Snakemake is {'' if living else 'not '}running here"
    )
    for job in running:
        lines = last_lines(job.log) if job.log else []
        print(": ".join([f"- running for {duration(time.time() - job.started)}: {job.title}", *lines[-1:]]))
        if warning := warning_in(lines):
            print(f"  look at it: {warning}")
    jobs_failed = [] if state is None or state.name not in (name, None) else state.failed
    for line in [*runs.failures(), *(f"- failed in the latest Snakemake: {job}" for job in jobs_failed)]:
        print(line)
    for name, notes in runs.unwell.items():
        print(f"- {name}: {'; '.join(notes)}")
    if runs.stale:
        print(
            f"{len(runs.stale)} records were made by other source than the present (the first: {runs.stale[0]}): "
            "if that matters, snakemake --forcerun RULE makes them again"
        )
    if runs.lost:
        print(
            f"{len(runs.lost)} finished runs have lost files of their models (the first: {runs.lost[0]}): "
            "if they are needed, delete the run.json of such a run and run the same command again"
        )
    return 1 if runs.failed or jobs_failed else 0
