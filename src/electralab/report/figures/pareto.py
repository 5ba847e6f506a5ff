"""Figure `pareto`: score against size, latency and memory, with the front of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from electralab.report.candidates import Tradeoff, single_streams, tradeoffs, workload_text
from electralab.report.figures.style import (
    BLACK,
    WIDTH,
    bottom_legend,
    draw_interval,
    end_axis,
    ends,
    series_style,
)
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.text import listing

NOTE = "coloured: front, by means; bar: 95 % interval over seeds, none with one seed; ring: knee of the front"
CLOSE, BELOW, INK = "not shown to be below the front", "below the front", "#8A8A8A"
COLUMNS = 3
Looks = Mapping[str, dict[str, Any]]


def figure(results: Results) -> Figure:
    """A line of panels for every task: size, latency and memory across, score up.

    Raises:
        UserError: fewer than two models of a task have a size or a time.
    """
    runs, found = results.runs, tradeoffs(results)
    if not found:
        raise results.nothing("pair of models of one task with a size or a time")
    lines = _lines(found)
    columns, devices = max(map(len, lines)), len({trade.where for trade in found if trade.where})
    on_front = dict.fromkeys(
        one.name(runs, backend=False)
        for trade in found
        for one, place in zip(trade.candidates, trade.places)
        if place == "front"
    )
    looks = {name: series_style(number) for number, name in enumerate(on_front)}
    drawn = Figure(figsize=(WIDTH, 3.3 * len(lines) + 0.6 + 0.2 * (len(looks) // 3 + 1)))
    drawn.set_layout_engine("constrained")
    panels = drawn.subplots(len(lines), columns, squeeze=False)
    for name, look in looks.items():  # the first entries of the legend, whatever panel they are in
        panels[0, 0].plot([], [], label=name, **(look | {"linestyle": ""}))
    for line, of_line in zip(lines, panels):
        for trade, panel in zip(line, of_line):
            _panel(panel, runs, trade, looks)
            title = trade.task_title(runs)
            panel.set_title(f"{title}, {trade.where}" if devices > 1 and trade.where else title)
        for panel in of_line[len(line) :]:
            panel.set_axis_off()
    streams = list(dict.fromkeys(workload_text(timing) for timing in single_streams(results)))
    note = f"{NOTE}\nlatency and memory: {listing(streams)}" if streams else NOTE
    bottom_legend(drawn, [panel for panel in panels.ravel() if panel.axison], 3, note)
    return drawn


def _lines(found: Sequence[Tradeoff]) -> list[list[Tradeoff]]:
    """Panels side by side: those of a task, at most `COLUMNS`."""
    lines: list[list[Tradeoff]] = []
    for task in dict.fromkeys(trade.task for trade in found):
        own = [trade for trade in found if trade.task == task]
        lines += [own[place : place + COLUMNS] for place in range(0, len(own), COLUMNS)]
    return lines


def _panel(panel: Axes, runs: Runs, trade: Tradeoff, looks: Looks) -> None:
    metric = runs.metric(trade.task)
    panel.set_xscale("log")
    panel.set_xlabel(f"{trade.axis.head} ({trade.axis.unit})")
    panel.set_ylabel(f"validation {METRICS[metric]}")
    best = [one for one, place in zip(trade.candidates, trade.places) if place == "front"]
    costs, means = [trade.cost(one) for one in best], [one.score.mean for one in best]
    panel.step(costs, means, where="post", color=BLACK, linewidth=0.8, zorder=1)
    for number, (one, place) in enumerate(zip(trade.candidates, trade.places)):
        at = trade.cost(one), one.score.mean
        if place == "front":
            look = looks[one.name(runs, backend=False)]
            draw_interval(panel, at[0], one.score, ends(metric), look["color"], alpha=0.7)
            panel.plot(*at, **(look | {"linestyle": ""}), markersize=6.5, zorder=3)
        elif place == "close":
            draw_interval(panel, at[0], one.score, ends(metric), INK, alpha=0.35)
            panel.plot(*at, "o", color=INK, markerfacecolor="white", markersize=5, label=CLOSE)
        else:
            panel.plot(*at, "x", color=INK, markersize=5, label=BELOW)
        if number == trade.knee:
            panel.plot(*at, "o", color=BLACK, markerfacecolor="none", markersize=12, markeredgewidth=1.2)
    end_axis(panel, ends(metric))
    low, high = panel.get_xlim()
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 200 else (1.0,)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
