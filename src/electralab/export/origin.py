"""What is known of a model beside its files: its run's record, its task and where its weights began."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from electralab.artifacts import Manifest
from electralab.data.example import Example
from electralab.data.tasks import read_task
from electralab.files import read_json
from electralab.finetune.examples import sample_examples
from electralab.names import MANIFEST, chain_links, chain_name, downloaded_folder, record_in, task_manifest
from electralab.records import RunRecord, read_record

ROWS = 256


class Origin(NamedTuple):
    """Each is None, or empty, where the file is not there: an artifact may have been copied."""

    record: RunRecord | None
    settings: dict[str, dict[str, Any]]  # of every link of the chain that is known, by its name
    task: dict[str, Any] | None  # the manifest of the task
    model: dict[str, Any] | None  # the manifest of the pretrained model
    rows: list[Example]  # of the validation split


def find_origin(source: Path, manifest: Manifest) -> Origin:
    """Look beside an artifact, and in the `artifacts/` that it lies in.

    Raises:
        UserError: a file is damaged.
    """
    source = source.resolve()
    record_path = Path(record_in(str(source.parent.parent)))
    record = read_record(record_path) if record_path.is_file() else None
    task_path = _found(source, task_manifest(manifest.task))
    model_path = _found(source, f"{downloaded_folder(manifest.model)}/{MANIFEST}")
    task, rows = None, []
    if task_path is not None:
        data = read_task(task_path)
        if record is None or record.provenance.data.get("task") == data.checksum:
            task, rows = read_json(task_path), sample_examples(data.validation, ROWS, 0)
    model = None if model_path is None else read_json(model_path)
    return Origin(record, _settings(source, manifest), task, model, rows)


def _settings(source: Path, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """What every link was told, from the manifests of the runs before it, which lie beside its own."""
    links, found = chain_links(manifest.method), {}
    for length, link in enumerate(links, start=1):
        before = source.parents[3] / chain_name(links[:length]) / f"seed-{manifest.seed}" / "model" / MANIFEST
        if length == len(links):
            found[link] = manifest.settings
        elif before.is_file():
            found[link] = read_json(before)["settings"]
    return found


def _found(source: Path, name: str) -> Path | None:
    """A file of the working directory that an artifact lies in."""
    return next((folder / name for folder in source.parents if (folder / name).is_file()), None)
