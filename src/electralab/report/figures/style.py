"""How every figure looks: Okabe-Ito colours, README width, deterministic files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.files import atomic_write
from electralab.report.runs import MAJORITY, Cell, Runs
from electralab.report.statistics.intervals import Summary

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE, GREY = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#6E6E6E",
)
SERIES = (SKY, BLUE, GREEN, ORANGE, VERMILLION, PURPLE)  # Okabe and Ito, 2008; yellow is too faint on white
MARKERS = ("o", "s", "^", "D", "v", "P")
# What needs no model and what was never pretrained have these looks in every figure, and no model has them.
UNTRAINED_COLOR, CONTROL_COLOR = GREY, "#A0A0A0"
BASELINE_LINES = ("-.", (0, (3, 1, 1, 1, 1, 1)))
MAJORITY_LINE: Any = {"color": "#A0A0A0", "linestyle": ":", "linewidth": 1.6}
# Where a quantity ends, and with it an axis: intervals of few seeds reach further.
UNIT, CORRELATION, LOSS = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)
CLIPPED = "arrow: the interval goes on past what the quantity can be"
WIDTH = 10.0  # inches: text of 9 points stays legible when a README shows it 900 pixels wide

SETTINGS: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "svg.hashsalt": "electralab",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save inside this context; the reader's own matplotlibrc does not take part."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def series_style(index: int) -> dict[str, Any]:
    """Colour and marker of the n-th line; past the palette the lines become dotted and the markers move on by one."""
    dotted = index >= len(SERIES)
    return {
        "color": SERIES[index % len(SERIES)],
        "marker": MARKERS[(index + index // len(SERIES)) % len(MARKERS)],
        "linestyle": ":" if dotted else "-",
    }


def ends(metric: str) -> tuple[float, float]:
    """The least and the greatest value that a task's metric can have."""
    return CORRELATION if metric in ("mcc", "pearson", "spearman") else UNIT


def draw_interval(panel: Axes, x: float, summary: Summary, ends: tuple[float, float], color: str, **look: Any) -> None:
    """The interval of a mean as an upright bar, cut where its quantity ends: an arrow instead of a cap says so."""
    if summary.low is None or summary.high is None:
        return
    low, high = max(summary.low, ends[0]), min(summary.high, ends[1])
    panel.errorbar(
        x, summary.mean, [[summary.mean - low], [high - summary.mean]], color=color, capsize=2.5, elinewidth=1, **look
    )
    for end, of_interval, marker in ((low, summary.low, "v"), (high, summary.high, "^")):
        if end != of_interval:
            panel.plot(x, end, marker=marker, markersize=6, color=color, linestyle="", clip_on=False)


def end_axis(panel: Axes, ends: tuple[float, float]) -> None:
    """Let the axis upwards end where its quantity does."""
    low, high = panel.get_ylim()
    panel.set_ylim(max(low, ends[0]), min(high, ends[1]))


def draw_floors(panel: Axes, runs: Runs, cell: Cell, *, majority: Sequence[float] = (), upright: bool = False) -> None:
    """Lines of what needs no model, alike in every figure: baselines, and the majority class.

    Args:
        panel: where.
        runs: the runs.
        cell: whose task, and whose metric.
        majority: what the majority class scores; that of the task where it is not given.
        upright: the score runs along the other axis.
    """
    line = panel.axvline if upright else panel.axhline
    for (method, name), style in zip(runs.baselines().items(), cycle(BASELINE_LINES)):
        score = runs.baseline_score(cell.task, method)
        if score is not None:
            line(score, color=BLACK, linewidth=1.2, linestyle=style, label=name)
    rate = runs.majority_score(cell.task, runs.metric(cell.task))
    for score in majority or ([] if rate is None else [rate]):
        line(score, label=MAJORITY, **MAJORITY_LINE)


def bottom_legend(figure: Figure, axes: list[Axes], columns: int, title: str | None = None) -> None:
    """One legend for all panels, each label once, under them."""
    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=min(columns, len(entries)),
        title=title,
        title_fontsize=9,
    )


def save(figure: Figure, stem: Path) -> None:
    """Write `<stem>.svg` and `<stem>.png`; the same figure gives the same bytes (no date, fixed ids)."""
    with atomic_write(stem.with_name(f"{stem.name}.svg")) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    with atomic_write(stem.with_name(f"{stem.name}.png")) as temporary:
        figure.savefig(temporary, format="png", dpi=180, metadata={"Software": None})
