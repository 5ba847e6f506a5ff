"""The figures: each is a pure function of what `collect` wrote and of published results; one module a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from electralab.errors import UserError
from electralab.report.collect import CONFUSION_COLUMNS
from electralab.report.figures.adapters import adapters, compared
from electralab.report.figures.confusion import confusion
from electralab.report.figures.generator_size import generator_size
from electralab.report.figures.glue import glue
from electralab.report.figures.lora_grid import filled, lora_grid
from electralab.report.figures.search import search
from electralab.report.figures.style import house_style, save
from electralab.report.figures.training_curves import training_curves
from electralab.report.published import read_published
from electralab.report.reading import read_table
from electralab.report.runs import FULL, Runs, read_curves, read_runs, read_searches

# Of runs, curves, published results, trials of searches and confusion matrices of decoders, the last two where the
# experiment has some. As in tables, models are compared fine-tuned whole, and adapters have figures of their own.
FIGURES: dict[str, Callable[..., Figure]] = {
    "training_curves": lambda runs, curves, *_: training_curves(runs.whole_model, curves),
    "generator_size": lambda runs, *_: generator_size(runs.whole_model),
    "glue": lambda runs, _, published, *__: glue(runs.whole_model, published),
    "adapters": lambda runs, *_: adapters(runs),
    "lora_grid": lambda runs, *_: lora_grid(runs),
    "search": lambda _runs, _curves, _published, searches, _: search(searches),
    "confusion": lambda runs, _curves, _published, _searches, confusions: confusion(runs, confusions),
}
OF_METHODS = ("adapters", "lora_grid", "search", "confusion")


def make_figure(
    name: str,
    runs_csv: Path,
    curves_csv: Path,
    published_csv: Path,
    out_svg: Path,
    out_png: Path,
    searches_csv: Path | None = None,
    confusions_csv: Path | None = None,
) -> None:
    """Draw one figure as SVG and PNG.

    Raises:
        UserError: the figure is unknown, or a file is missing, damaged or without a finished run to draw.
    """
    if name not in FIGURES:
        raise UserError(f"unknown figure {name!r}; allowed: {', '.join(FIGURES)}")
    runs, curves, published = read_runs(runs_csv), read_curves(curves_csv), read_published(published_csv)
    searches = read_searches(searches_csv) if searches_csv else None
    confusions = read_table(confusions_csv, CONFUSION_COLUMNS) if confusions_csv else None
    what = _missing(name, runs, confusions)
    if what:
        raise UserError(f"{runs_csv} has no finished {what}: nothing to draw in figure {name}")
    with house_style():
        save(FIGURES[name](runs, curves, published, searches, confusions), out_svg, out_png)


def _missing(name: str, runs: Runs, confusions: pd.DataFrame | None) -> str | None:
    """The runs that a figure cannot do without and that are not there."""
    if name == "search":
        return None
    if name == "confusion":
        return "run of a decoder" if confusions is None or confusions.empty else None
    if name == "glue":
        return None if FULL in set(runs.finetuned["kind"]) else "fine-tuning"
    if name == "adapters":
        return None if compared(runs) else "run of an adapter"
    if name == "lora_grid":
        return None if filled(runs) else "run of a grid over rank and alpha"
    return None if runs.models else "pretraining"
