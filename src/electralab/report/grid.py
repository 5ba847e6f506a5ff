"""A table: one list of columns makes its CSV, its Markdown and its web page from the same rows."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd

from electralab.files import atomic_write, write_text
from electralab.report.statistics.differences import Difference
from electralab.report.statistics.intervals import Summary
from electralab.report.text import ABSENT, plain

R = TypeVar("R")
WIDEST = 8  # columns beside the first: more do not fit on a screen
SUMMARY = ("n", "mean", "median", "low", "high", "minimum", "maximum")  # how every CSV calls them


@dataclass(frozen=True)
class Column(Generic[R]):
    """One thing that is said of every row. Without a `key` it is not in the CSV, without a `head` not on the page."""

    key: str
    value: Callable[[R], Any]
    head: str = ""
    text: Callable[[Any], str] = plain
    left: bool = False


@dataclass(frozen=True)
class Section:
    """One grid of a page; the first column and those named in `left` are left-aligned, the others right-aligned."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[str] = ()

    def plus(self, row: Mapping[str, str]) -> Section:
        """With one row more, of which only some cells have something in them."""
        return replace(self, rows=[*self.rows, [row.get(column, "") for column in self.columns]])

    def markdown(self) -> str:
        """A GitHub table."""
        rule = [":--", *(":--" if column in self.left else "--:" for column in self.columns[1:])]
        return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in [self.columns, rule, *self.rows])

    def html(self) -> str:
        """An HTML table."""
        sides = ["", *("" if column in self.left else ' class="right"' for column in self.columns[1:])]
        rows = ["".join(f"<td{side}>{_marked_up(cell)}</td>" for side, cell in zip(sides, row)) for row in self.rows]
        head = "".join(f"<th{side}>{_marked_up(column)}</th>" for side, column in zip(sides, self.columns))
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return f'<div class="grid"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


@dataclass(frozen=True)
class Table:
    """`frame` holds full-precision numbers for the CSV; the rest is text for readers, what held in `answer` first."""

    title: str
    about: str
    frame: pd.DataFrame
    sections: list[Section]
    footnotes: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[tuple[str, list[str]]]:
        """What stands below the grids, under two headings."""
        return [("Read with care", self.footnotes), ("How this was measured", [self.about] if self.about else [])]

    def markdown(self) -> str:
        """The whole page as GitHub Markdown."""
        parts = [f"# {self.title}", *(["\n".join(f"- {line}" for line in self.answer)] if self.answer else [])]
        for section in self.sections:
            parts += [f"## {section.heading}"] if section.heading else []
            parts.append(section.markdown())
        for heading, notes in self.notes:
            if notes:
                parts += [f"**{heading}.**", "\n".join(f"- {note}" for note in notes)]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """The whole page as HTML that needs no other file."""
        parts = [f"<h1>{_marked_up(self.title)}</h1>", _html_list(self.answer)]
        for section in self.sections:
            parts += [f"<h2>{_marked_up(section.heading)}</h2>"] if section.heading else []
            parts.append(section.html())
        for heading, notes in self.notes:
            parts += [f"<h2>{heading}</h2>", _html_list(notes)] if notes else []
        body = "\n".join(parts)
        return PAGE.format(title=html.escape(self.title), style=STYLE, body=body)

    def write(self, stem: Path) -> None:
        """Write `<stem>.csv`, `<stem>.md` and `<stem>.html`; the name may hold dots."""
        with atomic_write(stem.with_name(f"{stem.name}.csv")) as temporary:
            self.frame.convert_dtypes().to_csv(temporary, index=False, lineterminator="\n")
        write_text(stem.with_name(f"{stem.name}.md"), self.markdown())
        write_text(stem.with_name(f"{stem.name}.html"), self.html())


def frame(rows: Sequence[R], columns: Sequence[Column[R]]) -> pd.DataFrame:
    """The columns that have a key, a row a row."""
    return pd.DataFrame({column.key: [column.value(row) for row in rows] for column in columns if column.key})


def section(heading: str, rows: Sequence[R], columns: Sequence[Column[R]]) -> Section:
    """The columns that have a head."""
    shown = [column for column in columns if column.head]
    return Section(
        heading,
        [column.head for column in shown],
        [[column.text(column.value(row)) for column in shown] for row in rows],
        [column.head for column in shown if column.left],
    )


def grids(heading: str, rows: Sequence[R], first: Column[R], others: Sequence[Column[R]]) -> list[Section]:
    """As many sections as it takes to keep each narrow; rows that a section knows nothing of are left out of it."""
    parts = math.ceil(len(others) / WIDEST)
    size = math.ceil(len(others) / max(parts, 1))
    found = []
    for place in range(parts):
        shown = others[place * size : (place + 1) * size]
        known = [row for row in rows if any(column.text(column.value(row)) != ABSENT for column in shown)]
        found.append(section(f"{heading} ({place + 1} of {parts})" if parts > 1 else heading, known, [first, *shown]))
    return found


def summary_columns(of: Callable[[R], Summary | None], prefix: str = "") -> list[Column[R]]:
    """A summary over seeds in the CSV; without a finished run only the number of seeds, 0."""

    def value(name: str) -> Callable[[R], Any]:
        return lambda row: getattr(summary, name) if (summary := of(row)) else 0 if name == "n" else None

    return [Column(f"{prefix}{name}", value(name)) for name in SUMMARY]


def difference_columns(prefix: str, of: Callable[[R], Difference | None]) -> list[Column[R]]:
    """A difference in the CSV, its ends, seeds and verdict."""
    names = {"": "mean", "_low": "low", "_high": "high", "_seeds": "seeds", "_verdict": "verdict"}

    def read(field: str) -> Callable[[R], Any]:
        return lambda row: getattr(found, field) if (found := of(row)) else None

    return [Column(f"{prefix}{end}", read(field)) for end, field in names.items()]


def _html_list(lines: Sequence[str]) -> str:
    items = "\n".join(f"<li>{_marked_up(line)}</li>" for line in lines)
    return f"<ul>\n{items}\n</ul>" if lines else ""


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _marked_up(text: str) -> str:
    """Markdown's code and bold, the only marks that our sentences have, as HTML."""
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>
<body>
{body}
</body>
</html>
"""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem; color: #1f2328;
  background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 1.6rem; }
p, li { max-width: 60rem; }
.grid { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d0d7de; text-align: left; min-width: 5rem; }
th { border-bottom: 2px solid #8c959f; vertical-align: bottom; }
.right { text-align: right; } td.right { white-space: nowrap; }
td:last-child:not(.right) { min-width: 16rem; }
code { background: #eff1f3; border-radius: 3px; padding: 0 .25em; }
"""
