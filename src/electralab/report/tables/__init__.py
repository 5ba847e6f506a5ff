"""The tables: each is a pure function of what `collect` wrote and of published results; one module a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from electralab.errors import UserError
from electralab.files import atomic_write, write_text
from electralab.report.markdown import Table
from electralab.report.results import Results, read_results
from electralab.report.tables.efficiency import efficiency
from electralab.report.tables.generator_size import generator_size
from electralab.report.tables.glue import glue
from electralab.report.tables.pretraining import pretraining
from electralab.report.tables.vs_published import vs_published

TABLES: dict[str, Callable[[Results], Table]] = {
    "pretraining": lambda results: pretraining(results.runs),
    "generator_size": lambda results: generator_size(results.runs),
    "efficiency": lambda results: efficiency(results.runs),
    "glue": glue,
    "vs_published": vs_published,
}
OF_FINETUNING = ("glue", "vs_published")


def make_table(
    name: str, runs_csv: Path, comparisons_csv: Path, published_csv: Path, out_csv: Path, out_md: Path
) -> None:
    """Write one table as CSV (full precision) and as Markdown.

    Raises:
        UserError: the table is unknown, an input is missing or damaged, or `runs.csv` has no run of the stage that the
            table is about.
    """
    if name not in TABLES:
        raise UserError(f"unknown table {name!r}; allowed: {', '.join(TABLES)}")
    results = read_results(runs_csv, comparisons_csv, published_csv)
    stage, what = ("finetune", "fine-tuning") if name in OF_FINETUNING else ("pretrain", "pretraining")
    if not (results.runs.frame["stage"] == stage).any():
        raise UserError(f"{runs_csv} has no {what} run: nothing to put in table {name}")
    table = TABLES[name](results)
    with atomic_write(out_csv) as temporary:
        table.frame.to_csv(temporary, index=False, lineterminator="\n")
    write_text(out_md, table.markdown())
