"""The tables: each is a pure function of what `collect` wrote and of published results; one module a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from electralab.errors import UserError
from electralab.files import atomic_write, write_text
from electralab.report.markdown import Table
from electralab.report.results import Results, read_results
from electralab.report.tables.adapters import adapters
from electralab.report.tables.efficiency import efficiency
from electralab.report.tables.generator_size import generator_size
from electralab.report.tables.glue import glue
from electralab.report.tables.lora_grid import lora_grid
from electralab.report.tables.pretraining import pretraining
from electralab.report.tables.protocols import protocols
from electralab.report.tables.search import search
from electralab.report.tables.vs_published import vs_published

# Tables about models compare them fine-tuned whole; adapters have tables of their own.
TABLES: dict[str, Callable[[Results], Table]] = {
    "pretraining": lambda results: pretraining(results.runs.whole_model),
    "generator_size": lambda results: generator_size(results.runs.whole_model),
    "efficiency": lambda results: efficiency(results.runs.whole_model),
    "glue": lambda results: glue(replace(results, runs=results.runs.whole_model)),
    "adapters": adapters,
    "protocols": protocols,
    "lora_grid": lora_grid,
    "search": search,
    "vs_published": vs_published,
}
OF_FINETUNING = ("glue", "adapters", "protocols", "lora_grid", "search", "vs_published")


def make_table(
    name: str,
    runs_csv: Path,
    comparisons_csv: Path,
    published_csv: Path,
    out_csv: Path,
    out_md: Path,
    searches_csv: Path | None = None,
) -> None:
    """Write one table as CSV (full precision) and as Markdown.

    Raises:
        UserError: the table is unknown, an input is missing or damaged, `runs.csv` has no run of the stage that the
            table is about, or there is no trial in the table of searches.
    """
    if name not in TABLES:
        raise UserError(f"unknown table {name!r}; allowed: {', '.join(TABLES)}")
    results = read_results(runs_csv, comparisons_csv, published_csv, searches_csv)
    stage, what = ("finetune", "fine-tuning") if name in OF_FINETUNING else ("pretrain", "pretraining")
    if name != "search" and not (results.runs.frame["stage"] == stage).any():
        raise UserError(f"{runs_csv} has no {what} run: nothing to put in table {name}")
    table = TABLES[name](results)
    with atomic_write(out_csv) as temporary:
        table.frame.to_csv(temporary, index=False, lineterminator="\n")
    write_text(out_md, table.markdown())
