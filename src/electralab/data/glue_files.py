"""GLUE tasks from a folder, in the official layout of `glue_data` or as plain tables, and from the hub.

Which layout a file has is read off its columns, so that a folder may mix them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from electralab.config import GlueHub, GlueTask, TableColumns
from electralab.config.local import glue_folders
from electralab.data.example import LABELLED, Example, all_columns, read_examples, text_columns
from electralab.data.glue import GLUE, LICENCE, Glue
from electralab.data.hub import fetch_file
from electralab.deploy.tabular import check_columns, column_names, read_delimited, read_rows
from electralab.errors import UserError
from electralab.files import TABLE_SUFFIXES, files_checksum, table_parts

# The official train.tsv and dev.tsv of CoLA have no header row; their test.tsv has one.
COLA_COLUMNS = ["source", "label", "mark", "sentence"]
# What Microsoft distributes; GLUE's validation rows are those of MRPC/dev_ids.tsv (two id columns, no header).
MRPC_TRAIN, MRPC_VALIDATION_IDS = "msr_paraphrase_train.txt", "dev_ids.tsv"


@dataclass
class GlueRows:
    """The splits of a task, and where they came from."""

    splits: dict[str, list[Example]] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_glue(task: GlueTask) -> GlueRows:
    """Every split that is there; `train` and `validation` always are.

    Raises:
        UserError: a file is missing or its rows are not what they should be; names file, row and column.
    """
    assert task.location is not None, "the plan fills in the experiment's"
    if isinstance(task.location, GlueHub):
        rows = _from_hub(task.task, task.location)
    else:
        rows = _from_folder(task, Path(task.location.path))
    rows.notes += _row_notes(GLUE[task.task], rows.splits)
    return rows


def _row_notes(glue: Glue, splits: dict[str, list[Example]]) -> list[str]:
    notes = []
    for split, examples in splits.items():
        rows, official = len(examples), glue.rows[split]
        if rows < official:
            notes.append(f"{split}: sample of {rows:,} of the official {official:,} rows")
        elif rows > official:
            notes.append(f"{split}: {rows:,} rows where the official split has {official:,}")
    return notes


# --- hub ----------------------------------------------------------------------------------------------------


def _from_hub(name: str, hub: GlueHub) -> GlueRows:
    glue, files, rows = GLUE[name], [], GlueRows()
    for split, hub_split in glue.hub.items():
        configuration = "ax" if split == "ax" else name
        path = fetch_file(
            "dataset", hub.repository, f"{configuration}/{hub_split}-00000-of-00001.parquet", hub.revision
        )
        rows.splits[split] = _examples(path, glue, split, rows.notes)
        files.append(path)
    rows.source = {
        "source": "hub",
        "name": hub.repository,
        "version_or_revision": hub.revision,
        "sha256": files_checksum(files),
        "licence": LICENCE,
    }
    return rows


# --- folder -------------------------------------------------------------------------------------------------


def _from_folder(task: GlueTask, root: Path) -> GlueRows:
    glue, rows = GLUE[task.task], GlueRows()
    whole, sample = glue_folders(task, root)
    folder = next(filter(Path.is_dir, (whole, sample)), None)
    if folder is None:
        raise UserError(
            f"{root}: neither {whole.name} nor {sample.name} there; it must hold {whole.name}/train and "
            f"{whole.name}/{_listing(glue.stems['validation'])} as {_listing(TABLE_SUFFIXES)}, or GLUE's own files"
        )
    files = {split: path for split in glue.stems if (path := _find(glue, split, folder))}
    if task.task == "mrpc" and "train" not in files and (folder / MRPC_TRAIN).exists():
        rows.splits, used = _microsoft_mrpc(folder)
        files |= used
    for split in ("train", "validation"):
        if split not in files:
            raise UserError(
                f"{folder}: no {split} split there; expected {_listing(glue.stems[split])} as "
                f"{_listing(TABLE_SUFFIXES)}, or GLUE's own files"
            )
    for split, path in files.items():
        if split not in rows.splits:
            rows.splits[split] = _examples(path, glue, split, rows.notes)
    if folder is sample:
        rows.notes.append(f"{folder.name}: a sample of someone's choice; its validation rows need not be GLUE's")
    checksum = files_checksum([part for path in files.values() for part in table_parts(path)])
    rows.source = {"source": "local", "name": str(folder), "sha256": checksum, "licence": LICENCE}
    return rows


def _find(glue: Glue, split: str, folder: Path) -> Path | None:
    """The file of a split. Unscored splits take the first of several: the diagnostic rows come with and without labels,
    MRPC's test rows from GLUE and from Microsoft."""
    found = [
        path
        for stem in glue.stems[split]
        for suffix in (*TABLE_SUFFIXES, ".txt")
        if (path := folder / f"{stem}{suffix}").exists()
    ]
    if len(found) > 1 and split in LABELLED:
        raise UserError(f"{folder}: {found[0].name} and {found[1].name}: keep one {split} split")
    return found[0] if found else None


