"""Figure `pruning`: the score of every chain that prunes a model or takes structures out, a line a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from electralab.report.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    VERMILLION,
    WIDTH,
    bottom_legend,
    draw_floors,
    ends,
)
from electralab.report.pruning import AS_YOU_TUNE, Line, lines
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.tables.score_cells import majority_scores

NOTE = (
    "point: mean over seeds; bar: its 95 % interval, none with one seed; "
    "at the right: share set to zero of what is pruned, or parameters left"
)
LINE = 0.2  # inches a chain
RULE = "#C8C8C8"  # between two rates
BEFORE, WHILE, AFTER, REMOVED = (
    *("pruned before fine-tuning", "pruned while fine-tuned", "pruned after fine-tuning"),
    "structures removed",
)
COLORS = {BEFORE: ORANGE, WHILE: GREEN, AFTER: BLUE, REMOVED: VERMILLION}
DENSE_LINES: tuple[Any, ...] = ("-", "--", (0, (5, 1)), (0, (1, 1)))


def figure(results: Results) -> Figure:
    """A panel a task and model: chains by when they prune, then by rate, the best of a rate first; score across.

    Raises:
        UserError: no such chain has a finished run.
    """
    runs = results.runs
    groups = {place: [line for line in own if line.score] for place, own in lines(runs).items()}
    groups = {place: own for place, own in groups.items() if any(not line.is_dense for line in own)}
    if not groups:
        raise results.nothing("finished run of a chain that prunes a model")
    heights = [1.1 + LINE * len(_rows(own)) for own in groups.values()]
    drawn = Figure(figsize=(WIDTH, sum(heights) + 0.8))
    drawn.set_layout_engine("constrained")
    panels = list(drawn.subplots(len(groups), 1, squeeze=False, height_ratios=heights).ravel())
    for panel, ((task, model), own) in zip(panels, groups.items()):
        _panel(panel, runs, task, model, own)
    bottom_legend(drawn, panels, 4, NOTE)
    return drawn


def _when(line: Line) -> str:
    if line.removes:
        return REMOVED
    return BEFORE if line.kinds[0] == "prune_full" else WHILE if AS_YOU_TUNE in line.kinds else AFTER


def _rows(own: Sequence[Line]) -> list[str | Line]:
    """From the top: the name of a group, then its chains; a model that is pruned in two ways may be in two groups."""
    rows: list[str | Line] = []
    for when in COLORS:
        chains = [line for line in own if not line.is_dense and _when(line) == when]
        rows += [when, *sorted(chains, key=_place)] if chains else []
    return rows


def _place(line: Line) -> tuple[float, float]:
    assert line.score is not None, "only finished chains are drawn"
    return (line.asked or 0.0) if line.zeroes else 0.0, -line.score.mean


def _panel(panel: Axes, runs: Runs, task: str, model: str, own: Sequence[Line]) -> None:
    panel.set_title(f"{task}, {runs.title(model)}")
    panel.set_xlabel(f"validation {METRICS[runs.metric(task)]}")
    wholes = [line for line in own if line.is_dense]
    for whole, style in zip(wholes, DENSE_LINES * len(wholes)):
        if whole.score:
            look = {"color": BLACK, "linewidth": 1.2, "linestyle": style}
            panel.axvline(whole.score.mean, label=f"{whole.chain} (dense)", **look)
    rates = {majority.score for majority in majority_scores(runs, task, model, [line.cell for line in own])}
    draw_floors(panel, runs, own[0].cell, majority=sorted(rates), upright=True)
    rows = _rows(own)
    for height, row in enumerate(rows):
        if isinstance(row, Line):
            before = rows[height - 1]
            if isinstance(before, Line) and (before.zeroes, before.asked) != (row.zeroes, row.asked):
                panel.axhline(height - 0.5, color=RULE, linewidth=0.7)
            _point(panel, row, height, ends(runs.metric(task)))
            at_right = (1.01, height, _at_right(row))
            panel.text(*at_right, transform=panel.get_yaxis_transform(), va="center", fontsize=8)
    panel.set_yticks(range(len(rows)), [row if isinstance(row, str) else _label(row, rows) for row in rows])
    for tick, row in zip(panel.get_yticklabels(), rows):
        tick.set_fontweight("bold" if isinstance(row, str) else "normal")
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.xaxis.set_major_locator(MaxNLocator(8))
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", visible=False)


def _label(line: Line, rows: Sequence[str | Line]) -> str:
    """What a chain does; with its name where another of its rate does what is called the same."""
    said = (line.words, line.asked)
    alike = [other for other in rows if isinstance(other, Line) and (other.words, other.asked) == said]
    return line.words.replace("`", "") + (f" ({line.chain})" if len(alike) > 1 else "")


def _at_right(line: Line) -> str:
    if line.zeroes and line.asked is not None:
        return f"{100 * line.asked:.4g} %"
    left, before = line.measured["nonzero_parameters"], line.measured["parameters_before"]
    return f"{100 * left / before:.0f} % left" if left and before else ""


def _point(panel: Axes, line: Line, height: float, limits: tuple[float, float]) -> None:
    assert line.score is not None, "only finished chains are drawn"
    color, score = COLORS[_when(line)], line.score
    if score.low is not None and score.high is not None:
        across = [max(score.low, limits[0]), min(score.high, limits[1])]
        panel.plot(across, [height, height], color=color, linewidth=1.6)
    panel.plot(score.mean, height, "o", color=color, markersize=5.5)
