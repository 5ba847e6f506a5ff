"""Table `methods`: what every method of the experiment is, once, so that other tables need only name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from electralab.config import Method
from electralab.config.methods.chains import class_of
from electralab.report import footnotes
from electralab.report.grid import Column, Table, frame, section
from electralab.report.rank_alpha import grid_methods
from electralab.report.results import Results
from electralab.report.runs import Runs
from electralab.report.text import ABSENT, listing

OPTION = "spec.settings."
# Options that have a column of their own, or say where a method runs instead of what it does.
OWN_COLUMN = ("recipe", "learning_rates", "epochs", "max_train_rows", "epochs_by_task", "description")
TASKS_SHOWN = 3


class Line(NamedTuple):
    """One method with the tasks and models that it ran on and what it was told."""

    method: str
    kind: str
    recipe: str
    rates: str
    epochs: str
    rows: str
    options: dict[str, str]
    tasks: list[str]
    models: list[str]


def table(results: Results) -> Table:
    """A row a method: kind, recipe, learning rates, epochs, rows, and the options that differ from their defaults.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    lines = [_line(method, rows) for method, rows in _told(runs).groupby("method", sort=False)]
    grids = grid_methods(runs)
    shown = {grids.get(line.method, line.method): line for line in reversed(lines)}
    return Table(
        "Methods",
        footnotes.measured(runs.finetuned, "fine-tunings"),
        frame(lines, COLUMNS),
        [section("", [_of_grid(name, shown[name], grids) for name in reversed(shown)], COLUMNS)],
        [
            "A recipe sets the defaults of a method; `Options` are those that differ from them (docs/methods.md, "
            "docs/configuration.md). Several learning rates: each run tries all of them and keeps the best on a tuning "
            "part of its own training rows; one: it is set in the config. Every method runs alike for every model."
        ],
    )


def _told(runs: Runs) -> pd.DataFrame:
    """Every run with a method, fine-tunings first."""
    return pd.concat([runs.finetunings, runs.baseline])


def _line(method: Any, rows: pd.DataFrame) -> Line:
    first = rows.iloc[0]
    told = {
        str(name).removeprefix(OPTION): first[name]
        for name in rows.columns
        if str(name).startswith(OPTION) and not pd.isna(first[name])
    }
    defaults = _defaults(first["kind"], first["recipe"])
    differing = {
        name: _text(value)
        for name, value in told.items()
        if name not in OWN_COLUMN and _text(value) != _text(defaults.get(name))
    }
    by_epochs: dict[str, list[str]] = {}
    if f"{OPTION}epochs" in rows:
        for task, count in rows[["task", f"{OPTION}epochs"]].dropna().drop_duplicates().itertuples(index=False):
            by_epochs.setdefault(_text(count), []).append(task)
    return Line(
        str(method),
        first["kind"],
        "" if first["recipe"] == first["kind"] else first["recipe"],
        ";".join(_text(float(rate)) for rate in str(told.get("learning_rates", "")).split(";") if rate),
        "; ".join(count if len(by_epochs) == 1 else f"{count} ({listing(on)})" for count, on in by_epochs.items()),
        _text(told["max_train_rows"]) if "max_train_rows" in told else "all" if "learning_rates" in told else "",
        differing,
        list(dict.fromkeys(rows["task"])),
        list(dict.fromkeys(rows["model"])),
    )


def _of_grid(name: str, line: Line, grids: Mapping[str, str]) -> Line:
    """A grid in one line: rank and alpha are those of the table `lora_grid`."""
    if name == line.method:
        return line
    options = {option: value for option, value in line.options.items() if option not in ("rank", "alpha")}
    return line._replace(method=f"{name} ({list(grids.values()).count(name)} of a grid)", options=options)


def _defaults(kind: str, recipe: str) -> Mapping[str, Any]:
    """What a method of this kind and recipe is told where the config says nothing more; empty for an unknown one."""
    for given in ({"kind": kind, "recipe": recipe}, {"kind": kind}):
        try:
            method: Any = TypeAdapter(Method).validate_python(given)
        except ValidationError:
            continue
        return dict(_leaves(method.model_dump(mode="json")))
    unfinished = class_of(kind)  # one that cannot be without options
    return dict(_leaves(unfinished.model_construct().model_dump(mode="json"))) if unfinished else {}


def _leaves(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", ";".join(map(str, value)) if isinstance(value, list) else value


def _text(value: Any) -> str:
    """A number in its shortest form, since a CSV gives 4 back as 4.0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:g}"


def _few(tasks: list[str]) -> str:
    return listing(tasks) if len(tasks) <= TASKS_SHOWN else f"{len(tasks)} tasks"


COLUMNS: list[Column[Line]] = [
    Column("method", lambda line: line.method, "Method"),
    Column("kind", lambda line: line.kind, "Kind", left=True),
    Column("recipe", lambda line: line.recipe, "Recipe", lambda recipe: recipe or ABSENT, left=True),
    Column(
        "learning_rates",
        lambda line: line.rates,
        "Learning rates",
        lambda rates: listing(rates.split(";")) if rates else ABSENT,
        left=True,
    ),
    Column("epochs", lambda line: line.epochs, "Epochs", lambda epochs: epochs or ABSENT, left=True),
    Column("max_train_rows", lambda line: line.rows, "Training rows at most", lambda rows: rows or ABSENT),
    Column(
        "options",
        lambda line: "; ".join(f"{name} {value}" for name, value in line.options.items()),
        "Options",
        left=True,
    ),
    Column("tasks", lambda line: ";".join(line.tasks)),
    Column("", lambda line: _few(line.tasks), "Tasks", left=True),
    Column("models", lambda line: ";".join(line.models)),
]
