"""Figure `downstream`: every fine-tuned model on every task, with intervals, controls and published values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle, pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.report.figures.style import (
    BASELINE_LINES,
    BLACK,
    CONTROL_COLOR,
    MAJORITY_LINE,
    UNTRAINED_COLOR,
    WIDTH,
    bottom_legend,
    series_style,
)
from electralab.report.published import SMALL, SMALL_RELEASED, full_finetunings
from electralab.report.results import Results
from electralab.report.runs import MAJORITY, Runs
from electralab.report.scores import ELSEWHERE, Score, scores

NOTE = "point: mean over seeds; bar: its 95 % interval, none with one seed; hollow: has degenerate runs"
PUBLISHED = {  # marks of published validation scores; both tables are of google-research/electra
    SMALL: ("D", "ELECTRA-Small-OWT, published"),
    SMALL_RELEASED: ("s", "ELECTRA-Small++, published"),
}
SLOT = 0.19  # inches: one model, or the published values, in a task's row
GAP = 0.9  # slots between two tasks


def figure(results: Results) -> Figure:
    """A row a task, a point a model, the score to the right; GLUE above, other tasks below.

    Raises:
        UserError: no fine-tuning of a whole model is finished.
    """
    runs, published = results.whole, results.published
    if runs.finetuned.empty:
        raise results.nothing("finished fine-tuning of a whole model")
    shown = [score for score in scores(runs) if score.main and _models(runs, score)]
    models = [model for model in runs.finetuned_models if any(model in _models(runs, score) for score in shown)]
    styles = _styles(runs, models)
    known = [_published_values(published, score) for score in shown]
    slots = [len(_models(runs, score)) + bool(values) for score, values in zip(shown, known)]
    tops = [sum(slots[:place]) + GAP * place for place in range(len(shown))]
    drawn = Figure(figsize=(WIDTH, 1.5 + 0.2 * math.ceil(len(models) / 3) + SLOT * (tops[-1] + slots[-1] + GAP)))
    drawn.set_layout_engine("constrained")
    panel = drawn.subplots()
    for model in models:  # the legend shows every model filled, in the order of the tables
        panel.plot([], [], markersize=7, linewidth=1.6, label=runs.title(model), **styles[model])
    for score, values, top, count in zip(shown, known, tops, slots):
        _floors(panel, runs, score, top - 0.6, top + count - 0.4)
        _published(panel, values, top)
        for slot, model in enumerate(_models(runs, score), start=bool(values)):
            _point(panel, runs, score, model, top + slot, styles[model])
    _rows(panel, shown, tops, slots)
    panel.set_xlabel("validation score")
    bottom_legend(drawn, [panel], 3, NOTE)
    return drawn


def _styles(runs: Runs, models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The palette for models; grey for those without the extensions and those never pretrained."""
    trained = [model for model in models if model not in runs.random_models and not runs.is_control(model)]
    styles = {model: series_style(index) for index, model in enumerate(trained)}
    for model in set(models) - set(trained):
        control = model not in runs.random_models
        color, marker = (CONTROL_COLOR, "P") if control else (UNTRAINED_COLOR, "X")
        styles[model] = {"color": color, "marker": marker, "linestyle": "-"}
    return styles


def _models(runs: Runs, score: Score) -> list[str]:
    return [model for model in runs.finetuned_models if score.by_seed(runs, model)]


def _point(panel: Axes, runs: Runs, score: Score, model: str, height: float, look: dict[str, Any]) -> None:
    summary = score.summary(runs, model)
    assert summary is not None, "only models that have the score are drawn"
    if summary.low is not None and summary.high is not None:
        interval = [summary.low, summary.high]
        panel.plot(
            interval,
            [height, height],
            color=look["color"],
            linestyle=look["linestyle"],
            linewidth=1.6,
            solid_capstyle="butt",
        )
    face = "white" if runs.degenerate_runs(score.cell, model) else look["color"]
    panel.plot(summary.mean, height, markersize=7, markerfacecolor=face, markeredgewidth=1.4, **look)


def _floors(panel: Axes, runs: Runs, score: Score, top: float, bottom: float) -> None:
    """Baselines and the majority class, across the row of their task."""
    for (method, name), style in zip(runs.baselines().items(), cycle(BASELINE_LINES)):
        value = runs.baseline_score(score.cell.task, method, score.column)
        if value is not None:
            panel.plot([value, value], [top, bottom], color=BLACK, linestyle=style, linewidth=1.2, label=name)
    rate = runs.majority_score(score.cell.task, score.metric)
    if rate is not None and score.id not in ELSEWHERE:
        panel.plot([rate, rate], [top, bottom], label=MAJORITY, **MAJORITY_LINE)


def _published_values(published: pd.DataFrame, score: Score) -> dict[str, list[float]]:
    """Validation scores of google-research/electra by model."""
    rows = full_finetunings(published)
    rows = rows[(rows["task_id"] == score.id) & (rows["metric"] == score.metric) & (rows["split"] == "validation")]
    rows = rows[(rows["system"] == "google_electra") & rows["model_id"].isin(PUBLISHED)]
    return {str(model_id): list(map(float, own["value"])) for model_id, own in rows.groupby("model_id")}


def _published(panel: Axes, values: dict[str, list[float]], height: float) -> None:
    for model_id, own in values.items():
        marker, label = PUBLISHED[model_id]
        look: dict[str, Any] = {"marker": marker, "markersize": 6, "markerfacecolor": "none", "linestyle": ""}
        panel.plot(own, [height] * len(own), color=BLACK, label=label, **look)


def _rows(panel: Axes, shown: Sequence[Score], tops: Sequence[float], slots: Sequence[int]) -> None:
    """Task names at the left, first task on top, a line between rows and a stronger one below GLUE."""
    panel.set_yticks([top + (count - 1) / 2 for top, count in zip(tops, slots)], [score.label for score in shown])
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(tops[-1] + slots[-1] - 1 + GAP, -GAP)
    panel.grid(axis="y", visible=False)
    for (above, below), top in zip(pairwise(shown), tops[1:]):
        border = above.glue != below.glue
        panel.axhline(top - (1 + GAP) / 2, color=BLACK if border else "#D0D0D0", linewidth=1.0 if border else 0.6)
    low, high = panel.get_xlim()
    panel.set_xlim(max(low, -1.0), min(high, 1.02))
    low, high = panel.get_xlim()
    parts = 10 if high - low > 0.4 else 20
    panel.set_xticks([part / parts for part in range(math.ceil(low * parts), math.floor(high * parts) + 1)])
