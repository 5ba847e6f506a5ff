"""What a table or a figure is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from electralab.report.comparisons import COMPARISON_COLUMNS
from electralab.report.published import read_published
from electralab.report.reading import read_table
from electralab.report.runs import Runs, read_runs, read_searches


@dataclass(frozen=True)
class Results:
    """Runs, pairs of models compared on the same examples, what others published, and the trials of searches."""

    runs: Runs
    comparisons: pd.DataFrame
    published: pd.DataFrame
    searches: pd.DataFrame | None = None


def read_results(
    runs_csv: Path, comparisons_csv: Path, published_csv: Path, searches_csv: Path | None = None
) -> Results:
    """Read the files; an experiment without searches has none of them.

    Raises:
        UserError: one is missing or damaged.
    """
    return Results(
        read_runs(runs_csv),
        read_table(comparisons_csv, COMPARISON_COLUMNS),
        read_published(published_csv),
        read_searches(searches_csv) if searches_csv else None,
    )
