"""Lines above a bar in a terminal; lines alone, with the progress among them now and then, anywhere else."""

from __future__ import annotations

import os
import time
from typing import TextIO

BAR_WIDTH = 20
CLEAR, RED, PLAIN = "\r\033[K", "\033[31m", "\033[0m"
SECONDS_BETWEEN_LINES = 30.0


class Screen:
    """Where the console writes."""

    def __init__(self, stream: TextIO, color: bool = True) -> None:
        self._stream = stream
        self.interactive = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._color = color and self.interactive
        self._bar = ""
        self._begun = self._last_progress = time.monotonic()
        full, empty = "█", "░"
        try:
            (full + empty).encode(stream.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            full, empty = "#", "."
        self._full, self._empty = full, empty

    def line(self, text: str, alarming: bool = False) -> None:
        """Write a line, or several; in a terminal above the bar."""
        shown = f"{RED}{text}{PLAIN}" if alarming and self._color else text
        self._write(f"{CLEAR if self._bar else ''}{shown}\n{self._bar}")

    def progress(self, share: float, text: str) -> None:
        """Draw the bar anew, or write a line if the last is old: half a minute, on long runs a hundredth of the run."""
        percent = f"{100 * min(share, 1.0):3.0f} %"
        if self.interactive:
            full = round(BAR_WIDTH * min(share, 1.0))
            bar = f"{self._full * full}{self._empty * (BAR_WIDTH - full)} {percent} {text}"
            self._bar = bar[: self._width() - 1]
            self._write(f"{CLEAR}{self._bar}")
            return
        now = time.monotonic()
        if now - self._last_progress >= max(SECONDS_BETWEEN_LINES, (now - self._begun) / 100):
            self._last_progress = now
            self._write(f"{percent} {text}\n")

    def end_progress(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar = ""
            self._write(CLEAR)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
