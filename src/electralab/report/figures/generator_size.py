"""Figure `generator_size`: left, what the pretraining reached; right, what it was worth on each task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.names import parse_model
from electralab.report.figures.style import (
    BLACK,
    BLUE,
    CLIPPED,
    CONTROL_COLOR,
    GREEN,
    LOSS,
    UNIT,
    UNTRAINED_COLOR,
    VERMILLION,
    WIDTH,
    bottom_legend,
    draw_floors,
    draw_interval,
    end_axis,
    ends,
)
from electralab.report.results import Results
from electralab.report.runs import UNTRAINED, Cell, Runs
from electralab.report.statistics.intervals import Summary

NOTE = f"bars: 95 % interval over seeds; dashes: seeds; hollow: one seed; {CLIPPED}"
CONTROL = "control without the extensions"
LINES = ("-", "--", "-.", ":")


def figure(results: Results) -> Figure:
    """MLM loss and RTD AUC (left) and the score on each task (right) against the generator's size.

    Points with a bar are means with a 95 % interval over seeds, small dots are seeds, a hollow point is one seed.

    Raises:
        UserError: no pretraining is finished.
    """
    runs = results.whole
    if not runs.models:
        raise results.nothing("finished pretraining")
    cells = runs.pretrained_cells
    columns = math.ceil(len(cells) / 2)
    drawn = Figure(figsize=(WIDTH, 6.2 if cells else 3.6), layout="constrained")
    if not cells:
        panels = list(drawn.subplots(1, 2))
    else:
        left, right = drawn.subfigures(1, 2, squeeze=False, width_ratios=(1, max(1.0, 0.85 * columns))).flat
        panels = list(left.subplots(2, 1))
        # One scale for all tasks: a difference looks as large as it is.
        grid = list(right.subplots(2 if len(cells) > 1 else 1, columns, squeeze=False, sharey=True).flat)
        for panel in grid[len(cells) :]:
            panel.set_axis_off()
        panels += grid[: len(cells)]
        right.supylabel(_axis_label(runs), fontsize="medium")
    _mlm(panels[0], runs)
    _detection(panels[1], runs)
    for panel, cell in zip(panels[2:], cells):
        _task(panel, runs, cell)
    of_tasks = [ends(runs.metric(cell.task)) for cell in cells]
    shared = min((low for low, _ in of_tasks), default=0.0), max((high for _, high in of_tasks), default=1.0)
    for panel, limits in zip(panels, (LOSS, UNIT, *(shared for _ in cells))):
        end_axis(panel, limits)
    for panel in panels:
        _size_axis(panel, runs)
    bottom_legend(drawn, panels, 4, NOTE)
    return drawn


def _mlm(panel: Axes, runs: Runs) -> None:
    panel.set_title("MLM loss (nat)")
    _series(panel, runs, "mlm_loss", LOSS, BLUE, "o", "mean over seeds")
    panel.axhline(
        runs.pretrained["metric.unigram_cross_entropy"].mean(),
        color=BLACK,
        linewidth=1,
        linestyle="-.",
        label="unigram cross-entropy",
    )


def _detection(panel: Axes, runs: Runs) -> None:
    panel.set_title("RTD AUC")
    _series(panel, runs, "rtd_auc", UNIT, VERMILLION, "s", "AUC, own generator")
    _series(panel, runs, "rtd_auc_unigram", UNIT, GREEN, "^", "AUC, unigram replacements")
    panel.axhline(0.5, color=BLACK, linewidth=1, label="chance (AUC)")


def _series(
    panel: Axes, runs: Runs, metric: str, limits: tuple[float, float], color: str, marker: str, label: str
) -> None:
    summaries = runs.summaries(metric)
    rows = runs.pretrained
    for index, sweep in enumerate(runs.sweeps):
        models = [model for model in runs.sizes(sweep) if model in summaries]
        named = label if len(runs.sweeps) == 1 else f"{label}, {sweep}"
        seeds = {m: list(rows.loc[rows["model"] == m, f"metric.{metric}"].dropna()) for m in models}
        _points(
            panel,
            {m: summaries[m] for m in models},
            seeds,
            limits,
            {"color": color, "marker": marker},
            named,
            LINES[index % len(LINES)],
        )
    for model in runs.models:
        if runs.is_control(model) and model in summaries:
            _control(panel, _size(model), summaries[model].mean, color)


def _control(panel: Axes, x: float, y: float, color: str) -> None:
    """A grey cross, its edge in the colour of its quantity."""
    look: dict[str, Any] = {"color": CONTROL_COLOR, "marker": "X", "markersize": 8, "linestyle": ""}
    panel.plot(x, y, markeredgecolor=color, **look)
    panel.plot([], [], label=CONTROL, **look)


def _points(
    panel: Axes,
    summaries: Mapping[str, Summary],
    seeds: Mapping[str, Sequence[float]],
    limits: tuple[float, float],
    look: Mapping[str, Any],
    label: str,
    line: str,
) -> None:
    """Means joined by a line, seeds as dots, an interval where there is one, hollow where not."""
    sizes = [_size(model) for model in summaries]
    means = [summary.mean for summary in summaries.values()]
    panel.plot(sizes, means, **look, markersize=5, linewidth=1.4, linestyle=line, label=label)
    for size, (model, summary) in zip(sizes, summaries.items()):
        if summary.low is None or summary.high is None:
            panel.plot(size, summary.mean, **look, markersize=5, markerfacecolor="white")
            continue
        draw_interval(panel, size, summary, limits, look["color"])
        own = [size] * len(seeds[model])
        panel.plot(own, seeds[model], linestyle="", marker="_", markersize=7, color=look["color"], alpha=0.7)


def _task(panel: Axes, runs: Runs, cell: Cell) -> None:
    panel.set_title(runs.cell_label(cell))
    scores, limits = runs.scores(cell), ends(runs.metric(cell.task))
    for index, sweep in enumerate(runs.sweeps):
        models = [model for model in runs.sizes(sweep) if model in scores]
        seeds = {model: list(runs.by_seed(cell, model).values()) for model in models}
        label = "mean over seeds" if len(runs.sweeps) == 1 else f"mean over seeds, {sweep}"
        _points(
            panel,
            {m: scores[m] for m in models},
            seeds,
            limits,
            {"color": BLUE, "marker": "o"},
            label,
            LINES[index % len(LINES)],
        )
    for model in scores:
        if runs.is_control(model):
            _control(panel, _size(model), scores[model].mean, BLUE)
    for model in runs.random_models:
        summary = runs.random_score(cell, model)
        if summary is not None:
            panel.axhline(summary.mean, color=UNTRAINED_COLOR, linewidth=1.4, linestyle="--", label=UNTRAINED)
            if summary.low is not None and summary.high is not None:
                panel.axhspan(summary.low, summary.high, color=UNTRAINED_COLOR, alpha=0.15, linewidth=0)
    draw_floors(panel, runs, cell)


def _axis_label(runs: Runs) -> str:
    metrics = {runs.metric(cell.task) for cell in runs.pretrained_cells}
    return "validation accuracy" if metrics <= {"accuracy"} else "validation score (accuracy where no metric is named)"


def _size(model: str) -> float:
    return parse_model(model).size


def _size_axis(panel: Axes, runs: Runs) -> None:
    sizes = sorted({_size(model) for model in runs.models})
    panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
    margin = max(7.0, 30 - (max(sizes) - min(sizes)) / 2)
    panel.set_xlim(min(sizes) - margin, max(sizes) + margin)
    panel.set_xlabel("generator size (%)")
