"""Figure `lora_grid`: a heat map of the score over rank and alpha."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.report.figures.style import WIDTH
from electralab.report.runs import METRICS, Runs
from electralab.report.tables.lora_grid import Grid, grids

COLUMNS = 2
WIDE = 5  # more alphas need a row for themselves
NOTE = "median over seeds, ± half of the 95 % interval of the mean over n seeds; white: no finished run"


def lora_grid(runs: Runs) -> Figure:
    """A panel a grid, task and model; ranks up, alphas to the right; what has no finished run stays white."""
    every = filled(runs)
    widest = max(len(grid.alphas) for grid in every)
    columns = min(COLUMNS if widest <= WIDE else 1, len(every))
    rows = math.ceil(len(every) / columns)
    tallest = max(len(grid.ranks) for grid in every)
    figure = Figure(figsize=(WIDTH, 0.3 + rows * (1.2 + 0.45 * tallest)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, grid in zip(panels, every):
        _heat_map(figure, panel, runs, grid)
    for panel in panels[len(every) :]:
        panel.set_axis_off()
    figure.supxlabel(NOTE, fontsize=9)
    return figure


def filled(runs: Runs) -> list[Grid]:
    """Grids with a finished run."""
    return [grid for grid in grids(runs) if any(grid.summary(runs, *place) for place in grid.cells)]


def _heat_map(figure: Figure, panel: Axes, runs: Runs, grid: Grid) -> None:
    summaries = [[grid.summary(runs, rank, alpha) for alpha in grid.alphas] for rank in grid.ranks]
    medians = np.array([[found.median if found else np.nan for found in row] for row in summaries])
    low, high = np.nanmin(medians), np.nanmax(medians)
    # One colour for cells that do not differ: a scale of no width would colour rounding errors.
    spread = max(high - low, 0.002)
    middle = (low + high) / 2
    limits = {"vmin": middle - spread / 2, "vmax": middle + spread / 2}
    image = panel.imshow(np.ma.masked_invalid(medians), origin="lower", aspect="auto", cmap="cividis", **limits)
    figure.colorbar(image, ax=panel, label=METRICS[runs.metric(grid.task)])
    for y, row in enumerate(summaries):
        for x, found in enumerate(row):
            if found:
                dark = (found.median - limits["vmin"]) / spread < 0.5
                half = "" if found.low is None or found.high is None else f"±{(found.high - found.low) / 2:.3f}, "
                text = f"{found.median:.3f}\n{half}n={found.n}"
                panel.text(x, y, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    panel.set_xticks(range(len(grid.alphas)), [f"{alpha:g}" for alpha in grid.alphas])
    panel.set_yticks(range(len(grid.ranks)), [f"{rank:g}" for rank in grid.ranks])
    panel.set_xlabel("alpha")
    panel.set_ylabel("rank")
    panel.set_title(f"{grid.name}: {runs.title(grid.model)} on {grid.task}")
    panel.grid(visible=False)
