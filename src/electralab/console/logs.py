"""The logs of jobs, as the console reads them: never a whole one, never an error."""

from __future__ import annotations

from pathlib import Path

END = 20_000  # bytes: the end of a log that is looked at


def last_lines(path: str | Path) -> list[str]:
    """The last lines of a log, blank ones left out; none if it cannot be read. Of a bar, only its last state."""
    try:
        with Path(path).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - END))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [line for line in lines if line]
