"""What a long job says while it runs: a bar in a terminal, a line now and then in a log, one line of result.

What is written here is read here too: the console and `electralab status` learn from these lines how far a job is.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

SECONDS_BETWEEN_LINES = 15.0
RESULT = "result: "
WARNING = "warning: "
# The largest unit that fits is used from twice its length on: 95 s, 119 min, 47 h.
UNITS = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


class Progress:
    """Steps done and time left; pauses (evaluation, saving) are not counted."""

    def __init__(self, label: str, total: int, *, done: int = 0, unit: str = "step", tokens_per_step: int = 0) -> None:
        self._label, self._total, self._unit, self._tokens_per_step = label, total, unit, tokens_per_step
        self._first, self._worked = done, 0.0
        self._last = self._last_line = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=label, initial=done, total=total, unit=unit, dynamic_ncols=True)

    def update(self, done: int, shown: str = "") -> float:
        """Report that `done` steps are done and what to show; returns the seconds of work since the last report."""
        now = time.monotonic()
        seconds = now - self._last
        self._last = now
        self._worked += seconds
        per_second = (done - self._first) / max(1e-9, self._worked)
        tokens = f"{per_second * self._tokens_per_step:,.0f} tokens/s" if self._tokens_per_step else ""
        details = [text for text in (shown, tokens) if text]
        if self._bar is not None:
            with suppress(OSError):
                self._bar.update(done - self._bar.n)
                self._bar.set_postfix_str(", ".join(details), refresh=False)
        elif now - self._last_line >= SECONDS_BETWEEN_LINES or done == self._total:
            self._last_line = now
            left = f"{duration((self._total - done) / max(1e-9, per_second))} left"
            text = ", ".join([f"{self._unit} {done}/{self._total}", *details, left])
            with suppress(OSError):  # a terminal that is gone shows nothing
                print(f"{self._label}: {text}", file=sys.stderr, flush=True)
        return seconds

    def pause(self) -> None:
        """Leave the time since the last report out."""
        self._last = time.monotonic()

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def print_result(text: str) -> None:
    """The last word of a job, on stderr: into its log, from where the console shows it."""
    print(f"{RESULT}{text}", file=sys.stderr, flush=True)


def print_warning(text: str) -> None:
    """What a user should look at while a job runs, on stderr."""
    with suppress(OSError):
        print(f"{WARNING}{text}", file=sys.stderr, flush=True)


def warning_in(lines: Iterable[str]) -> str | None:
    """The last warning among the lines of a log."""
    found = [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]
    return found[-1] if found else None


def result_in(lines: Iterable[str]) -> str | None:
    """The last result among the lines of a log."""
    found = [line.removeprefix(RESULT) for line in lines if line.startswith(RESULT)]
    return found[-1] if found else None


def duration(seconds: float) -> str:
    """`95 s`, `25 min`, `13 h`, `4 days`: two digits are enough to plan with."""
    name, unit = next((item for item in UNITS if seconds >= 2 * item[1]), UNITS[-1])
    return f"{seconds / unit:.0f} {name}"


def seconds_left(line: str) -> float | None:
    """The time left that a line of progress ends with."""
    found = re.search(r", (\d+) (days|h|min|s) left$", line)
    return float(found[1]) * dict(UNITS)[found[2]] if found else None
