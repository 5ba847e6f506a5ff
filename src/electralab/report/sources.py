"""What the results are collected from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from electralab.errors import UserError
from electralab.records import RunRecord, check_report_files, read_record
from electralab.report.flatten import IDENTITY


@dataclass(frozen=True)
class Sources:
    """Run records by path, results of searches (`search.json`), the manifests of the tasks that runs are of, records of
    measurements of retention by path, and those of benchmarks."""

    records: Mapping[Path, RunRecord]
    searches: Sequence[Path] = ()
    tasks: Sequence[Path] = ()
    retentions: Mapping[Path, RunRecord] = field(default_factory=dict)
    benchmarks: Sequence[Path] = ()


def read_sources(
    records: Sequence[Path],
    searches: Sequence[Path] = (),
    tasks: Sequence[Path] = (),
    retentions: Sequence[Path] = (),
    benchmarks: Sequence[Path] = (),
) -> Sources:
    """Read run records, and those of measurements of retention.

    Raises:
        UserError: one is missing or damaged, a file beside it was changed, or a run is given twice.
    """
    return Sources(_read(records, IDENTITY), searches, tasks, _read(retentions, (*IDENTITY, "recipe")), benchmarks)


def _read(records: Sequence[Path], identity_of: Sequence[str]) -> dict[Path, RunRecord]:
    found: dict[Path, RunRecord] = {}
    first: dict[tuple[object, ...], Path] = {}
    for path in records:
        record = read_record(path)
        check_report_files(path, record)
        identity = tuple(getattr(record, name) for name in identity_of)
        if identity in first:
            raise UserError(f"{path} and {first[identity]} are records of the same run: give only one of them")
        first[identity] = path
        found[path] = record
    return found
