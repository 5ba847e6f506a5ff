"""`comparisons.csv`: every two models on the same task with the same method."""

from __future__ import annotations

import pandas as pd

from electralab.report.comparisons import COMPARISON_COLUMNS, compare
from electralab.report.sources import Sources

COLUMNS = COMPARISON_COLUMNS


def rows(sources: Sources) -> pd.DataFrame:
    """The paired bootstrap of every two models.

    Raises:
        UserError: predictions are missing or damaged, or two runs of a task answered different rows.
    """
    return compare(sources.records)
