"""Labelled tasks on disk: a JSON-lines file for every split, and a manifest that is written last."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from electralab.config import GlueTask, HubTask, LocalTask, PackageTask, Task, WordOrderTask
from electralab.config.local import split_tables
from electralab.data import bundled
from electralab.data.corpora import corpus_checksum, iter_documents
from electralab.data.example import LABELLED, Example, Labels, all_columns, read_examples, text_columns
from electralab.data.glue import GLUE
from electralab.data.glue_files import read_glue
from electralab.data.hub import HubSplit
from electralab.data.overlap import overlap_notes, refusal, shared_rows
from electralab.data.word_order import WORDS, build_word_order
from electralab.deploy.tabular import column_names, read_rows
from electralab.errors import UserError
from electralab.files import TABLE_SUFFIXES, atomic_write, files_checksum, read_json, sha256, table_parts, write_json

# Every task has `train` and `validation`; rows of `test`, `test_mismatched` and `ax` may have no label.
SPLITS = ("train", "validation", "validation_mismatched", "test", "test_mismatched", "ax")


@dataclass(frozen=True)
class TaskData:
    """A task as the trainers read it.

    The first of `metrics` is the task's score. A regression has a `score_range` and no `labels`; `unordered` says that
    the order of the two texts means nothing; `glue` is the name of the GLUE task, if it is one.
    """

    name: str
    labels: list[str]
    metrics: list[str]
    score_range: tuple[float, float] | None
    unordered: bool
    glue: str | None
    synthetic: bool
    splits: dict[str, list[Example]]
    notes: list[str]
    checksum: str

    @property
    def train(self) -> list[Example]:
        """Rows to train on."""
        return self.splits["train"]

    @property
    def validation(self) -> list[Example]:
        """Rows to score."""
        return self.splits["validation"]

    @property
    def regression(self) -> bool:
        """Whether the labels are scores."""
        return self.score_range is not None


@dataclass
class _Content:
    """What a source says of a task."""

    labels: list[str]
    splits: dict[str, list[Example]]
    sources: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    metrics: tuple[str, ...] = ("accuracy", "f1")
    score_range: tuple[float, float] | None = None
    unordered: bool = False
    official_rows: dict[str, int] = field(default_factory=dict)


def build_task(name: str, task: Task, manifest: Path, downloads: Path, corpus_manifest: Path | None = None) -> None:
    """Read a task from its source, check all of it, and then write it.

    Raises:
        UserError: the source cannot be read, a column is missing, a label is not among the task's labels, a split is
            empty, or more of its rows are also training rows than the task accepts; the message names file, row and
            column.
    """
    if isinstance(task, PackageTask):
        content = _package_task(task, downloads)
    elif isinstance(task, WordOrderTask):
        assert corpus_manifest is not None, "the plan gives the corpus of a probe"
        content = _word_order(task, corpus_manifest)
    elif isinstance(task, LocalTask):
        content = _local_task(task)
    elif isinstance(task, GlueTask):
        content = _glue_task(task)
    else:
        content = _hub_task(task)
    for split, examples in content.splits.items():
        if not examples:
            raise UserError(f"task {name}: the {split} split is empty; check its source")
    shared = shared_rows(content.splits, content.unordered)
    reason = refusal(shared, content.splits)
    if reason is not None and not getattr(task, "accept_overlap", False):
        raise UserError(f"task {name}: {reason}")
    write_json(
        manifest,
        {
            "name": name,
            "labels": content.labels,
            "metrics": content.metrics,
            "score_range": content.score_range,
            "unordered": content.unordered,
            "glue": task.task if isinstance(task, GlueTask) else None,
            "synthetic": isinstance(task, WordOrderTask),
            "sources": content.sources,
            "splits": {split: _write_split(manifest.parent, split, content) for split in content.splits},
            "notes": [*content.notes, *_missing_classes(content), *overlap_notes(shared, content.splits)],
            "overlap": shared,
        },
    )


def read_task(manifest: Path) -> TaskData:
    """Read a task that `build_task` wrote.

    Raises:
        UserError: a file is missing or is not the one that was written.
    """
    content = read_json(manifest)
    splits = {}
    for split in (name for name in SPLITS if name in content["splits"]):
        path = manifest.parent / f"{split}.jsonl"
        if not path.exists() or sha256(path) != content["splits"][split]["sha256"]:
            raise UserError(f"{path} is missing or damaged: delete {manifest} and run the same command again")
        with path.open(encoding="utf-8") as file:
            splits[split] = [Example(**json.loads(line)) for line in file]
    return TaskData(
        name=content["name"],
        labels=content["labels"],
        metrics=content["metrics"],
        score_range=None if content["score_range"] is None else tuple(content["score_range"]),
        unordered=content["unordered"],
        glue=content["glue"],
        synthetic=content["synthetic"],
        splits=splits,
        notes=content["notes"],
        checksum="-".join(content["splits"][split]["sha256"][:16] for split in splits),
    )


def _missing_classes(content: _Content) -> list[str]:
    """A sentence for every class without a row, which nobody can learn or nobody is asked."""
    return [
        f"{split}: no row has the label {label!r}"
        for split in LABELLED
        for number, label in enumerate(content.labels)
        if split in content.splits and all(example.label != number for example in content.splits[split])
    ]


def _write_split(folder: Path, split: str, content: _Content) -> dict[str, Any]:
    examples = content.splits[split]
    path = folder / f"{split}.jsonl"
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(example._asdict(), ensure_ascii=False) + "\n")
    counts = Counter(content.labels[int(e.label)] for e in examples if content.labels and e.label is not None)
    return {
        "rows": len(examples),
        "official_rows": content.official_rows.get(split),
        "sha256": sha256(path),
        "label_counts": dict(sorted(counts.items())),
    }


# --- sources ------------------------------------------------------------------------------------------------


def _package_task(task: PackageTask, downloads: Path) -> _Content:
    train, validation, described = bundled.read_task(task.dataset, downloads)
    return _Content(
        list(described.labels),
        {"train": train, "validation": validation},
        [{**described.package.provenance, "name": task.dataset}],
        list(described.notes),
    )


def _glue_task(task: GlueTask) -> _Content:
    glue, rows = GLUE[task.task], read_glue(task)
    return _Content(
        list(glue.labels),
        rows.splits,
        [rows.source],
        rows.notes,
        glue.metrics,
        glue.score_range,
        glue.unordered,
        glue.rows,
    )


def _word_order(task: WordOrderTask, corpus: Path) -> _Content:
    train, validation = build_word_order(
        iter_documents(corpus, "held_out"), iter_documents(corpus, "train"), task.train_rows, task.validation_rows
    )
    if not train or not validation:
        raise UserError(
            f"word_order: the held-out documents of corpus {task.corpus} have too few sentences of {min(WORDS)} to "
            f"{max(WORDS)} words, which end in . ! or ? and are in no training document: it needs more text, of a "
            "language that writes blanks between words"
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
    return _Content(
        ["as written", "two adjacent words swapped"],
        {"train": train, "validation": validation},
        [{"source": "corpus", "name": task.corpus, "sha256": corpus_checksum(corpus)}],
        notes,
    )


def _local_task(task: LocalTask) -> _Content:
    names = {"train": "train", "validation": task.validation_split}
    if task.validation_split == "validation":
        names["test"] = "test"
    files = {split: path for split, name in names.items() if (path := _local_file(task, name, split != "test"))}
    return _Content(
        list(task.labels),
        {split: _local_split(task, split, path) for split, path in files.items()},
        [
            {
                "source": "local",
                "name": task.path,
                "sha256": files_checksum([part for path in files.values() for part in table_parts(path)]),
                "licence": task.licence,
            }
        ],
    )


def _local_file(task: LocalTask, name: str, required: bool) -> Path | None:
    found = split_tables(Path(task.path), name)
    if not found and required:
        expected = ", ".join(f"{name}{suffix}" for suffix in TABLE_SUFFIXES)
        raise UserError(f"{task.path}: no {name} split there; expected one of {expected}")
    if len(found) > 1:
        raise UserError(f"{task.path}: {found[0].name} and {found[1].name}: keep one {name} split")
    return found[0] if found else None


def _local_split(task: LocalTask, split: str, path: Path) -> list[Example]:
    wanted = all_columns(task.columns)
    if split == "test" and task.columns.label not in column_names(path):
        wanted = text_columns(task.columns)
    return read_examples(path, read_rows(path, wanted), task.columns, _classes(task.labels), split != "test")


def _hub_task(task: HubTask) -> _Content:
    splits, files = {}, []
    for name, split in (("train", task.train_split), ("validation", task.validation_split)):
        found = HubSplit(task.repository, task.configuration, split, task.revision).files()
        fetched = [file.fetch() for file in found]
        rows = chain.from_iterable(file.rows(all_columns(task.columns)) for file in fetched)
        source = f"{task.repository} {split}"
        splits[name] = read_examples(source, enumerate(rows, start=1), task.columns, _classes(task.labels))
        files += [file.path for file in fetched]
    return _Content(
        list(task.labels),
        splits,
        [
            {
                "source": "hub",
                "name": task.repository,
                "version_or_revision": task.revision,
                "sha256": files_checksum(files),
                "licence": task.licence,
            }
        ],
    )


def _classes(labels: list[str]) -> Labels:
    return Labels({label: number for number, label in enumerate(labels)})
