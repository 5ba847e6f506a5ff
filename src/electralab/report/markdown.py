"""A table as a reader sees it: GitHub Markdown with a title, how it was measured, and footnotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from electralab.report.statistics import Summary

ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """`frame` holds full-precision numbers for the CSV; `sections` hold the text of the Markdown."""

    title: str
    about: str
    frame: pd.DataFrame
    sections: list[Section]
    footnotes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The whole page."""
        parts = [f"# {self.title}", self.about]
        for section in self.sections:
            parts += [f"## {section.heading}"] if section.heading else []
            parts.append(section.markdown())
        if self.footnotes:
            parts += ["**Read with care.**", "\n".join(f"- {note}" for note in self.footnotes)]
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Section:
    """One grid; the first column and those named in `text` are left-aligned, the others right-aligned."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: Sequence[str] = ()

    def markdown(self) -> str:
        """A GitHub table."""
        rule = [":--", *(":--" if column in self.text else "--:" for column in self.columns[1:])]
        return "\n".join("| " + " | ".join(_escape(c) for c in row) + " |" for row in [self.columns, rule, *self.rows])


def _escape(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def number(value: float | None, digits: int = 3) -> str:
    """A rounded number, or a dash."""
    return ABSENT if value is None or pd.isna(value) else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """1234567 -> `1,234,567`."""
    return ABSENT if value is None or pd.isna(value) else f"{value:,.0f}"


def scientific(value: float | None) -> str:
    """1.29e18 -> `1.29e+18`."""
    return ABSENT if value is None or pd.isna(value) else f"{value:.2e}"


def with_interval(summary: Summary | None, digits: int = 3) -> str:
    """`0.736 [0.693, 0.779]`; one seed has no interval and says so."""
    if summary is None:
        return ABSENT
    mean = f"{summary.mean:.{digits}f}"
    if summary.low is None or summary.high is None:
        return f"{mean} (n=1: no interval)"
    return f"{mean} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def summary_columns(summaries: Mapping[str, Summary]) -> dict[str, float | None]:
    """A summary as CSV columns: the mean under the metric's own name."""
    columns: dict[str, float | None] = {}
    for metric, s in summaries.items():
        columns |= {metric: s.mean, f"{metric}.median": s.median, f"{metric}.low": s.low, f"{metric}.high": s.high}
        columns |= {f"{metric}.minimum": s.minimum, f"{metric}.maximum": s.maximum}
    return columns
