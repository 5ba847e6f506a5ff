"""Labelled tasks on disk: two JSON-lines files and a manifest that is written last."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electralab.config import HubTask, LocalTask, PackageTask, TableColumns, Task, WordOrderTask
from electralab.data import bundled
from electralab.data.corpora import corpus_checksum, iter_documents
from electralab.data.example import Example
from electralab.data.hub import stream_rows
from electralab.data.sources import files_checksum
from electralab.data.tabular import TABLE_SUFFIXES, as_text, read_rows
from electralab.data.word_order import build_word_order
from electralab.errors import UserError
from electralab.files import atomic_write, read_json, sha256, write_json

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class TaskData:
    """A task as the trainers read it."""

    name: str
    labels: list[str]
    synthetic: bool
    train: list[Example]
    validation: list[Example]
    checksum: str


def build_task(name: str, task: Task, manifest: Path, downloads: Path, corpus_manifest: Path | None = None) -> None:
    """Read a task from its source, check it, and write it.

    Raises:
        UserError: the source cannot be read, a column is missing, a label is not among the task's labels, or a
            split is empty; the message names file, row and column.
    """
    if isinstance(task, PackageTask):
        train, validation, described = bundled.read_task(task.dataset, downloads)
        labels, notes = list(described.labels), list(described.notes)
        sources: list[dict[str, Any]] = [{**described.package.provenance, "name": task.dataset}]
    elif isinstance(task, WordOrderTask):
        assert corpus_manifest is not None, "the plan gives the corpus of a probe"
        train, validation, notes = _word_order(task, corpus_manifest)
        labels = ["as written", "two adjacent words swapped"]
        sources = [{"source": "corpus", "name": task.corpus, "sha256": corpus_checksum(corpus_manifest)}]
    elif isinstance(task, LocalTask):
        files = {split: _local_file(task, split) for split in SPLITS}
        train, validation = (
            _examples(str(path), read_rows(path, _names(task.columns)), task.columns, task.labels)
            for path in files.values()
        )
        labels, notes = list(task.labels), []
        checksum = files_checksum(list(files.values()))
        sources = [{"source": "local", "name": task.path, "sha256": checksum, "licence": task.licence}]
    else:
        train, validation = _hub_splits(task)
        labels, notes = list(task.labels), []
        sources = [
            {
                "source": "hub",
                "name": task.repository,
                "version_or_revision": task.revision,
                "licence": task.licence,
            }
        ]
    _write(name, manifest, labels, {"train": train, "validation": validation}, sources, notes, task)


def read_task(manifest: Path) -> TaskData:
    """Read a task that `build_task` wrote.

    Raises:
        UserError: a file is missing or is not the one that was written.
    """
    content = read_json(manifest)
    splits = {}
    for split in SPLITS:
        path = manifest.parent / f"{split}.jsonl"
        if not path.exists() or sha256(path) != content["splits"][split]["sha256"]:
            raise UserError(f"{path} is missing or damaged: delete {manifest} and run the same command again")
        with path.open(encoding="utf-8") as file:
            splits[split] = [Example(**json.loads(line)) for line in file]
    checksum = "-".join(content["splits"][split]["sha256"][:16] for split in SPLITS)
    return TaskData(content["name"], content["labels"], content["synthetic"], **splits, checksum=checksum)


def _write(
    name: str,
    manifest: Path,
    labels: list[str],
    splits: dict[str, list[Example]],
    sources: list[dict[str, Any]],
    notes: list[str],
    task: Task,
) -> None:
    described = {}
    for split, examples in splits.items():
        if not examples:
            raise UserError(f"task {name}: the {split} split is empty; check its source")
        path = manifest.parent / f"{split}.jsonl"
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for example in examples:
                file.write(json.dumps(example._asdict(), ensure_ascii=False) + "\n")
        counts = Counter(labels[example.label] for example in examples)
        described[split] = {"rows": len(examples), "sha256": sha256(path), "label_counts": dict(sorted(counts.items()))}
    write_json(
        manifest,
        {
            "name": name,
            "labels": labels,
            "metric": "accuracy",
            "synthetic": isinstance(task, WordOrderTask),
            "sources": sources,
            "splits": described,
            "notes": notes,
        },
    )


def _word_order(task: WordOrderTask, corpus: Path) -> tuple[list[Example], list[Example], list[str]]:
    train, validation = build_word_order(
        iter_documents(corpus, "held_out"), iter_documents(corpus, "train"), task.train_rows, task.validation_rows
    )
    notes = [
        "SYNTHETIC: sentences of held-out documents, without those that are also a sentence of a training document."
    ]
    for split, examples, wanted in (
        ("train", train, task.train_rows),
        ("validation", validation, task.validation_rows),
    ):
        if len(examples) < wanted:
            notes.append(f"{split}: {len(examples)} rows of {wanted}; the held-out text has no more sentences.")
    return train, validation, notes


def _local_file(task: LocalTask, split: str) -> Path:
    found = [path for suffix in TABLE_SUFFIXES if (path := Path(task.path) / f"{split}{suffix}").exists()]
    if not found:
        expected = ", ".join(f"{split}{suffix}" for suffix in TABLE_SUFFIXES)
        raise UserError(f"{task.path}: no {split} split there; expected one of {expected}")
    if len(found) > 1:
        raise UserError(f"{task.path}: {found[0].name} and {found[1].name}: keep one {split} split")
    return found[0]


def _hub_splits(task: HubTask) -> tuple[list[Example], list[Example]]:
    def examples(split: str) -> list[Example]:
        rows = stream_rows(task.repository, task.configuration, split, task.revision, _names(task.columns))
        return _examples(f"{task.repository} {split}", rows, task.columns, task.labels)

    return examples(task.train_split), examples(task.validation_split)


def _names(columns: TableColumns) -> list[str]:
    return [name for name in (columns.text, columns.pair, columns.label) if name is not None]


def _examples(
    where: str, rows: Iterable[tuple[int, dict[str, Any]]], columns: TableColumns, labels: list[str]
) -> list[Example]:
    ids = {label: number for number, label in enumerate(labels)}
    examples = []
    for number, row in rows:
        cells = {}
        for column in _names(columns):
            cell = as_text(row[column], f"{where}, row {number}, column {column!r}")
            if cell is None:
                raise UserError(f"{where}, row {number}, column {column!r}: empty")
            cells[column] = cell
        label = cells[columns.label]
        if label not in ids:
            raise UserError(
                f"{where}, row {number}, column {columns.label!r}: label {label!r} is not among {', '.join(labels)}"
            )
        pair = None if columns.pair is None else cells[columns.pair]
        examples.append(Example(str(number), cells[columns.text], pair, ids[label]))
    return examples
