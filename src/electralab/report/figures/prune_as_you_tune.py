"""Figure `prune_as_you_tune`: score against the share of zeros, a line a method, pruned while it was tuned or not."""

from __future__ import annotations

from matplotlib.figure import Figure

from electralab.report.as_you_tune import competitors
from electralab.report.figures.pruning import drawn_lines
from electralab.report.results import Results


def figure(results: Results) -> Figure:
    """A panel a task and model.

    Raises:
        UserError: no such method has a finished run.
    """
    groups = competitors(results.runs)
    return drawn_lines(results, {place: [one.line for one in own] for place, own in groups.items()}, 1)
