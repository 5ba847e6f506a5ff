"""Figure `pruning`: score against the share of zeros in the encoder, a line a method."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from electralab.report.pruning import Line, lines
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.tables.score_cells import majority_scores

NOTE = (
    "point: mean over seeds; bar: its 95 % interval, none with one seed (hollow); line: one method, more zeros\n"
    "methods of one sparsity stand side by side, up to 3 % beside their place"
)
COLUMNS = 2
LEGEND_COLUMNS = 2
SPREAD, STEP = 6.0, 1.0  # percent of zeros over which the methods of a panel stand side by side, and between two
DENSE_LINES: tuple[Any, ...] = ("-", "--", (0, (5, 1)), (0, (1, 1)))
Family = tuple[str | None, tuple[Any, ...]]


def figure(results: Results) -> Figure:
    """A panel a task and model: zeros across, score up.

    Raises:
        UserError: no chain that sets weights to zero has a finished run.
    """
    return drawn_lines(results, lines(results.runs))


def drawn_lines(
    results: Results, every: Mapping[tuple[str, str], Sequence[Line]], legend_columns: int = LEGEND_COLUMNS
) -> Figure:
    """The same of some lines, by task and model."""
    runs = results.runs
    groups = {place: own for place, own in every.items() if _points(own)}
    if not groups:
        raise results.nothing("finished run of a chain that sets weights to zero")
    looks = _looks([line for own in groups.values() for line in own])
    columns = min(COLUMNS, len(groups))
    rows = math.ceil(len(groups) / columns)
    drawn = Figure(figsize=(WIDTH, 3.6 * rows + 0.7 + 0.2 * math.ceil(len(looks) / legend_columns)))
    drawn.set_layout_engine("constrained")
    panels = list(drawn.subplots(rows, columns, squeeze=False).ravel())
    for panel, ((task, model), own) in zip(panels, groups.items()):
        _panel(panel, runs, task, model, own, looks)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    bottom_legend(drawn, panels[: len(groups)], legend_columns, NOTE)
    return drawn


def _points(own: Sequence[Line]) -> list[Line]:
    """What has a place across: chains that only take structures out have no zeros."""
    return [line for line in own if line.zeroes and not line.is_dense and line.score and line.sparsity is not None]


def _family(line: Line) -> Family:
    return line.dense, line.settings


def _looks(every: Sequence[Line]) -> dict[Family, dict[str, Any]]:
    """A colour, a marker and a name for every method, the same in all panels."""
    families: dict[Family, Line] = {}
    for line in _points(every):
        families.setdefault(_family(line), line)
    several = len({line.dense for line in families.values()}) > 1
    names = {
        family: f"{line.words} (after {line.dense})" if several else line.words for family, line in families.items()
    }
    names = {family: name.replace("`", "") for family, name in names.items()}
    of_name = Counter(names.values())
    return {
        family: series_style(place)
        | {"label": names[family] if of_name[names[family]] == 1 else f"{names[family]}: {line.chain}"}
        for place, (family, line) in enumerate(families.items())
    }


def _panel(
    panel: Axes, runs: Runs, task: str, model: str, own: Sequence[Line], looks: dict[Family, dict[str, Any]]
) -> None:
    panel.set_title(f"{task}, {runs.title(model)}")
    panel.set_xlabel("zeros among the weights of the encoder's dense layers (%)")
    panel.set_ylabel(f"validation {METRICS[runs.metric(task)]}")
    wholes = [line for line in own if line.is_dense and line.score]
    for whole, style in zip(wholes, DENSE_LINES * len(wholes)):
        assert whole.score is not None, "only finished models are drawn"
        panel.axhline(whole.score.mean, color=BLACK, linewidth=1.2, linestyle=style, label=f"{whole.chain} (dense)")
    found = {family: [line for line in _points(own) if _family(line) == family] for family in looks}
    shown = [family for family in looks if found[family]]
    step = min(STEP, SPREAD / len(shown))
    for place, family in enumerate(shown):
        _method(panel, runs, found[family], looks[family], step * (place - (len(shown) - 1) / 2))
    rates = {majority.score for majority in majority_scores(runs, task, model, [line.cell for line in own])}
    draw_floors(panel, runs, own[0].cell, majority=sorted(rates))
    panel.set_xlim(min(0, panel.get_xlim()[0]), 100)
    end_axis(panel, ends(runs.metric(task)))


def _method(panel: Axes, runs: Runs, found: Sequence[Line], look: dict[str, Any], aside: float) -> None:
    """The points of one method, `aside` of their place, joined from its lowest sparsity to its highest."""
    points = sorted(found, key=lambda line: line.sparsity or 0.0)
    across = [100 * (line.sparsity or 0.0) + aside for line in points]
    up = [line.score.mean for line in points if line.score]
    panel.plot(across, up, color=look["color"], linestyle=look["linestyle"], linewidth=1.1, alpha=0.8)
    for x, line in zip(across, points):
        assert line.score is not None, "only finished chains are drawn"
        draw_interval(panel, x, line.score, ends(runs.metric(line.cell.task)), look["color"], alpha=0.6)
        panel.plot(
            *(x, line.score.mean),
            **(look | {"linestyle": ""}),
            markersize=6,
            markeredgewidth=1.3,
            markerfacecolor="white" if line.score.low is None else look["color"],
        )
