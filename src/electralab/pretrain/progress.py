"""Progress: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time


class Progress:
    """Steps done, tokens per second and time left."""

    SECONDS_BETWEEN_LINES = 15.0

    def __init__(self, label: str, done: int, total: int, tokens_per_step: int) -> None:
        self._label, self._total, self._tokens_per_step = label, total, tokens_per_step
        self._first, self._start, self._last_line = done, time.monotonic(), 0.0
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=label, initial=done, total=total, unit="step", dynamic_ncols=True)

    @property
    def seconds(self) -> float:
        """Wall seconds since this attempt began."""
        return time.monotonic() - self._start

    def update(self, step: int, loss: float | None = None) -> None:
        """Report that `step` steps are done."""
        elapsed = max(1e-9, self.seconds)
        rate = (step - self._first) * self._tokens_per_step / elapsed
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(f"{rate:,.0f} tokens/s" + (f", loss {loss:.3f}" if loss is not None else ""))
            return
        now = time.monotonic()
        if now - self._last_line >= self.SECONDS_BETWEEN_LINES or step == self._total:
            self._last_line = now
            left = (self._total - step) * self._tokens_per_step / max(rate, 1e-9)
            shown = f", loss {loss:.3f}" if loss is not None else ""
            text = f"{self._label}: step {step}/{self._total}, {rate:,.0f} tokens/s, {left:.0f} s left{shown}"
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
