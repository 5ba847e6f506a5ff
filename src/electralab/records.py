"""The run record: one JSON per run, the only thing that tables, figures and claims are made from."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from electralab.errors import UserError
from electralab.files import check_files, read_json, sha256, write_json

VERSIONED = (
    *("torch", "transformers", "tokenizers", "datasets", "peft", "bitsandbytes", "optuna"),
    *("scikit-learn", "numpy", "snakemake"),
)


SCHEMA_VERSION: Final = 2
READ = ("predictions*.csv", "evaluation.csv", "documents.csv")  # beside a record, by the report


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cost(_Record):
    """What a run cost. Seconds are of the work itself, not of process start-up; bytes are 1, not 1024-based."""

    wall_seconds: float
    cpu_seconds: float
    gpu_seconds: float | None = None
    peak_rss_bytes: int
    peak_gpu_bytes: int | None = None
    flops: dict[str, float] = {}
    parameters: dict[str, int] = {}
    tokens: int | None = None
    bytes_on_disk: int | None = None


class Provenance(_Record):
    """Where a number comes from."""

    git_commit: str | None
    git_dirty: bool | None
    source_hash: str
    versions: dict[str, str]
    data: dict[str, str]
    device: str
    gpu: str | None = None
    """Its name, as `NVIDIA H100 80GB HBM3`."""
    threads: int
    load_average: float
    started: str
    ended: str
    machine: str


class RunRecord(_Record):
    """Identity, status, quality, cost and provenance of one run."""

    schema_version: Literal[2] = SCHEMA_VERSION
    stage: Literal["pretrain", "run", "retention"]
    model: str
    task: str | None = None
    method: str | None = Field(None, description="The chain of methods, joined by `+`.")
    seed: int
    status: Literal["ok", "failed", "skipped"] = "ok"
    reason: str | None = None
    recipe: str
    primary_metric: str | None = None
    glue: str | None = None
    extensions: list[str] = []
    synthetic: bool = False
    metrics: dict[str, float] = {}
    predictions: str | None = None
    files: dict[str, str] = Field({}, description="SHA-256 of what the report and other runs read beside it.")
    notes: list[str] = []
    cost: Cost
    provenance: Provenance
    spec: dict[str, Any]


def write_record(path: Path, record: RunRecord) -> RunRecord:
    """Write a run record atomically, after the files that the report reads, whose checksums it gets; returns it."""
    beside = sorted(file for pattern in READ for file in path.parent.glob(pattern))
    record = record.model_copy(update={"files": record.files | {file.name: sha256(file) for file in beside}})
    write_json(path, record.model_dump(mode="json"))
    return record


def check_report_files(path: Path, record: RunRecord) -> None:
    """Check the files beside a run record that the report reads.

    Raises:
        UserError: one is not the file that was written with the record; one that is missing is told where it is read.
    """
    for name, checksum in record.files.items():
        file = path.parent / name
        if file.parent == path.parent and file.is_file() and sha256(file) != checksum:
            raise UserError(
                f"{file} is damaged: it is not the file that its run wrote (another checksum): delete {path} and run "
                "the same command again"
            )


def read_record(path: Path) -> RunRecord:
    """Read and check a run record.

    Raises:
        UserError: the file is missing, damaged, or of another schema.
    """
    content = read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} is a record of schema {version}, and this version of ElectraLab reads {SCHEMA_VERSION}: "
            "delete it and run the same command again"
        )
    try:
        return RunRecord.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is not a run record ({key}: {first['msg']}): delete it and rerun") from None


def check_network(path: Path, folder: Path) -> None:
    """See that a network is the one that its pretraining left.

    Args:
        path: record of the pretraining.
        folder: `discriminator/`, `generator/` or a snapshot beside it.

    Raises:
        UserError: the record is missing or damaged, the network is not the one that it vouches for, or is none of it.
    """
    record = read_record(path)
    own = {name: checksum for name, checksum in record.files.items() if (path.parent / name).parent == folder}
    remedy = f"delete {path} and run the same command again: it is trained again"
    if not own and (record.files or not folder.is_dir()):
        raise UserError(
            f"{folder} was not kept by the pretraining of {path}, which ended before it was asked for: {remedy}"
        )
    check_files(path.parent, own, path, remedy)


@dataclass
class Meter:
    """Wall and CPU seconds of a run, carried over restarts, and the provenance of its start."""

    device: str
    threads: int
    data: dict[str, str] = field(default_factory=dict)
    earlier_wall: float = 0.0
    earlier_cpu: float = 0.0
    _started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    _wall: float = field(default_factory=time.perf_counter)
    _cpu: float = field(default_factory=time.process_time)

    @property
    def wall_seconds(self) -> float:
        """Seconds since the start, earlier attempts included."""
        return self.earlier_wall + time.perf_counter() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process since the start, earlier attempts included."""
        return self.earlier_cpu + time.process_time() - self._cpu

    def cost(self, **known: Any) -> Cost:
        """The cost so far; `known` gives what only the stage knows (flops, parameters, tokens, earlier peaks, ...)."""
        gpu = self.wall_seconds if self.device.startswith("cuda") else None
        return Cost(
            wall_seconds=round(self.wall_seconds, 3),
            cpu_seconds=round(self.cpu_seconds, 3),
            gpu_seconds=gpu,
            **(peak_bytes(self.device) | known),
        )

    def provenance(self) -> Provenance:
        """Versions, code, data, machine and times of this run."""
        commit, dirty = _git_state()
        return Provenance(
            git_commit=commit,
            git_dirty=dirty,
            source_hash=source_hash(),
            versions=versions(),
            data=self.data,
            device=self.device,
            gpu=_gpu(self.device),
            threads=self.threads,
            load_average=round(os.getloadavg()[0], 2),
            started=self._started,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        )


def peak_bytes(device: str) -> dict[str, int]:
    """The most memory that this process has had so far, and on a GPU the most that was allocated there: of a `Cost`."""
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if (torch := _torch(device)) is not None:
        peaks["peak_gpu_bytes"] = torch.cuda.max_memory_allocated(device)
    return peaks


@functools.cache
def source_hash() -> str:
    """SHA-256 over the package's own source files: which code made a number."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on (those installed)."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def _git_state() -> tuple[str | None, bool | None]:
    root = Path(__file__).parent
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def _torch(device: str) -> Any:
    """PyTorch, for a run on a GPU, which has imported it; reports read records without it."""
    return sys.modules.get("torch") if device.startswith("cuda") else None


def _gpu(device: str) -> str | None:
    torch = _torch(device)
    return None if torch is None else str(torch.cuda.get_device_name(device))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
