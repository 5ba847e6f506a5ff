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
from electralab.data.tabular import TABLE_SUFFIXES, read_rows
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
        documents = iter_documents(corpus_manifest, "held_out")
        train, validation = build_word_order(documents, task.train_rows, task.validation_rows)
        labels = ["as written", "two adjacent words swapped"]
        notes = ["SYNTHETIC: built from held-out text; no sentence was in any pretraining."]
        sources = [{"source": "corpus", "name": task.corpus, "sha256": corpus_checksum(corpus_manifest)}]
    elif isinstance(task, LocalTask):
        train, validation = (_local_split(task, split) for split in SPLITS)
        labels, notes = list(task.labels), []
        sources = [{"source": "local", "name": task.path, "licence": task.licence}]
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


def _local_split(task: LocalTask, split: str) -> list[Example]:
    found = [path for suffix in TABLE_SUFFIXES if (path := Path(task.path) / f"{split}{suffix}").exists()]
    if not found:
        expected = ", ".join(f"{split}{suffix}" for suffix in TABLE_SUFFIXES)
        raise UserError(f"{task.path}: no {split} split there; expected one of {expected}")
    return _examples(str(found[0]), read_rows(found[0]), task.columns, task.labels)


def _hub_splits(task: HubTask) -> tuple[list[Example], list[Example]]:
    columns = [c for c in (task.columns.text, task.columns.pair, task.columns.label) if c is not None]

    def examples(split: str) -> list[Example]:
        rows = stream_rows(task.repository, task.configuration, split, task.revision, columns)
        return _examples(f"{task.repository} {split}", enumerate(rows, start=1), task.columns, task.labels)

    return examples(task.train_split), examples(task.validation_split)


def _examples(
    where: str, rows: Iterable[tuple[int, dict[str, Any]]], columns: TableColumns, labels: list[str]
) -> list[Example]:
    ids = {label: number for number, label in enumerate(labels)}
    examples = []
    for number, row in rows:
        for column in (columns.text, columns.pair, columns.label):
            if column is not None and row.get(column) is None:
                raise UserError(f"{where}, row {number}: no column {column!r}; it has {', '.join(map(str, row))}")
        label = str(row[columns.label])
        if label not in ids:
            raise UserError(
                f"{where}, row {number}, column {columns.label!r}: label {label!r} is not among {', '.join(labels)}"
            )
        pair = None if columns.pair is None else str(row[columns.pair])
        examples.append(Example(str(number), str(row[columns.text]), pair, ids[label]))
    return examples
