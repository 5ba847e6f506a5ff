"""Figure `adapters`: the score of every method, a line a method, with the number of parameters that it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from electralab.report.entries import AS_PUBLISHED, IN_CONTEXT, Entry, entries, grouped
from electralab.report.figures.style import BLACK, BLUE, WIDTH, bottom_legend, draw_floors, ends
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Cell, Runs
from electralab.report.tables.score_cells import majority_scores

NOTE = (
    "point: mean over seeds; bar: its 95 % interval, none with one seed; hollow: as published, with its mistakes\n"
    "thin bar, where nothing is trained: 95 % interval over the scored rows; at the right: trained parameters"
)
COLUMNS = 2
LINE = 0.24  # inches a method


def figure(results: Results) -> Figure:
    """A panel a task and model; full fine-tuning, baselines and the majority class as lines.

    Raises:
        UserError: no method but full fine-tuning has a finished run.
    """
    runs = results.runs
    groups = compared(runs)
    if not groups:
        raise results.nothing("finished run of an adapter")
    columns = min(COLUMNS, len(groups))
    own = list(groups.values())
    heights = [0.9 + LINE * max(map(len, own[start : start + columns])) for start in range(0, len(own), columns)]
    drawn = Figure(figsize=(WIDTH, sum(heights) + 0.9))
    drawn.set_layout_engine("constrained")
    panels = drawn.subplots(len(heights), columns, squeeze=False, height_ratios=heights).ravel()
    for panel, ((task, model), entries_of) in zip(panels, groups.items()):
        _panel(panel, runs, task, model, entries_of)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    bottom_legend(drawn, list(panels[: len(groups)]), 4, NOTE)
    return drawn


def compared(runs: Runs) -> dict[tuple[str, str], list[Entry]]:
    """The methods of every task and model where one that is not full fine-tuning has a finished run."""
    groups = grouped([entry for entry in entries(runs) if entry.score])
    return {place: own for place, own in groups.items() if any(entry.kind != FULL for entry in own)}


def _panel(panel: Axes, runs: Runs, task: str, model: str, own: Sequence[Entry]) -> None:
    panel.set_title(f"{task}, {runs.title(model)}")
    panel.set_xlabel(f"validation {METRICS[runs.metric(task)]}")
    rates = {majority.score for majority in majority_scores(runs, task, model, [entry.cell for entry in own])}
    draw_floors(panel, runs, Cell(task, own[0].cell.method), majority=sorted(rates), upright=True)
    for entry in own:
        if entry.kind == FULL and entry.score:
            panel.axvline(entry.score.mean, color=BLUE, linestyle="--", linewidth=1, label="full fine-tuning")
    for height, entry in enumerate(own):
        _point(panel, entry, height, ends(runs.metric(task)))
        panel.text(
            *(1.01, height, _short(entry.costs["trainable_parameters"])),
            transform=panel.get_yaxis_transform(),
            va="center",
            fontsize=8,
        )
    panel.set_yticks(range(len(own)), [entry.cell.method for entry in own])
    panel.set_ylim(len(own) - 0.4, -0.6)
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", visible=False)


def _point(panel: Axes, entry: Entry, height: float, limits: tuple[float, float]) -> None:
    assert entry.score is not None, "only finished methods are drawn"
    color = BLACK if entry.kind == FULL else BLUE
    # Prompts alone: they are scored on few rows, and often once.
    rows = entry.over_rows if entry.kind == IN_CONTEXT else None
    for interval, width in ((rows, 0.7), ((entry.score.low, entry.score.high), 1.8)):
        if interval and interval[0] is not None and interval[1] is not None:
            panel.plot(
                [max(interval[0], limits[0]), min(interval[1], limits[1])],
                [height, height],
                color=color,
                linewidth=width,
            )
    face = "white" if entry.recipe == AS_PUBLISHED else color
    panel.plot(entry.score.mean, height, "o", color=color, markerfacecolor=face, markersize=6, markeredgewidth=1.4)


def _short(count: float | None) -> str:
    """41346 -> `41k`; nothing where it is not known."""
    if count is None or math.isnan(count):
        return ""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return f"{count:g}" if count else "none"
