"""Own data and Snakemake: what an edit runs again, and what a touch does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., "CompletedProcess[str]"]
OVERLAY = """
name: mine
tasks:
  mine: {{ source: local, path: {folder}, labels: ["0", "1"] }}
"""


def test_an_edit_of_own_data_is_noticed_and_a_touch_is_not(tmp_path: Path, snakemake: Run) -> None:
    folder, overlay, target = tmp_path / "[my] data", tmp_path / "mine.yaml", "artifacts/tasks/mine/manifest.json"
    folder.mkdir()
    overlay.write_text(OVERLAY.format(folder=f"'{folder}'"))
    for split in ("train", "validation"):
        (folder / f"{split}.tsv").write_text(f"sentence\tlabel\n{split}\t0\n")
    arguments = (target, "--cores", "1", "--configfile", overlay)
    assert snakemake(tmp_path, *arguments).returncode == 0
    os.utime(folder / "train.tsv")
    assert "build_task" not in snakemake(tmp_path, *arguments, "-n").stdout
    (folder / "train.tsv").write_text("sentence\tlabel\ntrain\t0\nmore\t1\n")
    assert "build_task" in snakemake(tmp_path, *arguments, "-n").stdout
