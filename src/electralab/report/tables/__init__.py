"""The tables: each is a pure function of `runs.csv`; one module a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from electralab.errors import UserError
from electralab.files import atomic_write, write_text
from electralab.report.markdown import Table
from electralab.report.runs import Runs, read_runs
from electralab.report.tables.efficiency import efficiency
from electralab.report.tables.generator_size import generator_size
from electralab.report.tables.pretraining import pretraining

TABLES: dict[str, Callable[[Runs], Table]] = {
    "pretraining": pretraining,
    "generator_size": generator_size,
    "efficiency": efficiency,
}


def make_table(name: str, runs_csv: Path, out_csv: Path, out_md: Path) -> None:
    """Write one table as CSV (full precision) and as Markdown.

    Raises:
        UserError: the table is unknown, or `runs.csv` is missing, damaged or without a pretraining.
    """
    if name not in TABLES:
        raise UserError(f"unknown table {name!r}; allowed: {', '.join(TABLES)}")
    runs = read_runs(runs_csv)
    if not (runs.frame["stage"] == "pretrain").any():
        raise UserError(f"{runs_csv} has no pretraining run: nothing to put in table {name}")
    table = TABLES[name](runs)
    with atomic_write(out_csv) as temporary:
        table.frame.to_csv(temporary, index=False, lineterminator="\n")
    write_text(out_md, table.markdown())
