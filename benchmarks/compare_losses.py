"""Two commits, one experiment, one machine: are losses, answers and weights equal, bit for bit?

    python benchmarks/compare_losses.py main HEAD
    python benchmarks/compare_losses.py v0.1 HEAD --preset smoke --keep /tmp/losses

Each commit is checked out into a folder of its own and runs the whole DAG of a preset there, with this interpreter.
Then every `run.json` of the first is looked up in the second by what it is a run of, never by where it lies. Compared
are metrics that are not costs, the columns of `evaluation.csv` but for time, the scores in `predictions*.csv`, and the
contents of all safetensors files that both runs have. Exit status: 0 equal, 1 something differs or is gone, 2 a DAG
failed.

Downloads are those of this repository. Nothing of `electralab` is imported here, so that the two commits may differ in
anything but their command line and their records.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COSTS = re.compile(r"second|bytes")  # metrics that are not a function of the inputs
SHOWN = 40  # differences printed in full


@dataclass(frozen=True)
class Run:
    """One run record and the files beside it."""

    folder: Path
    record: dict[str, Any]

    @property
    def method(self) -> str:
        return str(self.record.get("method") or self.record.get("chain") or "")

    @property
    def task(self) -> str:
        """Stages may be renamed, but a pretraining stays one: it has no task."""
        return str(self.record.get("task") or "pretraining")

    @property
    def start(self) -> tuple[str, str]:
        return str(self.record.get("model")), str(self.record.get("seed"))

    @property
    def name(self) -> str:
        return " / ".join(part for part in (self.start[0], self.task, self.method, f"seed {self.start[1]}") if part)

    def files(self, pattern: str) -> dict[str, Path]:
        """Files of this run by name, without those of a run in a folder below."""
        below = [path.parent for path in self.folder.rglob("run.json") if path.parent != self.folder]
        found = (path for path in sorted(self.folder.rglob(pattern)) if not set(path.parents) & set(below))
        return {str(path.relative_to(self.folder)): path for path in found}


@dataclass
class Comparison:
    """What was compared in a pair of runs, and what was found."""

    first: Run
    second: Run

    def __post_init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.differences: list[str] = []
        self.notes: list[str] = []  # not failures: what only one side has
        self._equal("status", self.first.record.get("status"), self.second.record.get("status"))
        self._metrics()
        self._tables("evaluations", "evaluation.csv", lambda name: name != "phase" and not COSTS.search(name))
        self._tables("answers", "predictions*.csv", lambda name: name.startswith("score"))
        self._weights()

    def _equal(self, what: str, one: object, other: object) -> None:
        if one != other:
            self.differences.append(f"{self.first.name}: {what}: {one} / {other}")

    def _metrics(self) -> None:
        one, other = (
            {name: value for name, value in run.record.get("metrics", {}).items() if not COSTS.search(name)}
            for run in (self.first, self.second)
        )
        shared = one.keys() & other.keys()
        self.counts["metrics"] = len(shared)
        for name in sorted(shared):
            self._equal(name, one[name], other[name])
        self._one_sided("metric", set(one), set(other))

    def _tables(self, what: str, pattern: str, wanted: Callable[[str], bool]) -> None:
        """Columns are compared in their order: a later commit may call `score_1` by its label."""
        one, other = self.first.files(pattern), self.second.files(pattern)
        self._one_sided("file", set(one), set(other))
        self.counts[what] = 0
        for name in sorted(one.keys() & other.keys()):
            left, right = (_columns(path, wanted) for path in (one[name], other[name]))
            self.counts[what] += len(left)
            if left != right:
                lines = [number for number, rows in enumerate(zip(left, right), start=2) if rows[0] != rows[1]]
                where = f"{len(lines)} lines, first {lines[0]}" if lines else "number of lines"
                self.differences.append(f"{self.first.name}: {name}: {where}")

    def _weights(self) -> None:
        """Files may be moved: sets of tensors with the same names and shapes are the same model."""
        one, other = (_tensor_sets(run.files("*.safetensors")) for run in (self.first, self.second))
        self.counts["weights"] = 0
        for shape, files in one.items():
            theirs = dict(other.get(shape, {}))
            left = dict(files)
            pairs = [(name, name) for name in files if name in theirs]
            left, theirs = ({k: v for k, v in side.items() if (k, k) not in pairs} for side in (left, theirs))
            for name, digest in list(left.items()):
                moved = next((k for k, v in theirs.items() if v == digest), next(iter(theirs), None))
                if moved is not None:
                    theirs.pop(moved)
                    left.pop(name)
                    pairs.append((name, moved))
            self.counts["weights"] += len(pairs)
            for name, moved in pairs:
                self._equal(name, files[name][:16], other[shape][moved][:16])
            self._one_sided("weights", set(left), set(theirs))
        for shape in other.keys() - one.keys():
            self._one_sided("weights", set(), set(other[shape]))

    def _one_sided(self, what: str, one: set[str], other: set[str]) -> None:
        for side, names in (("first", one - other), ("second", other - one)):
            if names:
                self.notes.append(f"{self.first.name}: {what} only in the {side}: {', '.join(sorted(names))}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="a commit")
    parser.add_argument("second", help="another, or the same to see that runs repeat themselves")
    parser.add_argument("--preset", default="smoke", help="of workflow/presets/, each commit's own")
    parser.add_argument("--configfile", type=Path, action="append", default=[], help="an overlay for both")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument(
        "--keep", type=Path, help="work in this folder and leave it; finished runs in it are not redone"
    )
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        runs = []
        for side, commit in (("first", options.first), ("second", options.second)):
            work = folder / side
            with _checkout(commit, folder / f"{side}-source", bool(options.keep)) as source:
                print(f"{side}: {commit} = {_git('-C', str(source), 'rev-parse', '--short', 'HEAD')}, in {work}")
                if not _run_dag(source, work, options):
                    return 2
            runs.append([Run(path.parent, json.loads(path.read_text())) for path in _records(work)])
        return report(*runs)


def report(first: list[Run], second: list[Run]) -> int:
    """Print the table, what differs and the verdict."""
    pairs, gone, new = match(first, second)
    compared = [Comparison(one, other) for one, other in pairs]
    kinds = ("metrics", "evaluations", "answers", "weights")
    print("\n| run | " + " | ".join(kinds) + " | |\n|---|" + "--:|" * len(kinds) + "---|")
    for one in compared:
        verdict = f"{len(one.differences)} differ" if one.differences else "equal"
        cells = " | ".join(str(one.counts[kind] or "") for kind in kinds)
        print(f"| {one.first.name} | {cells} | {verdict} |")
    print()
    for run in new:
        print(f"only in the second: {run.name}")
    for note in dict.fromkeys(note for one in compared for note in one.notes):
        print(note)
    differences = [f"gone: {run.name}" for run in gone]
    differences += [difference for one in compared for difference in one.differences]
    for difference in differences[:SHOWN]:
        print(f"DIFFERS  {difference}")
    if len(differences) > SHOWN:
        print(f"... and {len(differences) - SHOWN} more")
    if not compared:
        differences.append("no run was compared")
    totals = ", ".join(f"{sum(one.counts[kind] for one in compared)} {kind}" for kind in kinds)
    print(f"\n{len(compared)} runs, {totals}: " + (f"{len(differences)} DIFFER" if differences else "equal"))
    return int(bool(differences))


def match(first: list[Run], second: list[Run]) -> tuple[list[tuple[Run, Run]], list[Run], list[Run]]:
    """Pairs of the same run, what is only in the first, and what is only in the second.

    Runs of one name (trials of a search) are matched in the order of their folders. What is left over is matched more
    loosely where that is unambiguous: a baseline may be filed under another model and seed, a method under its kind.
    """
    pairs, first, second = [], list(first), list(second)
    for one in list(first):
        other = next(
            (run for run in second if (run.start, run.task, run.method) == (one.start, one.task, one.method)), None
        )
        if other is not None:
            pairs.append((one, other))
            first.remove(one)
            second.remove(other)
    for alike in (_same_baseline, _same_kind):
        for one in list(first):
            others = [run for run in second if alike(one, run)]
            if len(others) == 1 and sum(alike(run, others[0]) for run in first) == 1:
                pairs.append((one, others[0]))
                first.remove(one)
                second.remove(others[0])
    return sorted(pairs, key=lambda pair: (pair[0].task != "pretraining", pair[0].name)), first, second


def _same_baseline(one: Run, other: Run) -> bool:
    return (one.task, one.method) == (other.task, other.method)


def _same_kind(one: Run, other: Run) -> bool:
    endings = one.method.endswith(other.method) or other.method.endswith(one.method)
    return (one.start, one.task) == (other.start, other.task) and bool(one.method and other.method) and endings


def _run_dag(source: Path, work: Path, options: argparse.Namespace) -> bool:
    downloads = Path(os.environ.get("ELECTRALAB_DOWNLOADS", ROOT / "artifacts" / "downloads"))
    downloads.mkdir(parents=True, exist_ok=True)
    (work / "artifacts").mkdir(parents=True, exist_ok=True)
    shared = work / "artifacts" / "downloads"
    if not shared.exists():
        shared.symlink_to(downloads.resolve(), target_is_directory=True)
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    configs = [source / "workflow" / "presets" / f"{options.preset}.yaml", *(c.resolve() for c in options.configfile)]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(source / "Snakefile")]
    command += ["--cores", str(options.cores), "all", "--configfile", *map(str, configs)]
    # An editable installation must not answer for the commit.
    where = subprocess.run(
        [sys.executable, "-c", "import electralab; print(electralab.__file__)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if not Path(where).is_relative_to(source):
        sys.exit(f"electralab is imported from {where}, not from {source}")
    log = work / "snakemake.log"
    with log.open("w") as file:
        done = subprocess.run(command, cwd=work, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        print(log.read_text()[-4000:], file=sys.stderr)
        print(f"FAILED: {' '.join(command)}", file=sys.stderr)
    return done.returncode == 0


@contextmanager
def _checkout(commit: str, folder: Path, keep: bool) -> Iterator[Path]:
    """A worktree of the commit; one that was kept is moved to it."""
    if folder.exists():
        _git("-C", str(folder), "checkout", "--quiet", "--detach", _git("rev-parse", f"{commit}^{{commit}}"))
    else:
        _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        if not keep:
            _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> str:
    command = ["git", *arguments] if arguments[0] == "-C" else ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _records(work: Path) -> list[Path]:
    """Numbered folders in the order of their numbers."""

    def order(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]

    found = (path for path in (work / "artifacts").rglob("run.json") if "downloads" not in path.parts)
    return sorted(found, key=order)


def _columns(path: Path, wanted: Callable[[str], bool]) -> list[tuple[str, ...]]:
    """The wanted columns by row; of predictions without scores, the predictions themselves."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = [name for name in reader.fieldnames or [] if wanted(name)] or ["prediction"]
        return [tuple(row[name] for name in names) for row in reader]


def _tensor_sets(files: dict[str, Path]) -> dict[str, dict[str, str]]:
    """By names and shapes of the tensors: file -> SHA-256 of their names, types and bytes."""
    sets: dict[str, dict[str, str]] = defaultdict(dict)
    for name, path in files.items():
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        digest, shapes = hashlib.sha256(), []
        for tensor, entry in sorted(header.items()):
            shapes.append([tensor, entry["dtype"], entry["shape"]])
            first, last = entry["data_offsets"]
            digest.update(f"{tensor} {entry['dtype']} {entry['shape']}".encode())
            digest.update(content[start + first : start + last])
        sets[json.dumps(shapes)][name] = digest.hexdigest()
    return sets


if __name__ == "__main__":
    sys.exit(main())
