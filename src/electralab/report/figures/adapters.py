"""Figure `adapters`: the score of every method against the number of parameters that it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from electralab.report.entries import AS_PUBLISHED, IN_CONTEXT, Entry, entries, grouped
from electralab.report.figures.style import BLACK, GREY, WIDTH, bottom_legend, series_style
from electralab.report.results import Results
from electralab.report.runs import FULL, METRICS, Runs
from electralab.report.tables.score_cells import majority_scores

NOTE = (
    "point: mean over seeds; bar: its 95 % interval, none with one seed; hollow: as published, with its "
    "mistakes\nthin bar, where nothing is trained: 95 % interval over the scored rows; points that would hide each "
    "other stand side by side"
)
COLUMNS = 2
MARKER_WIDTH, MARKER_HEIGHT = 0.031, 0.05  # shares of a panel


def figure(results: Results) -> Figure:
    """A panel a task and model; full fine-tuning and the majority class as lines.

    Raises:
        UserError: no method but full fine-tuning has a finished run.
    """
    runs = results.runs
    groups = compared(runs)
    if not groups:
        raise results.nothing("finished run of an adapter")
    shown = [entry for own in groups.values() for entry in own if entry.kind != FULL]
    methods = list(dict.fromkeys(entry.cell.method for entry in shown))
    # The recipes of one method have one look, filled and hollow.
    looks = list(dict.fromkeys((entry.kind, entry.options) for entry in shown))
    styles = {entry.cell.method: series_style(looks.index((entry.kind, entry.options))) for entry in shown}
    columns = min(COLUMNS, len(groups))
    rows = math.ceil(len(groups) / columns)
    height = 3.4 * rows + 0.2 * math.ceil((len(methods) + 2) / 4) + 0.6
    drawn = Figure(figsize=(WIDTH, height))
    drawn.set_layout_engine("constrained")
    panels = drawn.subplots(rows, columns, squeeze=False).ravel()
    for panel, ((task, model), own) in zip(panels, groups.items()):
        _panel(panel, runs, task, model, own, styles)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    bottom_legend(drawn, list(panels[: len(groups)]), 4, NOTE)
    return drawn


def compared(runs: Runs) -> dict[tuple[str, str], list[Entry]]:
    """The methods of every task and model where one that is not full fine-tuning has a finished run."""
    groups = grouped([entry for entry in entries(runs) if entry.score])
    return {place: own for place, own in groups.items() if any(entry.kind != FULL for entry in own)}


def _panel(
    panel: Axes, runs: Runs, task: str, model: str, own: Sequence[Entry], styles: dict[str, dict[str, Any]]
) -> None:
    panel.set_title(f"{task}, {runs.title(model)}")
    panel.set_ylabel(f"validation {METRICS[runs.metric(task)]}")
    panel.set_xlabel("trained parameters, head included")
    for entry in own:
        if entry.kind == FULL:
            _full(panel, entry)
    rates = [majority.score for majority in majority_scores(runs, task, model, [entry.cell for entry in own])]
    for rate in rates:
        panel.axhline(rate, color=GREY, linestyle=":", linewidth=1.6, label="majority class")
    points = [entry for entry in own if entry.kind != FULL]
    limits = _axis(panel, [entry.costs["trainable_parameters"] or 0.0 for entry in points])
    heights = [
        *rates,
        *(value for entry in own for value in (*_interval(entry), *_over_rows(entry), _mean(entry))),
    ]
    places = apart(
        {entry.cell.method: _box(entry, limits[0]) for entry in points},
        MARKER_WIDTH * (limits[2] - limits[1]),
        MARKER_HEIGHT * (max(heights) - min(heights)),
    )
    for entry in points:
        _point(panel, entry, 10 ** places[entry.cell.method], styles[entry.cell.method])


def _axis(panel: Axes, counts: Sequence[float]) -> tuple[float, float, float]:
    """Scale and ticks for numbers of parameters; methods that train nothing stand left of the others, over `none`.

    Returns:
        where `none` is, and the ends of the axis, in powers of ten.
    """
    powers = [math.log10(count) for count in counts if count > 0]
    low, high = (min(powers), max(powers)) if powers else (0.0, 0.0)
    margin = max(0.3, 0.08 * (high - low))
    start, end, none = low - margin, high + margin, 0.0
    ticks = _ticks(start, end) if powers else []
    names = [_short(tick) for tick in ticks]
    if len(powers) < len(counts):
        none = start if powers else 0.0
        start = none - max(margin, 0.3)
        ticks, names = [10**none, *ticks], ["none", *names]
    panel.set_xscale("log")
    panel.set_xlim(10**start, 10**end)
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_major_formatter(FixedFormatter(names))
    panel.xaxis.set_minor_locator(NullLocator())
    return none, start, end


def _ticks(start: float, end: float) -> list[float]:
    """Powers of ten within the axis, with 2 and 5 times these where there are few."""
    decades = range(math.floor(start), math.ceil(end) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in decades for factor in factors]
        ticks = [tick for tick in ticks if 10**start * 1.05 < tick < 10**end]
        if len(ticks) > 2:
            break
    return ticks


def _short(count: float) -> str:
    """20000 -> `20k`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:g}{name}"
    return f"{count:g}"


