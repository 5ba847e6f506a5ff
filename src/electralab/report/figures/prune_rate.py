"""Figure `prune_rate`: score against the share of weights that are set to zero, a line a method."""

from __future__ import annotations

import math
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
from electralab.report.prune_rates import Family, PublishedRates, families, published_rates
from electralab.report.pruning import Line, lines
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.tables.score_cells import majority_scores

NOTE = (
    "point: mean over seeds; bar: its 95 % interval, none with one seed; hollow: published, one seed\n"
    "methods of one rate stand side by side, up to 3 % beside their place"
)
COLUMNS = 2
LEGEND_COLUMNS = 2
SPREAD, STEP = 6.0, 1.0  # percent over which the methods of a panel stand side by side, and between two
DENSE_LINES: tuple[Any, ...] = ("-", "--", (0, (5, 1)), (0, (1, 1)))


def figure(results: Results) -> Figure:
    """A panel a task and model: rates across, score up.

    Raises:
        UserError: no method has finished runs at two rates.
    """
    found = families(results.runs)
    found = {place: [family for family in own if len(_points(family)) > 1] for place, own in found.items()}
    found = {place: own for place, own in found.items() if own}
    if not found:
        raise results.nothing("method with finished runs at two rates of pruning")
    studies = {place: published_rates(results.published, results.runs, place[0]) for place in found}
    return drawn_families(results, found, studies)


def drawn_families(
    results: Results,
    found: Mapping[tuple[str, str], Sequence[Family]],
    studies: Mapping[tuple[str, str], Sequence[PublishedRates]],
    legend_columns: int = LEGEND_COLUMNS,
) -> Figure:
    """A panel for every task and model, with the points of its methods and of published studies."""
    names = list(dict.fromkeys(family.name for own in found.values() for family in own))
    looks = {name: series_style(place) | {"label": name.replace("`", "")} for place, name in enumerate(names)}
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    drawn = Figure(figsize=(WIDTH, 3.6 * rows + 0.9 + 0.2 * math.ceil(len(looks) / legend_columns)))
    drawn.set_layout_engine("constrained")
    panels = list(drawn.subplots(rows, columns, squeeze=False).ravel())
    for panel, (place, own) in zip(panels, found.items()):
        _panel(panel, results.runs, own, studies.get(place, ()), looks)
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    bottom_legend(drawn, panels[: len(found)], legend_columns, NOTE)
    return drawn


def _points(family: Family) -> list[Line]:
    return [line for line in family.lines if line.score]


def _panel(
    panel: Axes,
    runs: Runs,
    own: Sequence[Family],
    studies: Sequence[PublishedRates],
    looks: dict[str, dict[str, Any]],
) -> None:
    task, model = own[0].task, own[0].model
    panel.set_title(f"{task}, {runs.title(model)}")
    panel.set_xlabel("share that is set to zero, of what a method prunes (%)")
    panel.set_ylabel(f"validation {METRICS[runs.metric(task)]}")
    _dense(panel, runs, own)
    step = min(STEP, SPREAD / len(own))
    for place, family in enumerate(own):
        _method(panel, runs, family, looks[family.name], step * (place - (len(own) - 1) / 2))
    for study in studies:
        across = [100 * rate for rate in study.scores]
        look: dict[str, Any] = {"color": BLACK, "marker": "s", "markerfacecolor": "white", "linestyle": ":"}
        panel.plot(across, list(study.scores.values()), label=study.name, linewidth=1, **look)
    cells = [line.cell for family in own for line in family.lines]
    rates = {majority.score for majority in majority_scores(runs, task, model, cells)}
    draw_floors(panel, runs, cells[0], majority=sorted(rates))
    panel.set_xlim(0, 100)
    end_axis(panel, ends(runs.metric(task)))


def _dense(panel: Axes, runs: Runs, own: Sequence[Family]) -> None:
    """Lines across for the models that the methods of a panel are compared with."""
    wanted = {family.lines[0].dense for family in own}
    wholes = [line for line in lines(runs)[own[0].task, own[0].model] if line.is_dense and line.chain in wanted]
    for whole, style in zip(wholes, DENSE_LINES * len(wholes)):
        if whole.score:
            look: dict[str, Any] = {"color": BLACK, "linewidth": 1.2, "linestyle": style}
            panel.axhline(whole.score.mean, label=f"{whole.chain} (dense)", **look)


def _method(panel: Axes, runs: Runs, family: Family, look: dict[str, Any], aside: float) -> None:
    """The points of one method, `aside` of their place, joined from its lowest rate to its highest."""
    points = _points(family)
    across = [100 * (line.asked or 0.0) + aside for line in points]
    up = [line.score.mean for line in points if line.score]
    panel.plot(across, up, **look, linewidth=1.1, markersize=5)
    for x, line in zip(across, points):
        assert line.score is not None, "only finished chains are drawn"
        draw_interval(panel, x, line.score, ends(runs.metric(family.task)), look["color"], alpha=0.6)
