"""One GPU, eight minutes, one page: is our pretraining right there, how fast is it, and does it learn?

    make gpu
    python benchmarks/gpu.py --device cpu --tiny

Needs torch, transformers, tokenizers, numpy, pydantic, pyyaml, safetensors and tqdm, and src/ on PYTHONPATH. Every part
has its own seconds, and a part that fails or runs out of them is a line of the report. `--tiny` runs every line of the
parts on networks too small to say anything, which is how it is tested without a GPU.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
PARTS = {  # title, seconds
    "correctness": ("Correctness", 70),
    "pretraining_step": ("A pretraining step", 180),
    "training": ("Two minutes of pretraining", 160),
    "finetuning": ("Fine-tuning and inference", 60),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="a dry run: every part, in seconds")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="default: docs/benchmarks/gpu-<device>.md; of a dry run, nothing")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # beside other work on few cores, two are many times slower than one
    usable = device.type != "cuda" or torch.cuda.is_available()
    name = device_name(device) if usable else "no CUDA device"

    lines: list[str] = []

    def write(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    started = time.monotonic()
    for line in heading(name, device if usable else None, options.tiny):
        write(line)
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            title, seconds = PARTS[part]
            write(f"\n## {title}\n")
            if not usable:
                write("not run: needs CUDA")
                continue
            for line in run_part(part, seconds, device, Path(folder), options.tiny):
                write(line)
    write(f"\n{time.monotonic() - started:.0f} s in all.")

    default = ROOT / "docs" / "benchmarks" / f"gpu-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.md"
    out = options.out or (default if usable and device.type == "cuda" and not options.tiny else None)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"written to {out}", file=sys.stderr)
    return 0


def run_part(part: str, seconds: float, device: torch.device, folder: Path, tiny: bool) -> Iterator[str]:
    """The lines of a part; whatever stops it is the last of them."""
    started = time.monotonic()
    try:
        # Here, because a package that is missing is a line of the report too.
        import gpu_models
        import gpu_parts

        setup = (gpu_models.tiny_size if tiny else gpu_models.full_size)(device, folder)
        run: Callable[[Any], Iterator[str]] = getattr(gpu_parts, part)
        with gpu_parts.limited(10 * seconds if tiny else seconds):  # a dry run holds no GPU
            yield from run(setup)
    except Exception as error:
        yield f"\n**stopped**: {type(error).__name__}: {' '.join(str(error).split())[:500]}"
    yield f"\n({time.monotonic() - started:.0f} s)"


def heading(name: str, device: torch.device | None, tiny: bool) -> list[str]:
    versions = {"Python": platform.python_version()}
    for package in ("torch", "transformers", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "missing"
    lines = [f"# {'DRY RUN, numbers mean nothing: ' if tiny else ''}{name}", ""]
    if device is not None and device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        lines.append(
            f"- device: {name}, {properties.total_memory / 1e9:.0f} GB, compute capability "
            f"{properties.major}.{properties.minor}, CUDA {torch.version.cuda}"
        )
    lines.append(f"- host: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    lines.append("- versions: " + ", ".join(f"{package} {version}" for package, version in versions.items()))
    lines.append(f"- commit: {commit()}")
    lines.append(f"- command: `python {shlex.join(sys.argv)}`")
    return lines


def commit() -> str:
    try:
        run = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
