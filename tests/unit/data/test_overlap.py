"""Rows that a task's splits share: counted, refused above a share unless accepted, and said by manifest and tables."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from glue_folder import REASON, glue_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from electralab.config import GlueFolder, GlueTask, LocalTask, TableColumns
from electralab.data.example import Example
from electralab.data.overlap import shared_rows
from electralab.data.tasks import build_task, read_task
from electralab.errors import UserError
from electralab.files import read_json
from electralab.finetune.evaluation import row_counts

FOLDER = glue_folder()
TEXTS = ["A fine film.", "a fine film", "A  FINE film !", "a fine\tfilms", "10 out of 10", "1 out of 10", "?!", ":-)"]


def by_pandas(train: pd.DataFrame, rows: pd.DataFrame) -> int:
    """Rows whose texts, of letters and digits alone, are also in `train`; texts of neither are compared as they are."""

    def compared(frame: pd.DataFrame) -> pd.Series:
        letters = frame.apply(lambda texts: texts.str.lower().str.replace(r"[\W_]+", "", regex=True))
        return letters.where(letters != "", frame).agg("\n".join, axis=1)

    return int(compared(rows).isin(compared(train)).sum())


pairs = st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS)), min_size=1, max_size=6)


@settings(max_examples=30)
@given(pairs, pairs, st.booleans())
def test_shared_rows_are_those_that_pandas_finds(train: list[tuple], validation: list[tuple], pair: bool) -> None:
    columns = ["text", "pair"][: 1 + pair]
    frames = [pd.DataFrame(rows, columns=["text", "pair"])[columns] for rows in (train, validation)]
    splits = {
        name: [Example(str(n), text, other if pair else None, 0) for n, (text, other) in enumerate(rows)]
        for name, rows in (("train", train), ("validation", validation))
    }
    assert shared_rows(splits, unordered=False) == {"validation": by_pandas(*frames)}


def test_the_order_of_a_pair_and_marks_on_letters_count_where_they_mean_something() -> None:
    splits = {
        "train": [Example("1", "One thing", "and another.", 0), Example("2", "कि", "x", 0)],
        "validation": [Example("1", "And another", "one thing", 1), Example("2", "का", "x", 0)],
    }
    assert shared_rows(splits, unordered=False) == {"validation": 0}
    assert shared_rows(splits, unordered=True) == {"validation": 1}


def write_task(folder: Path, shared: int, of: int = 100) -> LocalTask:
    folder.mkdir()
    rows = {
        "train": [f"Film {n} is good." for n in range(200)],
        "validation": [f"film {n} is GOOD" for n in range(shared)],
    }
    rows["validation"] += [f"Film {n} is bad." for n in range(of - shared)]
    for split, texts in rows.items():
        lines = (json.dumps({"sentence": text, "label": str(n % 2)}) + "\n" for n, text in enumerate(texts))
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return LocalTask(path=str(folder), labels=["0", "1"])


def test_a_task_that_scores_what_it_trained_on_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    task, manifest = write_task(tmp_path / "in", shared=6), tmp_path / "out" / "manifest.json"
    with pytest.raises(
        UserError, match=r"task t: 6 of the 100 validation rows \(6\.0%\).*accept_overlap: true"
    ) as error:
        build_task("t", task, manifest, tmp_path)
    assert "\n" not in str(error.value) and not manifest.parent.exists()
    build_task("t", task.model_copy(update={"accept_overlap": True}), manifest, tmp_path)
    assert read_json(manifest)["overlap"] == {"validation": 6}
    assert "Overlap: 6 of the 100 validation rows (6.0%) are also rows of train." in read_json(manifest)["notes"]
    assert row_counts(manifest, read_task(manifest)) == {"validation_rows": 100.0, "overlap_rows": 6.0}


@pytest.mark.parametrize("shared", [0, 5])
def test_a_small_overlap_is_counted_and_needs_no_word(tmp_path: Path, shared: int) -> None:
    manifest = tmp_path / "out" / "manifest.json"
    build_task("t", write_task(tmp_path / "in", shared), manifest, tmp_path)
    assert read_json(manifest)["overlap"] == {"validation": shared}
    assert any(note.startswith("Overlap") for note in read_json(manifest)["notes"]) == (shared > 0)


@pytest.mark.skipif(FOLDER is None, reason=REASON)
@pytest.mark.parametrize(
    ("task", "folder", "columns"),
    [
        ("cola", "CoLA", ["sentence"]),
        ("wnli", "WNLI", ["sentence1", "sentence2"]),
    ],
)
def test_the_real_glue_shares_what_pandas_finds_and_needs_no_word(
    tmp_path: Path, task: str, folder: str, columns: list[str]
) -> None:
    spec = GlueTask.model_validate({"task": task, "location": GlueFolder(path=str(FOLDER))})
    build_task(task, spec, tmp_path / "manifest.json", tmp_path)
    train, rows = (
        pd.read_csv(FOLDER / folder / f"{split}.tsv", sep="\t", quoting=3, keep_default_na=False)[columns]
        for split in ("train", "validation")
    )
    assert read_json(tmp_path / "manifest.json")["overlap"]["validation"] == by_pandas(train, rows)


def test_a_pair_shares_a_row_only_with_both_texts(tmp_path: Path) -> None:
    for split, other in (("train", "yes"), ("validation", "no")):
        lines = [json.dumps({"q": f"question {n}", "a": f"{other} {n}", "label": "0"}) for n in range(5)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    task = LocalTask(path=str(tmp_path), columns=TableColumns(text="q", pair="a"), labels=["0", "1"])
    build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)
    assert read_json(tmp_path / "out" / "manifest.json")["overlap"] == {"validation": 0}
