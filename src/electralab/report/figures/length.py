"""Figure `length`: milliseconds a row against tokens of a row, for the smallest and the largest batch."""

from __future__ import annotations

from matplotlib.figure import Figure

from electralab.report.benchmarks import Turns, timings, turns
from electralab.report.figures.timing_panels import Across, draw
from electralab.report.results import Results

TOKENS = Across("tokens of a row", lambda one: one.length, lambda one: one.batch_size, lambda size: f"batch {size}")


def figure(results: Results) -> Figure:
    """A panel for every benchmark, number of threads, and smallest or largest batch.

    Raises:
        UserError: nothing was timed.
    """
    return draw(results, turns(timings(results), "latency"), TOKENS, _ends)


def _ends(own: Turns) -> list[int]:
    sizes = [one.batch_size for one in own.timings if one.batch_size]
    return list(dict.fromkeys((min(sizes), max(sizes))))
