"""Figure `prune_as_you_tune`: score against the share of zeros, a line a method, pruned while it was tuned or not."""

from __future__ import annotations

from matplotlib.figure import Figure

from electralab.report.as_you_tune import competitors
from electralab.report.figures.prune_rate import drawn_families
from electralab.report.prune_rates import grouped
from electralab.report.results import Results


def figure(results: Results) -> Figure:
    """A panel a task and model.

    Raises:
        UserError: no such method has a finished run.
    """
    lines = {place: [one.line for one in own if one.line.score] for place, own in competitors(results.runs).items()}
    found = grouped(lines)
    if not found:
        raise results.nothing("finished run of a chain that sets weights to zero")
    return drawn_families(results, found, {}, legend_columns=1)  # long names