def _box(entry: Entry, none: float) -> tuple[float, float, float]:
    """Where a point is, in powers of ten, and what it covers up the panel, its interval included."""
    count = entry.costs["trainable_parameters"]
    heights = (*_interval(entry), *_over_rows(entry), _mean(entry))
    return math.log10(count) if count else none, min(heights), max(heights)


def apart(boxes: dict[str, tuple[float, float, float]], width: float, height: float) -> dict[str, float]:
    """Where to draw points, so that none hides another: those that would are pushed aside, and no others.

    Args:
        boxes: place, lower and upper end of every point, by name.
        width: how far apart two points must be that are on the same height.
        height: what a point covers by itself, half of it above its upper end.
    """
    level = [
        (a, b)
        for a, b in combinations(sorted(boxes, key=lambda name: boxes[name][0]), 2)
        if boxes[a][1] - boxes[b][2] < height and boxes[b][1] - boxes[a][2] < height
    ]
    places = {name: box[0] for name, box in boxes.items()}
    while too_near := [(a, b) for a, b in level if places[b] - places[a] < 0.9995 * width]:
        for a, b in too_near:
            push = max(0.0, width - (places[b] - places[a])) / 2
            places[a], places[b] = places[a] - push, places[b] + push
    return places


def _mean(entry: Entry) -> float:
    assert entry.score is not None, "only finished methods are drawn"
    return entry.score.mean


def _interval(entry: Entry) -> tuple[float, ...]:
    """Both ends of the interval over seeds, as far as there are scores; nothing with one seed."""
    found = entry.score
    return (found.low, min(found.high, 1.0)) if found and found.low is not None and found.high is not None else ()


def _over_rows(entry: Entry) -> tuple[float, ...]:
    """Both ends of the interval over rows, of prompts alone: they are scored on few rows, and often once."""
    return entry.over_rows or () if entry.kind == IN_CONTEXT else ()


def _full(panel: Axes, entry: Entry) -> None:
    name = "full fine-tuning" if entry.cell.method == FULL else f"full fine-tuning: {entry.cell.method}"
    panel.axhline(_mean(entry), color=BLACK, linestyle="--", linewidth=1.4, label=name)
    interval = _interval(entry)
    if interval:
        panel.axhspan(*interval, color=BLACK, alpha=0.07, linewidth=0)


def _point(panel: Axes, entry: Entry, place: float, style: dict[str, Any]) -> None:
    look = {"color": style["color"], "marker": style["marker"], "linestyle": "", "markersize": 7}
    for interval, width in ((_over_rows(entry), 0.7), (_interval(entry), 1.8)):
        if interval:
            panel.plot([place, place], interval, color=style["color"], linewidth=width)
    face = "white" if entry.recipe == AS_PUBLISHED else style["color"]
    panel.plot(place, _mean(entry), markerfacecolor=face, markeredgewidth=1.4, label=entry.cell.method, **look)
