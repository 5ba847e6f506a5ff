"""Test predictions as the GLUE server takes them: a zip of `<TASK>.tsv` files, columns `index` and `prediction`.

Format: gluebenchmark.com, FAQ and sample submission. Entailment tasks are answered in words, the others in class
numbers, STS-B with a score from 0 to 5.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

from electralab.data.glue import GLUE
from electralab.errors import UserError
from electralab.files import atomic_write, write_json
from electralab.finetune.predictions import predictions_name
from electralab.records import RunRecord, read_record

# File in the zip: GLUE task and split.
SUBMISSION_FILES = {
    "CoLA.tsv": ("cola", "test"),
    "SST-2.tsv": ("sst2", "test"),
    "MRPC.tsv": ("mrpc", "test"),
    "STS-B.tsv": ("stsb", "test"),
    "QQP.tsv": ("qqp", "test"),
    "MNLI-m.tsv": ("mnli", "test"),
    "MNLI-mm.tsv": ("mnli", "test_mismatched"),
    "QNLI.tsv": ("qnli", "test"),
    "RTE.tsv": ("rte", "test"),
    "WNLI.tsv": ("wnli", "test"),
    "AX.tsv": ("mnli", "ax"),
}
IN_WORDS = ("mnli", "qnli", "rte")
HEADER = "index\tprediction"
SAME_DATE = (1980, 1, 1, 0, 0, 0)  # the same predictions make the same zip


def write_submission(records: Sequence[Path], out: Path) -> list[str]:
    """Write the zip and, beside it, a JSON file that says which run answered each task.

    The run that answers a task is the one with the best validation score, as in the ELECTRA paper's test results.

    Args:
        records: run records of one model, over tasks, methods and seeds.
        out: the zip.

    Returns:
        The files that a complete submission would also have.

    Raises:
        UserError: no run has answered test rows, or a file has not one answer for every official test row.
    """
    best = _best_by_task(records)
    answered = {}
    for name, (task, split) in SUBMISSION_FILES.items():
        predictions = best[task][0].parent / predictions_name(split) if task in best else None
        if predictions is not None and predictions.exists():
            answered[name] = _lines(predictions, task)
    if not answered:
        raise UserError(
            f"{out}: no run has answered a GLUE test split; put the test files beside the training files "
            "(`MRPC/test.tsv`, ...) or take GLUE from the hub, with `answer_test: true`, and run again"
        )
    missing = [name for name in SUBMISSION_FILES if name not in answered]
    with atomic_write(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in answered.items():
            archive.writestr(zipfile.ZipInfo(name, SAME_DATE), "\n".join([HEADER, *lines, ""]))
        archive.close()
        check_submission(temporary, out)
    write_json(
        out.with_suffix(".json"), {"missing": missing, "answers": {name: _origin(best, name) for name in answered}}
    )
    return missing


def check_submission(path: Path, called: Path | None = None) -> None:
    """Check names, header, row numbers and answers of a submission, as the server would.

    Args:
        path: the zip.
        called: what errors call it, where it is still under another name.

    Raises:
        UserError: names the file in the zip and the line.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name not in SUBMISSION_FILES:
                raise UserError(f"{called or path}: {name} is not a file of a GLUE submission")
            task, split = SUBMISSION_FILES[name]
            header, *lines = archive.read(name).decode("utf-8").splitlines()
            if header != HEADER:
                raise UserError(f"{called or path}: {name}, line 1: the header is {header!r}; it must be {HEADER!r}")
            official = GLUE[task].rows[split]
            if len(lines) != official:
                raise UserError(
                    f"{called or path}: {name} has {len(lines):,} answers and GLUE's {split} split {official:,} rows: "
                    "the server refuses it; use the whole split"
                )
            for index, line in enumerate(lines):
                number, _, answer = line.partition("\t")
                if number != str(index) or not _is_answer(task, answer):
                    raise UserError(
                        f"{called or path}: {name}, line {index + 2}: {line!r} is not row {index} and its answer"
                    )


def _best_by_task(paths: Sequence[Path]) -> dict[str, tuple[Path, RunRecord]]:
    best: dict[str, tuple[Path, RunRecord]] = {}
    for path in sorted(paths):
        record = read_record(path)
        if record.glue is None or record.status != "ok":
            continue
        known = best.get(record.glue)
        if known is None or record.metrics["score"] > known[1].metrics["score"]:
            best[record.glue] = (path, record)
    return best


def _lines(predictions: Path, task: str) -> list[str]:
    """`index` counts from 0 in the order of the test file, whatever the file's own ids are."""
    with predictions.open(encoding="utf-8", newline="") as file:
        answers = [row["prediction"] for row in csv.DictReader(file)]
    return [f"{index}\t{_answer(task, answer)}" for index, answer in enumerate(answers)]


def _answer(task: str, prediction: str) -> str:
    glue = GLUE[task]
    if glue.score_range is not None:
        low, high = glue.score_range
        return f"{min(max(float(prediction), low), high):.3f}"
    return prediction if task in IN_WORDS else str(glue.labels.index(prediction))


def _is_answer(task: str, answer: str) -> bool:
    glue = GLUE[task]
    if glue.score_range is None:
        return answer in (glue.labels if task in IN_WORDS else [str(number) for number in range(len(glue.labels))])
    low, high = glue.score_range
    try:
        return low <= float(answer) <= high
    except ValueError:
        return False


def _origin(best: dict[str, tuple[Path, RunRecord]], name: str) -> dict[str, str | int | float | None]:
    task, split = SUBMISSION_FILES[name]
    record = best[task][1]
    return {
        "split": split,
        "method": record.method,
        "seed": record.seed,
        "validation_metric": record.primary_metric,
        "validation_score": record.metrics["score"],
    }
