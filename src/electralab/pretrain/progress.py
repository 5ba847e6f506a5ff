"""Progress: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Steps done, tokens per second and time left; pauses (evaluation, saving) are not counted."""

    def __init__(self, label: str, done: int, total: int, tokens_per_step: int) -> None:
        self._label, self._total, self._tokens_per_step = label, total, tokens_per_step
        self._first, self._trained = done, 0.0
        self._last = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=label, initial=done, total=total, unit="step", dynamic_ncols=True)

    def update(self, step: int, loss: float) -> float:
        """Report that `step` steps are done; returns the seconds of training since the last report."""
        now = time.monotonic()
        seconds = now - self._last
        self._last = now
        self._trained += seconds
        rate = (step - self._first) * self._tokens_per_step / max(1e-9, self._trained)
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(f"{rate:,.0f} tokens/s, loss {loss:.3f}")
        elif now - self._last_line >= SECONDS_BETWEEN_LINES or step == self._total:
            self._last_line = now
            left = (self._total - step) * self._tokens_per_step / max(1e-9, rate)
            text = f"{self._label}: step {step}/{self._total}, loss {loss:.3f}, {rate:,.0f} tokens/s, {left:.0f} s left"
            print(text, file=sys.stderr, flush=True)
        return seconds

    def pause(self) -> None:
        """Leave the time since the last report out."""
        self._last = time.monotonic()

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
