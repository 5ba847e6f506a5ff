"""Lines of progress: what is written can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electralab import progress as module
from electralab.progress import (
    Progress,
    duration,
    print_result,
    print_warning,
    result_in,
    seconds_left,
    warning_in,
)


@given(st.floats(0, 1e8))
def test_a_duration_keeps_two_digits(seconds: float) -> None:
    text = duration(seconds)
    read = seconds_left(f"m seed 0: step 1/2, {text} left")
    assert read is not None
    assert abs(read - seconds) <= max(0.5, 0.26 * seconds)
    assert len(text.split()[0]) <= 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (95, "95 s"), (150, "2 min"), (1500, "25 min"), (3 * 3600, "3 h"), (9 * 86400, "9 days")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_come_now_and_then_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    seconds = 0.0
    with Progress("m seed 0", 100, done=20, tokens_per_step=1000) as progress:
        for step in range(21, 101):
            now += 1.0
            seconds += progress.update(step, "MLM 4.70, RTD 0.37")
            now += 2.0
            progress.pause()
    lines = capsys.readouterr().err.splitlines()
    assert seconds == 80.0  # pauses are not counted
    assert lines[0] == "m seed 0: step 26/100, MLM 4.70, RTD 0.37, 1,000 tokens/s, 74 s left"
    assert lines[-1] == "m seed 0: step 100/100, MLM 4.70, RTD 0.37, 1,000 tokens/s, 0 s left"
    assert [seconds_left(line) for line in (lines[0], lines[-1])] == [74.0, 0.0]
    assert 10 < len(lines) < 20


def test_the_last_result_of_a_log_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    print_result("first")
    print_result("second")
    lines = [*capsys.readouterr().err.splitlines(), "a warning at exit"]
    assert result_in(lines) == "second"
    assert result_in(["no result: here"]) is None
    assert seconds_left("nothing left") is None


def test_the_last_warning_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("m: one", "m: two"):
        print_warning(text)
    print_result("m: done")
    lines = capsys.readouterr().err.splitlines()
    assert warning_in(lines) == "m: two"
    assert warning_in(lines[-1:]) is None


def test_a_terminal_that_is_gone_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def isatty(self) -> bool:
            return False

        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

        flush = isatty

    monkeypatch.setattr(module.sys, "stderr", Gone())
    progress = Progress("m seed 0", 1)
    progress.update(1)
    print_warning("m: one")
