"""Figure `adapters`: the score of every method against the number of parameters that it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.report.figures.style import BLACK, GREY, WIDTH, bottom_legend, series_style
from electralab.report.runs import FULL, METRICS, Runs
from electralab.report.tables.adapters import AS_PUBLISHED, Entry, entries, majority_score

NOTE = (
    "point: median over seeds; bar: 95 % interval of the mean, none with one seed; hollow: as published, with its "
    "mistakes\nequal numbers of parameters are drawn side by side"
)
COLUMNS = 2
CLOSE = 0.04  # points within this share of one another would hide each other: they are moved apart
STEP = 1.07


def adapters(runs: Runs) -> Figure:
    """A panel a task and model; full fine-tuning and the majority class as lines."""
    groups = compared(runs)
    drawn = [entry for own in groups.values() for entry in own if entry.kind != FULL]
    methods = list(dict.fromkeys(entry.cell.method for entry in drawn))
    # The recipes of one method have one look, filled and hollow.
    looks = list(dict.fromkeys((entry.kind, entry.options) for entry in drawn))
    styles = {entry.cell.method: series_style(looks.index((entry.kind, entry.options))) for entry in drawn}
    columns = min(COLUMNS, len(groups))
    rows = math.ceil(len(groups) / columns)
    height = 3.4 * rows + 0.2 * math.ceil((len(methods) + 2) / 4) + 0.6
    figure = Figure(figsize=(WIDTH, height))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, ((task, model), own) in zip(panels, groups.items()):
        _panel(panel, runs, task, model, own, styles)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    bottom_legend(figure, list(panels[: len(groups)]), 4, NOTE)
    return figure


def compared(runs: Runs) -> dict[tuple[str, str], list[Entry]]:
    """The methods of every task and model where one that is not full fine-tuning has a finished run."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries(runs):
        if entry.score:
            groups.setdefault((entry.cell.task, entry.model), []).append(entry)
    return {place: own for place, own in groups.items() if any(entry.kind != FULL for entry in own)}


def _panel(
    panel: Axes, runs: Runs, task: str, model: str, own: Sequence[Entry], styles: dict[str, dict[str, Any]]
) -> None:
    panel.set_title(f"{task}, {runs.title(model)}")
    panel.set_ylabel(f"validation {METRICS[runs.metric(task)]}")
    panel.set_xlabel("trained parameters, head included")
    panel.set_xscale("log")
    counts = {e.cell.method: e.costs["trainable_parameters"] or 0.0 for e in own if e.kind != FULL}
    places = apart(counts)
    for entry in own:
        if entry.kind == FULL:
            _full(panel, entry)
        elif entry.cell.method in places:
            _point(panel, entry, places[entry.cell.method], styles[entry.cell.method])
        else:  # nothing is trained: it has no place on a logarithmic axis
            look = {"color": styles[entry.cell.method]["color"], "linestyle": "-.", "linewidth": 1.4}
            panel.axhline(_median(entry), label=f"{entry.cell.method} (trains nothing)", **look)
    rate = majority_score(runs, task, model, own)
    if rate is not None:
        panel.axhline(rate, color=GREY, linestyle=":", linewidth=1.6, label="majority class")
    panel.margins(x=0.12)


def apart(counts: dict[str, float]) -> dict[str, float]:
    """Where to draw each number of parameters, so that equal ones stand side by side; zeros are left out."""
    found: dict[str, float] = {}
    group: list[str] = []
    ordered = sorted((name for name, value in counts.items() if value > 0), key=lambda name: counts[name])
    for name in ordered:
        if group and counts[name] > counts[group[0]] * (1 + CLOSE):
            group = []
        group.append(name)
        for place, member in enumerate(group):
            found[member] = counts[member] * STEP ** (place - (len(group) - 1) / 2)
    return found


def _median(entry: Entry) -> float:
    assert entry.score is not None, "only finished methods are drawn"
    return entry.score.median


def _interval(entry: Entry) -> tuple[float, float] | None:
    found = entry.score
    return (found.low, found.high) if found and found.low is not None and found.high is not None else None


def _full(panel: Axes, entry: Entry) -> None:
    name = "full fine-tuning" if entry.cell.method == FULL else f"full fine-tuning: {entry.cell.method}"
    panel.axhline(_median(entry), color=BLACK, linestyle="--", linewidth=1.4, label=name)
    interval = _interval(entry)
    if interval:
        panel.axhspan(*interval, color=BLACK, alpha=0.07, linewidth=0)


def _point(panel: Axes, entry: Entry, place: float, style: dict[str, Any]) -> None:
    look = {"color": style["color"], "marker": style["marker"], "linestyle": "", "markersize": 7}
    interval = _interval(entry)
    if interval:
        panel.plot([place, place], interval, color=style["color"], linewidth=1.4)
    face = "white" if entry.recipe == AS_PUBLISHED else style["color"]
    panel.plot(place, _median(entry), markerfacecolor=face, markeredgewidth=1.4, label=entry.cell.method, **look)
