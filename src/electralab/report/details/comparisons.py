"""`comparisons.csv`: every two arms of a task that share a seed and rows."""

from __future__ import annotations

import pandas as pd

from electralab.report.sources import Sources
from electralab.report.statistics.comparisons import COMPARISON_COLUMNS, compare

COLUMNS = COMPARISON_COLUMNS


def rows(sources: Sources) -> pd.DataFrame:
    """The paired difference of every two arms.

    Raises:
        UserError: predictions are missing or damaged, or two runs of a task have different labels for a row.
    """
    return compare(sources.records)
