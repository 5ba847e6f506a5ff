"""Files of this machine that a corpus, a task or a model is made of, and a checksum of what they hold now.

The plan asks what those read who build, so that an edit, a new file or one that is gone makes a new corpus, task or
model. A file counts by what is in it: copied, touched or moved, it is the same.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from electralab.config.models import LocalModel
from electralab.config.tasks import GLUE_FOLDERS, GlueFolder, GlueTask, LocalTask, Task
from electralab.config.text import Corpus, LocalText
from electralab.errors import UserError
from electralab.files import TABLE_SUFFIXES, files_checksum, read_json, sha256, table_parts, write_json
from electralab.model_files import CONFIG, PARTS, TOKENIZER_FILES, WHOLE_WEIGHTS
from electralab.names import CHECKSUMS

TEXT_SUFFIXES = (".txt", *TABLE_SUFFIXES)
REMEMBERED = 2**24  # bytes from which on a file is read again only if its size or its times are others
SLOW = 2**31  # bytes that take seconds to read


def text_files(path: str) -> list[Path]:
    """The files that the path of a local text stands for: what is there by that name, else what the glob matches.

    Folders are searched, and tables that are folders of their parts are read part by part.
    """
    found: list[Path] = []
    for match in [path] if Path(path).exists() else glob.glob(path, recursive=True):  # noqa: PTH207
        whole = match == path or match.endswith(TABLE_SUFFIXES)
        found += Path(match).rglob("*") if whole and Path(match).is_dir() else [Path(match)]
    return sorted(file for file in set(found) if file.suffix in TEXT_SUFFIXES and not file.is_dir())


def split_tables(folder: Path, split: str) -> list[Path]:
    """The tables of a split of a local task, of which there may be one."""
    return [path for suffix in TABLE_SUFFIXES if (path := folder / f"{split}{suffix}").exists()]


def glue_folders(task: GlueTask, root: Path) -> tuple[Path, Path]:
    """Where the files of a GLUE task may lie: the first that is there is used."""
    name = GLUE_FOLDERS[task.task]
    return root / name, root / f"{name}-sample"


def text_as_found(spec: LocalText) -> LocalText:
    """A local text that says what its files hold now."""
    return spec.model_copy(update={"sha256": _checksum(text_files(spec.path))})


def corpus_as_found(spec: Corpus) -> Corpus:
    """A corpus whose local texts say what their files hold now."""
    parts = [text_as_found(part) if isinstance(part, LocalText) else part for part in spec.parts]
    return spec.model_copy(update={"parts": parts})


def local_task_as_found(spec: LocalTask) -> LocalTask:
    """A local task that says what its tables hold now."""
    splits = dict.fromkeys(("train", spec.validation_split, "test"))
    tables = [path for split in splits for path in split_tables(Path(spec.path), split)]
    return spec.model_copy(update={"sha256": _checksum([part for path in tables for part in table_parts(path)])})


def task_as_found(spec: Task) -> Task:
    """A task that says what its local files hold now; those of GLUE have a place by then."""
    if isinstance(spec, LocalTask):
        return local_task_as_found(spec)
    if isinstance(spec, GlueTask) and isinstance(spec.location, GlueFolder):
        root = Path(spec.location.path)
        folders = [next(filter(Path.is_dir, glue_folders(spec, root)), root / GLUE_FOLDERS[spec.task])]
        folders += [root / "diagnostic", root / "AX"] if spec.task == "mnli" else []
        files = [file for folder in folders for file in text_files(str(folder))]
        return spec.model_copy(update={"location": spec.location.model_copy(update={"sha256": _checksum(files)})})
    return spec


def local_model_as_found(spec: LocalModel) -> LocalModel:
    """A local model that says what its files hold now."""
    patterns = (CONFIG, *WHOLE_WEIGHTS, *PARTS, *TOKENIZER_FILES)
    files = sorted(Path(spec.path).glob("*"))
    return spec.model_copy(
        update={"sha256": _checksum([file for file in files if any(fnmatch(file.name, name) for name in patterns)])}
    )


def _checksum(files: Sequence[Path]) -> str | None:
    """None where there is nothing, or nothing that can be read: who builds says what is wrong."""
    try:
        return files_checksum(files, _sha256) if files else None
    except OSError:
        return None


def _sha256(path: Path) -> str:
    """The checksum of a file; that of a large one is remembered in `artifacts/`."""
    status = path.stat()
    if status.st_size < REMEMBERED:
        return sha256(path)
    key, stamp = str(path.resolve()), [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    store = Path(CHECKSUMS)
    try:
        known = read_json(store) if store.exists() else {}
    except UserError:  # damaged: it is written anew
        known = {}
    if known.get(key, {}).get("stamp") != stamp:
        if status.st_size >= SLOW:
            print(f"reading {path}, to notice when it changes", file=sys.stderr, flush=True)
        known[key] = {"stamp": stamp, "sha256": sha256(path)}
        write_json(store, known)
    digest: str = known[key]["sha256"]
    return digest
