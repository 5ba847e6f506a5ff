"""The figures: each is a pure function of `runs.csv` and `curves.csv`; one module a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from electralab.errors import UserError
from electralab.report.figures.generator_size import generator_size
from electralab.report.figures.style import house_style, save
from electralab.report.figures.training_curves import training_curves
from electralab.report.runs import Runs, read_curves, read_runs

FIGURES: dict[str, Callable[[Runs, pd.DataFrame], Figure]] = {
    "training_curves": training_curves,
    "generator_size": generator_size,
}


def make_figure(name: str, runs_csv: Path, curves_csv: Path, out_svg: Path, out_png: Path) -> None:
    """Draw one figure as SVG and PNG.

    Raises:
        UserError: the figure is unknown, or a file is missing, damaged or without a finished pretraining.
    """
    if name not in FIGURES:
        raise UserError(f"unknown figure {name!r}; allowed: {', '.join(FIGURES)}")
    runs, curves = read_runs(runs_csv), read_curves(curves_csv)
    if not runs.models:
        raise UserError(f"{runs_csv} has no finished pretraining: nothing to draw in figure {name}")
    with house_style():
        save(FIGURES[name](runs, curves), out_svg, out_png)
