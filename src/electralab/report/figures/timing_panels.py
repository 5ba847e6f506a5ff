"""Panels of times on two logarithmic axes, a line a variant: what the figures `latency` and `length` share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from electralab.report.benchmarks import Timing, Turns, threads_text
from electralab.report.figures.style import WIDTH, bottom_legend, series_style
from electralab.report.results import Results

MOST_LINES = 8
COLUMNS = 2
NOTE = "a chain by its fastest backend; bar: 95 % interval of the median"


class Panel(NamedTuple):
    """The timings of one panel, by variant."""

    title: str
    lines: Mapping[str, Sequence[Timing]]


class Across(NamedTuple):
    """What runs across a panel, and what is fixed in it."""

    label: str
    of: Callable[[Timing], int | None]
    fixed: Callable[[Timing], int | None]
    fixed_text: Callable[[int], str]


def draw(results: Results, own: Sequence[Turns], across: Across, kept: Callable[[Turns], Sequence[int]]) -> Figure:
    """A panel for every comparison and value of what is fixed.

    Args:
        results: whose experiment it is, for the error.
        own: comparisons of the scenario `latency`.
        across: what runs across.
        kept: which values of what is fixed get a panel.

    Raises:
        UserError: nothing was timed.
    """
    chosen = [(one, one.fastest_backends(MOST_LINES)) for one in own]
    panels = [_panel(one, names, across, value) for one, names in chosen if names for value in kept(one)]
    if not panels:
        raise results.nothing("timed batch of one length")
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    timed = {timing.method for one in own for timing in one.timings if timing.seconds}
    left_out = len(timed) - len({name.partition("@")[0] for name in names})
    columns = min(COLUMNS, len(panels))
    count = math.ceil(len(panels) / columns)
    drawn = Figure(figsize=(WIDTH, 3.2 * count + 0.6 + 0.2 * math.ceil(len(names) / 3)))
    drawn.set_layout_engine("constrained")
    axes = list(drawn.subplots(count, columns, squeeze=False, sharey=True).ravel())
    for number, (panel, axis) in enumerate(zip(panels, axes)):
        _fill(axis, panel, across, names)
        axis.set_ylabel("" if number % columns else "milliseconds a row")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    note = f"{NOTE}; slower chains that are left out: {left_out}" if left_out else NOTE
    bottom_legend(drawn, axes[: len(panels)], 3, note)
    return drawn


def _panel(one: Turns, names: Sequence[str], across: Across, value: int) -> Panel:
    first = one.first
    lines = {
        name: [timing for timing in one.timings if timing.variant == name and across.fixed(timing) == value]
        for name in names
    }
    return Panel(f"{first.benchmark}: {across.fixed_text(value)}, {threads_text(first.threads)}", lines)


def _fill(axis: Axes, panel: Panel, across: Across, names: Sequence[str]) -> None:
    axis.set_title(panel.title)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(across.label)
    for name, line in panel.lines.items():
        points = sorted((across.of(one) or 0, one.milliseconds_a_row) for one in line if one.milliseconds_a_row)
        middle = [times.median for _, times in points]
        bars = [[times.median - times.low for _, times in points], [times.high - times.median for _, times in points]]
        at = [place for place, _ in points]
        look = {"markersize": 4.5, "linewidth": 1.3, "capsize": 2} | series_style(names.index(name))
        axis.errorbar(at, middle, bars, label=name, **look)
    ticks = sorted({across.of(one) or 0 for line in panel.lines.values() for one in line})
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.yaxis.set_minor_locator(NullLocator())
