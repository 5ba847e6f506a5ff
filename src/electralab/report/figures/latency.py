"""Figure `latency`: milliseconds a row against rows at once, a line a chain."""

from __future__ import annotations

from matplotlib.figure import Figure

from electralab.report.benchmarks import Turns, timings, turns
from electralab.report.figures.timing_panels import Across, draw
from electralab.report.results import Results

ROWS = Across("rows at once", lambda one: one.batch_size, lambda one: one.length, lambda length: f"{length} tokens")


def figure(results: Results) -> Figure:
    """A panel for every benchmark, number of threads and length.

    Raises:
        UserError: nothing was timed.
    """
    return draw(results, turns(timings(results), "latency"), ROWS, _lengths)


def _lengths(own: Turns) -> list[int]:
    return sorted({one.length for one in own.timings if one.length})
