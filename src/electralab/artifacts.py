"""What a run leaves and the next link of its chain opens: a folder, and a manifest that says what is in it.

Light: it knows files and checksums; `methods/opening.py` makes models of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from electralab.config import Form
from electralab.errors import UserError
from electralab.files import check_files, read_json, sha256, write_json
from electralab.names import MANIFEST, MANIFEST_SCHEMA
from electralab.records import versions

LAYERS = "layers.csv"  # how the weights of a model in few bits are stored, a row a layer


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Prompt(_Part):
    """How a row is put to a decoder, and which word stands for which class (`finetune/decoder/prompts.py`)."""

    text: str
    words: tuple[str, ...]
    gap: str


class Reads(_Part):
    """How rows become answers, and which rows are scored."""

    max_length: int
    pairs: bool | None = None  # whether rows are pairs of texts; None in manifests that do not say it
    pooling: Literal["sequence", "first_token", "mean_over_tokens"] = "sequence"
    prompt: Prompt | None = None  # of a decoder
    answers: Literal["label_words", "as_published"] = "label_words"
    offset: float = 0.0  # of a regression: its score is offset + scale * output
    scale: float = 1.0
    mnli_validation: Literal["matched", "matched_and_mismatched"] = "matched"
    answer_test: bool = True


class Base(_Part):
    """The frozen model under an adapter; `folder` is relative to the manifest's."""

    folder: str
    sha256: str


class Left(_Part):
    """What a run left: a form that can be opened, or nothing and why."""

    form: Form | None
    reason: str | None = None  # why there is nothing
    reads: Reads | None = None
    base: Base | None = None


class Manifest(Left):
    """An artifact: which run left it, what it answers with, and the checksum of every file."""

    schema_version: Literal[1] = MANIFEST_SCHEMA
    model: str
    task: str
    method: str
    seed: int
    settings: dict[str, Any]
    labels: list[str]  # of the classes in their order; none of a regression
    score_range: tuple[float, float] | None
    files: dict[str, str]
    versions: dict[str, str]


def write_manifest(folder: Path, left: Left, **known: Any) -> None:
    """Write the manifest of a folder over all files in it.

    Args:
        folder: where the artifact is; it may hold nothing.
        left: what it is.
        known: the other fields of `Manifest` but `files` and `versions`.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: sha256(folder / name) for name in names if name != MANIFEST}
    manifest = Manifest(**left.model_dump(), **known, files=files, versions=versions())
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check the files that it names.

    Raises:
        UserError: the manifest is missing, damaged or of another schema, or a file is missing or was changed.
    """
    remedy = f"delete {path.parent} and run the same command again"
    content = read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != MANIFEST_SCHEMA:
        raise UserError(
            f"{path} is the manifest of an artifact of schema {version}, and this version of ElectraLab reads "
            f"{MANIFEST_SCHEMA}: {remedy}"
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is not the manifest of an artifact ({key}: {first['msg']}): {remedy}") from None
    check_files(path.parent, manifest.files, path, remedy)
    return manifest


def copy_beside(source: Path, target: Path, *but: str) -> None:
    """Copy the files of an artifact into another's folder, without its manifest and those that are written anew."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name not in (MANIFEST, *but):
            shutil.copyfile(path, target / path.name)


def weights_in(folder: Path) -> list[Path]:
    """The files of weights of an artifact, a graph with what it computes."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".onnx", ".xml"))
