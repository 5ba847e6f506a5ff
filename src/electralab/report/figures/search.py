"""Figure `search`: the score of every trial with the best so far, and which options mattered."""

from __future__ import annotations

from itertools import accumulate

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from electralab.report.figures.style import BLUE, GREEN, GREY, ORANGE, VERMILLION, WIDTH, bottom_legend
from electralab.report.results import Results
from electralab.report.tables.search import importances, of, searched


def figure(results: Results) -> Figure:
    """A row a search: trials in their order to the left, importances to the right.

    Raises:
        UserError: there is no trial.
    """
    trials = searched(results)
    names = list(dict.fromkeys(trials["search"]))
    drawn = Figure(figsize=(WIDTH, 0.8 + 2.9 * len(names)))
    drawn.set_layout_engine("constrained")
    panels = drawn.subplots(len(names), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), name in zip(panels, names):
        own = of(trials, name).sort_values("trial")
        _trials(left, name, own)
        _importances(right, own)
    panels[-1][0].set_xlabel("trial")
    bottom_legend(drawn, [left for left, _ in panels], 3, "trials are scored on tuning rows, which chose the best")
    return drawn


def _trials(panel: Axes, name: str, own: pd.DataFrame) -> None:
    panel.set_title(f"{name}: {len(own)} trial{'' if len(own) == 1 else 's'}")
    panel.set_ylabel("score")
    finished = own[own["status"] == "ok"]
    panel.plot(finished["trial"], finished["score"], "o", color=BLUE, markersize=5, label="trial")
    best = list(accumulate(finished["score"], max))
    panel.plot(finished["trial"], best, color=ORANGE, drawstyle="steps-post", linewidth=1.8, label="best so far")
    pruned = own[(own["status"] == "pruned") & own["score"].notna()]
    if len(pruned):
        label = "pruned: its last score"
        panel.plot(
            pruned["trial"], pruned["score"], "o", color=BLUE, markersize=5, markerfacecolor="white", label=label
        )
    validated = own[own["validation_score"].notna()]
    if len(validated):
        label = "the best on validation rows"
        panel.plot(validated["trial"], validated["validation_score"], "D", color=GREEN, markersize=5, label=label)
    without = own[(own["status"] != "ok") & own["score"].isna()]
    if len(without):
        foot = panel.get_xaxis_transform()  # they have no score: a place at the foot of the panel, not a value
        label = "failed or pruned, no score"
        panel.plot(
            *(without["trial"], [0.03] * len(without), "x"),
            color=VERMILLION,
            transform=foot,
            clip_on=False,
            label=label,
        )
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first, last = int(own["trial"].min()), int(own["trial"].max())
    panel.set_xlim(first - 0.5, last + 0.5)
    if finished.empty:
        _say(panel, "no finished trial")
        panel.set_yticks([])


def _importances(panel: Axes, own: pd.DataFrame) -> None:
    panel.set_title("importance of the options")
    shares = importances(own)
    if not shares:
        _say(panel, "not known")
        panel.set_xticks([])
        panel.set_yticks([])
        return
    bars = panel.barh(list(shares), list(shares.values()), color=BLUE, height=0.6)
    panel.bar_label(bars, [f"{100 * share:.0f} %" for share in shares.values()], padding=3)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.15 * max(*shares.values(), 0.1))
    panel.set_xlabel("share of the variance between trials (fANOVA)")
    panel.grid(axis="y", visible=False)


def _say(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", color=GREY)
