"""Figure `quantization`: score against the size of the files, a line from each uncompressed model to every chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from electralab.report.compression import Line, lines
from electralab.report.figures.style import (
    BLACK,
    WIDTH,
    bottom_legend,
    draw_floors,
    draw_interval,
    end_axis,
    ends,
    series_style,
)
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs

NOTE = "point: mean over seeds; bar: its 95 % interval, none with one seed (hollow); thin line: from the link before"
COLUMNS = 2
UNCOMPRESSED = ("o", "s", "D", "^")


def figure(results: Results) -> Figure:
    """A panel a task and model: megabytes across, score up.

    Raises:
        UserError: no chain that stores a model smaller has a finished run.
    """
    runs = results.runs
    groups = {place: _finished(own) for place, own in lines(runs).items()}
    groups = {place: own for place, own in groups.items() if any(line.parent for line in own)}
    if not groups:
        raise results.nothing("finished run of a chain that stores a model smaller")
    styles = _styles([line for own in groups.values() for line in own])
    columns = min(COLUMNS, len(groups))
    count = math.ceil(len(groups) / columns)
    drawn = Figure(figsize=(WIDTH, 3.6 * count + 0.5 + 0.2 * math.ceil(len(styles) / 3)))
    drawn.set_layout_engine("constrained")
    panels = list(drawn.subplots(count, columns, squeeze=False).ravel())
    for panel, ((task, model), own) in zip(panels, groups.items()):
        _panel(panel, runs, task, model, own, styles)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    bottom_legend(drawn, panels[: len(groups)], 3, NOTE)
    return drawn


def _finished(own: Sequence[Line]) -> list[Line]:
    return [line for line in own if line.score and line.bytes]


def _styles(every: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Black for uncompressed chains, a colour and marker for every other: the same in all panels."""
    wholes = list(dict.fromkeys(line.whole for line in every))
    others = dict.fromkeys(line.chain for line in every if line.chain not in wholes)
    styles: dict[str, dict[str, Any]] = {
        chain: {"color": BLACK, "marker": UNCOMPRESSED[place % len(UNCOMPRESSED)], "linestyle": "-"}
        for place, chain in enumerate(wholes)
    }
    return styles | {chain: series_style(place) for place, chain in enumerate(others)}


def _panel(
    panel: Axes, runs: Runs, task: str, model: str, own: Sequence[Line], styles: dict[str, dict[str, Any]]
) -> None:
    panel.set_title(f"{task}, {runs.title(model)}")
    panel.set_xlabel("files of weights (MB)")
    panel.set_ylabel(f"validation {METRICS[runs.metric(task)]}")
    by_chain = {line.chain: line for line in own}
    for line in own:
        # The link before may only have pruned, and have no point.
        before = by_chain.get(line.parent, by_chain.get(line.whole)) if line.parent else None
        _point(panel, runs, line, before, styles[line.chain])
    draw_floors(panel, runs, own[0].cell)
    panel.set_xlim(0, 1.06 * max(line.bytes or 0.0 for line in own) / 1e6)
    panel.xaxis.set_major_locator(MaxNLocator(8))
    end_axis(panel, ends(runs.metric(task)))


def _point(panel: Axes, runs: Runs, line: Line, parent: Line | None, look: dict[str, Any]) -> None:
    """A chain at its size and score, joined to the link before."""
    assert line.score is not None and line.bytes is not None, "only finished chains are drawn"
    size = line.bytes / 1e6
    if parent is not None and parent.score is not None and parent.bytes is not None:
        joined = [parent.bytes / 1e6, size], [parent.score.mean, line.score.mean]
        panel.plot(*joined, color=look["color"], linestyle=look["linestyle"], linewidth=0.9, alpha=0.7)
    single = line.score.low is None
    draw_interval(panel, size, line.score, ends(runs.metric(line.cell.task)), look["color"], alpha=0.6)
    panel.plot(
        *(size, line.score.mean),
        **(look | {"linestyle": ""}),
        markersize=6.5,
        markeredgewidth=1.3,
        markerfacecolor="white" if single else look["color"],
        label=line.chain,
    )