def _microsoft_mrpc(folder: Path) -> tuple[dict[str, list[Example]], dict[str, Path]]:
    """Training and validation rows out of Microsoft's one file, as GLUE parts them, and the files they are in."""
    path, ids = folder / MRPC_TRAIN, folder / MRPC_VALIDATION_IDS
    if not ids.exists():
        raise UserError(
            f"{folder}: {MRPC_TRAIN} holds the training and the validation rows, and {MRPC_VALIDATION_IDS}, which "
            "tells them apart, is not there; get it or GLUE's train.tsv and dev.tsv"
        )
    of_validation = {tuple(row.values()) for _, row in read_delimited(ids, [], header=["#1 ID", "#2 ID"])}
    glue = GLUE["mrpc"]
    parts: dict[str, list[tuple[int, dict[str, Any]]]] = {"train": [], "validation": []}
    columns = glue.layouts[1]
    for number, row in read_rows(path, [*all_columns(columns), "#1 ID", "#2 ID"]):
        split = "validation" if (row["#1 ID"], row["#2 ID"]) in of_validation else "train"
        parts[split].append((number, row))
    splits = {split: read_examples(path, rows, columns, glue.accepted) for split, rows in parts.items()}
    return splits, {"train": path, "validation": ids}


# --- one file -----------------------------------------------------------------------------------------------


def _examples(path: Path, glue: Glue, split: str, notes: list[str]) -> list[Example]:
    found = column_names(path)
    header = None
    if glue is GLUE["cola"] and "sentence" not in found and len(found) == 4 and found[1] in ("0", "1"):
        header = found = COLA_COLUMNS
    columns = _layout(path, glue, found)
    labelled = split in LABELLED
    wanted = all_columns(columns) if labelled or columns.label in found else text_columns(columns)
    misfits: list[int] | None = None
    rows: Iterator[tuple[int, dict[str, Any]]]
    if path.suffix in (".tsv", ".txt"):
        if glue is GLUE["qqp"] and columns is glue.layouts[1]:
            misfits = []  # a few official rows have too few fields
        rows = read_delimited(path, wanted, header, misfits)
    else:
        rows = read_rows(path, wanted)
    examples = read_examples(path, rows, columns, glue.accepted, labelled)
    if misfits:
        lines = ", ".join(map(str, misfits[:5])) + (" and others" if len(misfits) > 5 else "")
        notes.append(
            f"{split}: {len(misfits)} rows with a wrong number of fields left out, as google-research/electra does "
            f"(lines {lines} of {path.name})"
        )
    return examples


def _layout(path: Path, glue: Glue, found: list[str]) -> TableColumns:
    """The first layout of which the file has every column; failing that, the first whose texts it has."""
    for columns_of in (all_columns, text_columns):
        for layout in glue.layouts:
            if set(columns_of(layout)) <= set(found):
                return layout
    check_columns(str(path), text_columns(glue.layouts[0]), found)
    raise AssertionError("unreachable: a text column is missing")


def _listing(names: Iterable[str]) -> str:
    return " or ".join(names)
