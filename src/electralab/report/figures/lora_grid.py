"""Figure `lora_grid`: a heat map of the score over rank and alpha."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.report.figures.style import WIDTH
from electralab.report.rank_alpha import Grid, grids
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs

COLUMNS = 2
WIDE = 5  # more alphas need a row for themselves
NOTE = "mean over n seeds, ± half of its 95 % interval; white: no finished run"


def figure(results: Results) -> Figure:
    """A panel a grid, task and model; ranks up, alphas to the right; what has no finished run stays white.

    Raises:
        UserError: no run of a grid is finished.
    """
    runs = results.runs
    every = [grid for grid in grids(runs) if any(grid.summary(runs, *place) for place in grid.cells)]
    if not every:
        raise results.nothing("finished run of a grid over rank and alpha")
    widest = max(len(grid.alphas) for grid in every)
    columns = min(COLUMNS if widest <= WIDE else 1, len(every))
    rows = math.ceil(len(every) / columns)
    tallest = max(len(grid.ranks) for grid in every)
    drawn = Figure(figsize=(WIDTH, 0.3 + rows * (1.2 + 0.45 * tallest)))
    drawn.set_layout_engine("constrained")
    panels = drawn.subplots(rows, columns, squeeze=False).ravel()
    for panel, grid in zip(panels, every):
        _heat_map(drawn, panel, runs, grid)
    for panel in panels[len(every) :]:
        panel.set_axis_off()
    drawn.supxlabel(NOTE, fontsize=9)
    return drawn


def _heat_map(figure: Figure, panel: Axes, runs: Runs, grid: Grid) -> None:
    summaries = [[grid.summary(runs, rank, alpha) for alpha in grid.alphas] for rank in grid.ranks]
    means = np.array([[found.mean if found else np.nan for found in row] for row in summaries])
    low, high = np.nanmin(means), np.nanmax(means)
    # One colour for cells that do not differ: a scale of no width would colour rounding errors.
    spread = max(high - low, 0.002)
    middle = (low + high) / 2
    limits = {"vmin": middle - spread / 2, "vmax": middle + spread / 2}
    image = panel.imshow(np.ma.masked_invalid(means), origin="lower", aspect="auto", cmap="cividis", **limits)
    figure.colorbar(image, ax=panel, label=METRICS[runs.metric(grid.task)])
    for y, row in enumerate(summaries):
        for x, found in enumerate(row):
            if found:
                dark = (found.mean - limits["vmin"]) / spread < 0.5
                half = "" if found.low is None or found.high is None else f"±{(found.high - found.low) / 2:.3f}, "
                text = f"{found.mean:.3f}\n{half}n={found.n}"
                panel.text(x, y, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    panel.set_xticks(range(len(grid.alphas)), [f"{alpha:g}" for alpha in grid.alphas])
    panel.set_yticks(range(len(grid.ranks)), [f"{rank:g}" for rank in grid.ranks])
    panel.set_xlabel("alpha")
    panel.set_ylabel("rank")
    panel.set_title(f"{grid.name}: {runs.title(grid.model)} on {grid.task}")
    panel.grid(visible=False)
