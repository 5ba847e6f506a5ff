"""What a table or a figure is made from: a folder that `collect` wrote, and what others published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import pandas as pd

from electralab.errors import UserError
from electralab.report.published import read_published
from electralab.report.reading import read_table
from electralab.report.runs import Runs, read_runs


@dataclass(frozen=True)
class Results:
    """The results of one experiment; every file is read when it is first asked for."""

    folder: Path
    published_csv: Path

    @cached_property
    def runs(self) -> Runs:
        """Every run.

        Raises:
            UserError: `runs.csv` or `comparisons.csv` is missing or damaged.
        """
        return read_runs(self.folder / "runs.csv", self.folder / "comparisons.csv")

    @cached_property
    def whole(self) -> Runs:
        """Without the methods that train a part of a model, or nothing: what tables about models compare."""
        return self.runs.whole_model

    @property
    def pretrained(self) -> Runs:
        """`whole`, of an experiment that pretrains.

        Raises:
            UserError: it does not.
        """
        if self.whole.pretrainings.empty:
            raise self.nothing("pretraining run")
        return self.whole

    @property
    def finetuned(self) -> Runs:
        """`runs`, of an experiment that fine-tunes.

        Raises:
            UserError: it does not.
        """
        if self.runs.finetunings.empty:
            raise self.nothing("fine-tuning run")
        return self.runs

    @cached_property
    def published(self) -> pd.DataFrame:
        """What others published.

        Raises:
            UserError: the file is missing or damaged.
        """
        return read_published(self.published_csv)

    def detail(self, name: str) -> pd.DataFrame:
        """One of `electralab.catalogue.DETAILS`.

        Raises:
            UserError: the file is missing or damaged.
        """
        columns = import_module(f"electralab.report.details.{name}").COLUMNS
        return read_table(self.folder / f"{name}.csv", columns)

    def nothing(self, what: str) -> UserError:
        """The error of a table or a figure that has nothing to show."""
        return UserError(f"{self.folder / 'runs.csv'} has no {what}: there is nothing to show")
