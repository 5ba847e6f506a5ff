"""Figure `confusion`: which classes a decoder takes for which."""

from __future__ import annotations

import math
from statistics import median_low
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.report.compression import compressed
from electralab.report.figures.style import WIDTH
from electralab.report.results import Results
from electralab.report.runs import Cell, Runs

NOTE = (
    "number: validation rows; colour: their share of the true class, from white (none) to dark blue (all)\n"
    "of every method the run with the median score over seeds (of an even number, the lower of the two in the middle)"
)
COLUMNS = 4
PANEL_CLASSES = 16  # as many classes side by side as a row of panels has room for
LONG_NAME = 8  # letters; longer names of classes are written aslant


class Matrix(NamedTuple):
    """The answers of one run: `counts[true, predicted]`, [classes, classes]."""

    task: str
    model: str
    method: str
    seed: int
    seeds: int
    classes: list[str]
    counts: npt.NDArray[np.int64]


def figure(results: Results) -> Figure:
    """A block a task and model of the decoders, in it a panel a method: true classes down and answers across.

    Raises:
        UserError: no run of a decoder on classes is finished.
    """
    runs, confusions = results.runs, results.detail("confusions")
    # A smaller copy of a decoder answers nearly as the decoder does: the table `quantization` says how nearly.
    shown = confusions["model"].isin(runs.decoders) & ~confusions["method"].isin(compressed(runs))
    confusions = confusions[shown]
    if confusions.empty:
        raise results.nothing("finished run of a decoder")
    matrices = median_runs(runs, confusions)
    blocks: dict[tuple[str, str], list[Matrix]] = {}
    for matrix in matrices:
        blocks.setdefault((matrix.task, matrix.model), []).append(matrix)
    widest = max(len(matrix.classes) for matrix in matrices)
    columns = max(1, min(COLUMNS, PANEL_CLASSES // widest, max(map(len, blocks.values()))))
    rows = [math.ceil(len(own) / columns) for own in blocks.values()]
    heights = [0.9 + count * (0.9 + max(1.0, 0.3 * widest)) for count in rows]
    drawn = Figure(figsize=(WIDTH, sum(heights) + 0.6))
    drawn.set_layout_engine("constrained")
    parts = drawn.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights).ravel()
    for part, count, ((task, model), own) in zip(parts, rows, blocks.items()):
        part.suptitle(f"{task}, {runs.title(model)}", fontsize=10, fontweight="bold")
        panels = part.subplots(count, columns, squeeze=False, sharex=True, sharey=True)
        for place, matrix in enumerate(own):
            _panel(panels.ravel()[place], matrix)
            _name_classes(panels, place, own)
        for panel in panels.ravel()[len(own) :]:
            panel.set_axis_off()
    drawn.supxlabel(NOTE, fontsize=9)
    return drawn


def median_runs(runs: Runs, confusions: pd.DataFrame) -> list[Matrix]:
    """Of every task, model and method the run with the median score over its seeds."""
    found = []
    for place, own in confusions.groupby(["task", "model", "method"], sort=False):
        task, model, method = map(str, place)
        scores = runs.by_seed(Cell(task, method), model)
        middle = median_low(scores.values())
        seed = min(seed for seed, score in scores.items() if score == middle)
        cells = own[own["seed"] == seed].pivot(index="true", columns="predicted", values="rows")
        names = own.drop_duplicates("true").set_index("true")["label"].reindex(cells.index)
        found.append(Matrix(task, model, method, seed, len(scores), list(map(str, names)), cells.to_numpy(np.int64)))
    return found


def _panel(panel: Axes, matrix: Matrix) -> None:
    shares = matrix.counts / np.maximum(matrix.counts.sum(axis=1, keepdims=True), 1)
    panel.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    size = 8 if len(matrix.classes) <= PANEL_CLASSES // 2 else 6
    for (true, answer), count in np.ndenumerate(matrix.counts):
        colour = "white" if shares[true, answer] > 0.6 else "black"
        panel.text(answer, true, f"{count:,}", ha="center", va="center", fontsize=size, color=colour)
    panel.set_title(
        matrix.method + (f"\nseed {matrix.seed} (n={matrix.seeds})" if matrix.seeds > 1 else ""), fontsize=9
    )
    panel.grid(visible=False)


def _name_classes(panels: npt.NDArray[np.object_], place: int, own: list[Matrix]) -> None:
    """Names of the classes: at the left of every row, and under the last panel of every column."""
    row, column = divmod(place, panels.shape[1])
    panel, classes = panels[row, column], own[place].classes
    many = len(classes) > PANEL_CLASSES // 2
    aslant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    panel.set_xticks(
        range(len(classes)), classes, fontsize=8, **(aslant if many or max(map(len, classes)) > LONG_NAME else {})
    )
    panel.set_yticks(range(len(classes)), classes, fontsize=8)
    last = place + panels.shape[1] >= len(own)
    panel.tick_params(labelbottom=last, labelleft=column == 0)
    if last:
        panel.set_xlabel("answer")
    if column == 0:
        panel.set_ylabel("true class")
