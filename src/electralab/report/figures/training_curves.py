"""Figure `training_curves`: generator and discriminator over training, a line per generator size."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from electralab.report.figures.style import BLACK, GREY, WIDTH, bottom_legend, series_style
from electralab.report.results import Results
from electralab.report.runs import Runs

PANELS = {
    "mlm_loss": "MLM loss (nat)",
    "rtd_auc": "RTD AUC, own generator",
    "rtd_auc_unigram": "RTD AUC, unigram replacements",
}
WARMUP = "spec.settings.unigram_warmup"


def figure(results: Results) -> Figure:
    """Held-out metrics against training tokens: the mean over seeds in bold, each seed thin, controls dashed.

    Raises:
        UserError: no pretraining is finished.
    """
    runs, curves = results.whole, results.detail("curves")
    if not runs.models:
        raise results.nothing("finished pretraining")
    drawn = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    panels = list(drawn.subplots(1, len(PANELS)))
    scale, unit = _unit(float(curves["tokens"].max()))
    curves = curves.assign(x=curves["tokens"] / scale)
    for panel, (metric, title) in zip(panels, PANELS.items()):
        panel.set_title(title)
        panel.set_xlabel(f"training tokens{unit}")
        for index, model in enumerate(runs.models):
            _draw(panel, curves[curves["model"] == model], metric, runs, model, index)
        for tokens in _warmup_ends(runs):
            panel.axvline(tokens / scale, color=GREY, linewidth=1, linestyle=":", label="end of the unigram warm-up")
    unigram = runs.pretrained["metric.unigram_cross_entropy"].mean()
    panels[0].axhline(unigram, color=BLACK, linewidth=1, linestyle="-.", label="unigram cross-entropy")
    for panel in panels[1:]:
        panel.axhline(0.5, color=BLACK, linewidth=1, label="chance (AUC)")
    low = min(panel.get_ylim()[0] for panel in panels[1:])
    high = max(panel.get_ylim()[1] for panel in panels[1:])
    for panel in panels[1:]:
        panel.set_ylim(low, high)  # one scale: the two AUCs are read against each other
    bottom_legend(drawn, panels, 4, "held-out; bold: mean over seeds, thin: each seed")
    return drawn


def _draw(panel: Axes, rows: pd.DataFrame, metric: str, runs: Runs, model: str, index: int) -> None:
    if metric not in rows:
        return
    rows = rows.dropna(subset=metric)
    control = runs.is_control(model)
    style = series_style(index)
    color, line = (GREY, "--") if control else (style["color"], style["linestyle"])
    seeds = rows["seed"].nunique()
    if seeds > 1:
        for _, one in rows.groupby("seed"):
            panel.plot(one["x"], one[metric], color=color, linestyle=line, linewidth=0.7, alpha=0.55)
    mean = rows.groupby("x")[metric].mean()
    panel.plot(mean.index, mean, color=color, linestyle=line, linewidth=2, label=runs.title(model))


def _unit(most: float) -> tuple[float, str]:
    for scale, name in ((1e9, " (billions)"), (1e6, " (millions)"), (1e3, " (thousands)")):
        if most >= scale:
            return scale, name
    return 1.0, ""


def _warmup_ends(runs: Runs) -> list[float]:
    """Tokens after which the generator joined; a plain run has no such place."""
    rows = runs.pretrained
    if WARMUP not in rows:
        return []
    rows = rows[rows[WARMUP] > 0]
    return sorted(set(rows[WARMUP] * rows["cost.tokens"]))
