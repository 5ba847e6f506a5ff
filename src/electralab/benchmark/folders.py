"""A benchmark of folders that are given by hand, on a machine that has no pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from electralab.artifacts import read_manifest
from electralab.benchmark.measuring import Subject
from electralab.config import BackendName, Benchmark
from electralab.deploy.package import manifest_in
from electralab.errors import UserError
from electralab.names import chain_links, chain_name

# What opens a form of artifact where nothing else is asked for.
BY_FORM: dict[str, list[BackendName]] = {
    "huggingface": ["own", "eager", "sdpa"],
    "adapter": ["sdpa"],
    "low_bit": ["sdpa"],
    "onnx": ["onnxruntime"],
    "openvino": ["openvino"],
}


def of_folders(
    folders: Sequence[Path], backends: Sequence[str], threads: int, batch_sizes: Sequence[int], lengths: Sequence[int]
) -> tuple[Benchmark, Subject]:
    """What is timed and how; answers are not checked, because no task is at hand.

    Args:
        folders: of runs, or their folders `model`; the first is what others are held to. One may be given twice.
        backends: for every folder, or none for those that suit its form.
        threads: of the CPU.
        batch_sizes: rows at once.
        lengths: tokens of a row.

    Raises:
        UserError: a folder holds no artifact, or something is not as `Benchmark` wants it.
    """
    artifacts: dict[str, Path] = {}
    variants = []
    for folder in folders:
        path = manifest_in(folder)
        manifest = read_manifest(path)
        if manifest.form is None:
            raise UserError(f"{path} holds nothing to time: {manifest.reason}")
        chain = chain_links(manifest.method)
        while chain_name(chain) in artifacts:
            chain = [*chain, "again"]
        artifacts[chain_name(chain)] = path
        variants.append({"chain": chain, "backends": list(backends) or BY_FORM[manifest.form]})
    first = read_manifest(next(iter(artifacts.values())))
    told = {
        "model": first.model,
        "task": first.task,
        "seed": first.seed,
        "variants": variants,
        "threads": [threads],
        "scenarios": [{"kind": "latency", "batch_sizes": list(batch_sizes), "lengths": list(lengths)}],
    }
    try:
        return Benchmark.model_validate(told), Subject(artifacts, None)
    except ValidationError as error:
        found = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, found['loc'])) or 'benchmark'}: {found['msg']}") from None
