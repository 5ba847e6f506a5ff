"""Where GLUE's files are on this machine, for the tests that read them; they are not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

REASON = "GLUE's files are not here: put them in ../shared/glue, or set ELECTRALAB_GLUE to their folder"


def glue_folder() -> Path | None:
    """The folder that holds `CoLA`, `SST-2` and so on; None if there is none."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "glue"
    folder = Path(os.environ.get("ELECTRALAB_GLUE", beside))
    return folder if folder.is_dir() else None
