"""Make one table or one figure: a pure function of what `collect` wrote and of published results."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from electralab.catalogue import FIGURES, TABLES
from electralab.errors import UserError
from electralab.report.grid import Table
from electralab.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_table(name: str, results: Results, stem: Path) -> None:
    """Write one table as `<stem>.csv` (full precision), `<stem>.md` and `<stem>.html`.

    Raises:
        UserError: the table is unknown, a file is missing or damaged, or there is nothing to put into it.
    """
    _check("table", name, TABLES)
    table: Callable[[Results], Table] = import_module(f"electralab.report.tables.{name}").table
    table(results).write(stem)


def make_figure(name: str, results: Results, stem: Path) -> None:
    """Draw one figure as `<stem>.svg` and `<stem>.png`.

    Raises:
        UserError: the figure is unknown, a file is missing or damaged, or there is nothing to draw.
    """
    from electralab.report.figures.style import house_style, save

    _check("figure", name, FIGURES)
    figure: Callable[[Results], Figure] = import_module(f"electralab.report.figures.{name}").figure
    with house_style():
        save(figure(results), stem)


def _check(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UserError(f"unknown {what} {name!r}; allowed: {', '.join(known)}")
