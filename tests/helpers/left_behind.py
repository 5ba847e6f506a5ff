"""What a failed run left in a folder."""

from __future__ import annotations

from pathlib import Path


def left_behind(folder: Path) -> list[Path]:
    """Files under a folder, without the locks."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock" and path.name != ".lock"]
