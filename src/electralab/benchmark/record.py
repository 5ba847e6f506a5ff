"""The record of a benchmark: one JSON, from which its tables and figures are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from electralab.errors import UserError
from electralab.files import read_json
from electralab.records import Provenance

SCHEMA: Final = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class VariantRecord(_Part):
    """A chain by a backend: what was opened, or why it was not."""

    name: str  # `<chain>@<backend>`
    chain: str
    backend: str
    status: Literal["ok", "failed", "skipped"] = "ok"
    reason: str | None = None
    kernel: str = ""
    gate: float | None = None  # share of the rows that it answers as its run did; None: not checked
    gate_rows: int = 0
    bytes_on_disk: int | None = None
    opening_seconds: float | None = None


class Cell(_Part):
    """A variant in a workload; seconds are of one answer to the whole workload, those of a round its median."""

    scenario: str
    workload: str
    threads: int
    batch_size: int
    length: int | None = None
    arrangement: str | None = None
    variant: str
    status: Literal["ok", "failed"] = "ok"
    reason: str | None = None
    wall: list[float] = []  # [rounds]
    cpu: list[float] = []  # [rounds]
    percentiles: dict[str, tuple[float, float, float]] = {}  # p50, p90, ...: seconds and their 95 % interval
    rows: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    peak_rss_bytes: int | None = None
    peak_gpu_bytes: int | None = None
    joules: float | None = None


class BenchmarkRecord(_Part):
    """Everything that was measured in one benchmark."""

    schema_version: Literal[1] = SCHEMA
    name: str
    model: str
    task: str
    seed: int
    settings: dict[str, Any]
    variants: list[VariantRecord]
    cells: list[Cell]
    energy: str | None  # what counted it; None: nothing here does
    empty_process_bytes: int
    before: dict[str, float | str]
    after: dict[str, float | str]
    provenance: Provenance
    wall_seconds: float


def read_benchmark(path: Path) -> BenchmarkRecord:
    """Read a record.

    Raises:
        UserError: it is missing, damaged or of another schema.
    """
    content = read_json(path)
    remedy = "delete it and run the same command again"
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA:
        raise UserError(f"{path} is no benchmark of schema {SCHEMA}: {remedy}")
    try:
        return BenchmarkRecord.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is not the record of a benchmark ({key}: {first['msg']}): {remedy}") from None
