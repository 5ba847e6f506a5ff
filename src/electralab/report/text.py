"""Numbers and lists in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from electralab.report.statistics.intervals import Summary

ABSENT = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A rounded number, or a dash."""
    return ABSENT if value is None or pd.isna(value) else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """1234567 -> `1,234,567`."""
    return ABSENT if value is None or pd.isna(value) else f"{value:,.0f}"


def divided(unit: float, digits: int) -> Callable[[float | None], str]:
    """Writes numbers in thousands, millions or another unit."""
    return lambda value: ABSENT if value is None or pd.isna(value) else f"{value / unit:,.{digits}f}"


def megabytes(size: float | None) -> str:
    """Bytes in MB, to the kB below one."""
    return divided(1e6, 1 if size is None or size >= 1e6 else 3)(size)


def percentage(share: float | None) -> str:
    """0.0123 -> `1.23`."""
    return ABSENT if share is None or pd.isna(share) else f"{100 * share:.3g}"


def duration(seconds: float | None) -> str:
    """95 -> `95 s`, 400 -> `6.7 min`, 400000 -> `4.6 d`."""
    if seconds is None or pd.isna(seconds):
        return ABSENT
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if size == 1 else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def with_interval(summary: Summary | None, digits: int = 3) -> str:
    """`0.736 [0.693, 0.779]`; one seed has none and says so."""
    if summary is None:
        return ABSENT
    mean = f"{summary.mean:.{digits}f}"
    if summary.low is None or summary.high is None:
        return f"{mean} (n=1)"
    return f"{mean} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def named(items: Sequence[str]) -> str:
    """A list of names from the config, each as code."""
    return listing([f"`{item}`" for item in items])


def plain(value: object) -> str:
    """A value as it is; nothing for a missing one."""
    return "" if value is None or (isinstance(value, float) and pd.isna(value)) else str(value)
