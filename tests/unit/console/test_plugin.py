"""The logger plugin outside Snakemake: it never raises, whatever it is told."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from electralab.console.plugin import LogHandler
from electralab.console.screen import Screen
from electralab.console.work import Work


def handler(**settings: Any) -> LogHandler:
    common = {
        "printshellcmds": False, "nocolor": False, "quiet": None, "debug_dag": False, "verbose": False,
        "show_failed_logs": False, "stdout": False, "dryrun": False,
    }  # fmt: skip
    return LogHandler(SimpleNamespace(**{**common, **settings}), None)


def event(name: str | None, message: str = "", level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("snakemake.logging", level, "", 0, message, None, None)
    record.__dict__.update(extra | ({} if name is None else {"event": name}))
    return record


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["run_info", "job_info", "job_finished", "job_error", "error", "shellcmd", "resources_info", "electralab_planned",
     "group_error", "of a later version", None],
)  # fmt: skip
def test_an_event_without_its_fields_is_told_plainly(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    tested = handler()
    tested.emit(event("workflow_started"))
    tested.emit(event(name, "what happened", logging.ERROR))
    tested.close()
    if name not in ("resources_info", "shellcmd", "job_finished"):
        assert "what happened" in capsys.readouterr().err


def test_nothing_is_raised_when_the_terminal_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = io.StringIO()
    monkeypatch.setattr(sys, "stderr", gone)
    tested = handler()
    gone.close()
    for name in ("workflow_started", "run_info", "error", None):
        tested.emit(event(name, "lost", logging.ERROR))
    tested.close()


def test_a_folder_that_cannot_be_written_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".snakemake").write_text("in the way")
    tested = handler()
    tested.emit(event("workflow_started"))
    fields = {"rule_msg": "Do it", "rule_name": "do", "output": ["x"], "log": [], "shellcmd": "true", "wildcards": {}}
    tested.emit(event("job_info", jobid=1, **fields))
    tested.emit(event("job_finished", job_id=1))
    tested.close()
    assert capsys.readouterr().err.splitlines() == ["start  Do it", "done   Do it"]


def test_lines_stand_above_the_bar() -> None:
    class Terminal(io.StringIO):
        encoding = "ascii"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    screen = Screen(terminal)
    screen.progress(0.5, "of the work")
    screen.line("done   one")
    screen.line("FAILED two", alarming=True)
    screen.progress(1.2, "x" * 500)
    screen.end_progress()
    shown = "##########..........  50 % of the work"
    text = terminal.getvalue()
    assert text.startswith(f"\r\033[K{shown}\r\033[Kdone   one\n{shown}\r\033[K\033[31mFAILED two\033[0m\n{shown}")
    assert "#" * 20 + " 100 % x" in text
    assert max(map(len, text.split("\033[K"))) < 120  # never wraps
    assert text.endswith("\r\033[K")


def test_elsewhere_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("electralab.console.screen.time", SimpleNamespace(monotonic=lambda: now))
    written = io.StringIO()
    screen = Screen(written)
    times = []
    for second in range(0, 36_000, 5):
        now, before = float(second), written.tell()
        screen.progress(second / 36_000, "of the work")
        if written.tell() > before:
            times.append(second)
    screen.end_progress()
    assert times[:3] == [30, 60, 90]
    assert times[-1] - times[-2] > 300  # a run of ten hours does not fill its log
    assert "\r" not in written.getvalue()


def test_work_knows_of_a_plugin_without_hooks() -> None:
    assert Work.of_counts({}).share == 1.0
