"""The figures: each is a pure function of what `collect` wrote and of published results; one module a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from electralab.errors import UserError
from electralab.report.figures.generator_size import generator_size
from electralab.report.figures.glue import glue
from electralab.report.figures.style import house_style, save
from electralab.report.figures.training_curves import training_curves
from electralab.report.published import read_published
from electralab.report.runs import Runs, read_curves, read_runs

FIGURES: dict[str, Callable[[Runs, pd.DataFrame, pd.DataFrame], Figure]] = {
    "training_curves": lambda runs, curves, _: training_curves(runs, curves),
    "generator_size": lambda runs, *_: generator_size(runs),
    "glue": lambda runs, _, published: glue(runs, published),
}
OF_FINETUNING = ("glue",)


def make_figure(name: str, runs_csv: Path, curves_csv: Path, published_csv: Path, out_svg: Path, out_png: Path) -> None:
    """Draw one figure as SVG and PNG.

    Raises:
        UserError: the figure is unknown, or a file is missing, damaged or without a finished run to draw.
    """
    if name not in FIGURES:
        raise UserError(f"unknown figure {name!r}; allowed: {', '.join(FIGURES)}")
    runs, curves, published = read_runs(runs_csv), read_curves(curves_csv), read_published(published_csv)
    if name in OF_FINETUNING and runs.finetuned.empty:
        raise UserError(f"{runs_csv} has no finished fine-tuning: nothing to draw in figure {name}")
    if name not in OF_FINETUNING and not runs.models:
        raise UserError(f"{runs_csv} has no finished pretraining: nothing to draw in figure {name}")
    with house_style():
        save(FIGURES[name](runs, curves, published), out_svg, out_png)
