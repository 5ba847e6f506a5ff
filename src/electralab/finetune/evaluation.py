"""Every split of a task but the training rows: which are scored, which are only answered, and what is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from electralab.data.example import Example
from electralab.data.tasks import TaskData
from electralab.errors import UserError
from electralab.files import read_json
from electralab.finetune.metrics import Floats, task_metrics
from electralab.finetune.predictions import predictions_name, write_predictions

MISMATCHED = "validation_mismatched"
DIAGNOSTIC = "ax"  # of MNLI; without labels it is answered for the GLUE server only


def check_labels(data: TaskData) -> None:
    """Refuse a task of which a row that is to be trained on or scored has no label.

    Raises:
        UserError: names the split and the row.
    """
    for split, examples in data.splits.items():
        if not _scored(split, examples):
            continue
        row = next((number for number, example in enumerate(examples, start=1) if example.label is None), None)
        if row is not None:
            raise UserError(
                f"task {data.name}: row {row} (id {examples[row - 1].id}) of the {split} split has no label, so it "
                "cannot be scored; GLUE keeps the labels of its test rows to itself: use the validation rows"
            )


def without_test(data: TaskData) -> TaskData:
    """The task without the splits that are only answered."""
    kept = {split: examples for split, examples in data.splits.items() if _scored(split, examples)}
    return replace(data, splits=kept)


def evaluate(
    data: TaskData,
    answer: Callable[[list[Example]], Floats],
    mnli_validation: Literal["matched", "matched_and_mismatched"],
) -> tuple[dict[str, float], dict[str, Floats]]:
    """Metrics of the scored splits, and the answers to every split but `train`.

    Args:
        data: the task.
        answer: [N] examples to [N, classes] log-probabilities, or to [N] scores of a regression.
        mnli_validation: the rows behind `score`, where there are mismatched rows.

    Returns:
        What `task_metrics` gives for the validation rows; for MNLI also `matched.accuracy`, `mismatched.accuracy` and
        `ax.mcc`; answers by split.
    """
    answers = {split: answer(examples) for split, examples in data.splits.items() if split != "train"}

    def scores(*splits: str) -> dict[str, float]:
        labels = np.array([example.label for split in splits for example in data.splits[split]])
        return task_metrics(data.metrics, labels, np.concatenate([answers[name] for name in splits]), data.score_range)

    metrics = scores("validation")
    if data.glue == "mnli":
        metrics["matched.accuracy"] = metrics["accuracy"]
    if MISMATCHED in data.splits:
        metrics["mismatched.accuracy"] = scores(MISMATCHED)["accuracy"]
        if mnli_validation == "matched_and_mismatched":
            metrics["score"] = scores("validation", MISMATCHED)["score"]
    if _scored(DIAGNOSTIC, data.splits.get(DIAGNOSTIC, [])):
        metrics["ax.mcc"] = scores(DIAGNOSTIC)["mcc"]
    return metrics, answers


def write_answers(folder: Path, data: TaskData, answers: dict[str, Floats]) -> None:
    """Write `predictions.csv`, without a row where nothing is answered, and `predictions_<split>.csv` of the others."""
    for split in {"validation": None, **answers}:
        write_predictions(folder / predictions_name(split), data.splits[split], answers.get(split), data.labels)


def row_counts(manifest: Path, data: TaskData) -> dict[str, float]:
    """`validation_rows`, how many of them are also training rows (`overlap_rows`), and the official row counts of a
    GLUE task, which tell a sample from the whole."""
    content: dict[str, Any] = read_json(manifest)
    splits = content["splits"]
    official = {f"official_{split}_rows": splits[split].get("official_rows") for split in ("train", "validation")}
    known = {name: float(rows) for name, rows in official.items() if rows is not None}
    if overlap := content.get("overlap", {}).get("validation"):  # a task built earlier has not counted
        known["overlap_rows"] = float(overlap)
    return {"validation_rows": float(len(data.validation)), **known}


def evaluation_notes(data: TaskData, metrics: dict[str, float]) -> list[str]:
    """What a reader of the record must know about its task and its answers."""
    notes = list(data.notes)
    if metrics["degenerate"]:
        same = "number" if data.regression else "class"
        notes.append(f"every prediction is the same {same}: this run has learnt nothing")
    return notes


def _scored(split: str, examples: list[Example]) -> bool:
    if split == DIAGNOSTIC:
        return any(example.label is not None for example in examples)
    return split in ("train", "validation", MISMATCHED)
