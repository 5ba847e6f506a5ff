"""What Snakemake is at, written down for `electralab status` in another terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from electralab.console.owner import FOLDER
from electralab.errors import UserError
from electralab.files import read_json, write_json

STATE = FOLDER / "state.json"


@dataclass
class Running:
    """A job that has started."""

    title: str
    log: str | None
    output: list[str]
    started: float
    """Seconds since the epoch."""


@dataclass
class State:
    """The latest run of Snakemake in this folder; true of the present only while the folder has an owner."""

    name: str | None = None
    """Of the experiment."""
    records: list[str] = field(default_factory=list)
    """The run records of the experiment."""
    running: list[Running] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """A line for each job that failed."""

    def write(self) -> None:
        """Write it down."""
        write_json(STATE, asdict(self))


def read_state() -> State | None:
    """The latest run of Snakemake here; None if there was none."""
    try:
        values = read_json(STATE)
        return State(**{**values, "running": [Running(**job) for job in values["running"]]})
    except (UserError, OSError, KeyError, TypeError):
        return None
