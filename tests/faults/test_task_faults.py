"""Tables that are no task: one line that names file, row and column."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from left_behind import left_behind

from electralab.config import Corpus, GlueFolder, GlueTask, LocalTask, LocalText, TableColumns, WordOrderTask
from electralab.data.corpora import build_corpus
from electralab.data.tasks import build_task, read_task
from electralab.errors import UserError


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("sentence\tlabel\n", "task t: the train split is empty"),
        ("text\tlabel\na\tyes\n", r"train\.tsv: no column 'sentence'; it has text, label"),
        ("sentence\tlabel\na\tmaybe\n", r"train\.tsv, row 2, column 'label': label 'maybe' is not among no, yes"),
        ("sentence\tlabel\na\tyes\nb\n", r"train\.tsv, row 3: 1 fields where the header has 2"),
        (None, "no train split there"),
    ],
)
def test_a_bad_task_names_file_row_and_column(tmp_path: Path, train: str | None, message: str) -> None:
    (tmp_path / "validation.tsv").write_text("sentence\tlabel\na\tyes\n")
    if train is not None:
        (tmp_path / "train.tsv").write_text(train)
    task = LocalTask(path=str(tmp_path), columns=TableColumns(), labels=["no", "yes"])
    with pytest.raises(UserError, match=message):
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_empty_cell_and_two_tables_for_one_split_are_named(tmp_path: Path) -> None:
    (tmp_path / "validation.tsv").write_text("sentence\tlabel\na\tyes\n")
    (tmp_path / "train.jsonl").write_text('{"sentence": "a", "label": "no"}\n{"sentence": null, "label": "no"}\n')
    task = LocalTask(path=str(tmp_path), labels=["no", "yes"])
    with pytest.raises(UserError, match=r"train\.jsonl, row 2, column 'sentence': empty"):
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\tyes\n")
    with pytest.raises(UserError, match=r"train\.jsonl and train\.tsv: keep one train split"):
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)


def glue_error(folder: Path, task: str) -> str:
    """The one line that building a GLUE task from a folder gives; nothing may be written."""
    spec = GlueTask.model_validate({"task": task, "location": GlueFolder(path=str(folder))}).canonical()
    command = [
        sys.executable,
        "-m",
        "electralab",
        "task",
        task,
        "--spec",
        spec,
        "--out",
        str(folder / "out" / "m.json"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert not left_behind(folder / "out")
    return done.stderr


PAIR = "sentence1\tsentence2\tlabel\na\tb\t"
GOOD = {"rte": PAIR + "1\n", "stsb": PAIR + "2.5\n"}


@pytest.mark.parametrize(
    ("task", "name", "content", "message"),
    [
        ("rte", "train.tsv", "sentence1\tlabel\na\t1\n", r"train\.tsv: no column 'sentence2'; it has sentence1, label"),
        ("rte", "train.tsv", "sentence1\tsentence2\na\tb\n", r"train\.tsv: no column 'label'; it has sentence1, sente"),
        ("rte", "train.tsv", PAIR + "2\n", r"train\.tsv, row 2, column 'label': label '2' is"),
        ("rte", "train.tsv", PAIR + "neutral\n", r"'neutral' is not among entailment, not_ent"),
        ("rte", "validation.tsv", PAIR + "-1\n", r"validation\.tsv, row 2, column 'label': '-1'"),
        ("rte", "train.tsv", PAIR + "\n", r"train\.tsv, row 2, column 'label': 'empty' means"),
        ("rte", "train.tsv", "sentence1,sentence2,label\na,b,1\n", r"sentence2,label, as one: is its delim"),
        ("rte", "train.csv", PAIR + "1\n", r"label, as one: is its delimiter"),
        ("rte", "train.tsv", PAIR + "c\t1\n", r"row 2: 4 fields where the header has 3"),
        ("rte", "train.tsv", PAIR.removesuffix("a\tb\t"), r"task rte: the train split is empty"),
        ("rte", "validation.tsv", PAIR.removesuffix("a\tb\t"), r"task rte: the validation split is empty"),
        ("rte", "test.tsv", PAIR + "7\n", r"test\.tsv, row 2, column 'label': label '7'"),
        ("rte", "train.tsv", "", r"no column 'sentence1'; it has none"),
        ("rte", "train.jsonl", '{"sentence1": "a", "sentence2": null, "label": 1}', r"row 1, column 'sentence2': emp"),
        ("rte", "train.csv", 'sentence1,sentence2,label\n"a,b,1\nc,d,0\n', r"train\.csv, row 2: unexpected end of"),
        (
            "rte",
            "train.csv",
            'sentence1,sentence2,label\nw,x,0\n"a,b,1\nc,d,0\ne",f,1\n',
            r"train\.csv, row 3, column 'sentence1': a quoted field of 3 lines, of which 'a,b,1' looks like a row",
        ),
        (
            "rte",
            "train.csv",
            'label,sentence1,sentence2\n0,"a,b\n1,c,d\n0,e",f\n',
            r"train\.csv, row 2, column 'sentence1': a quoted field of 3 lines, of which '1,c,d' looks like a row",
        ),
        ("stsb", "train.tsv", PAIR + "5.1\n", r"row 2, column 'label': score '5.1' is not a n"),
        ("stsb", "train.tsv", PAIR.replace("label", "score") + "-0.1\n", r"row 2, column 'score': score '-0.1' is not"),
        ("stsb", "train.tsv", PAIR + "nan\n", r"score 'nan' is not a number from 0 to 5"),
        ("stsb", "train.tsv", PAIR + "high\n", r"score 'high' is not a number from 0 to 5"),
        ("stsb", "train.tsv", PAIR + "-1\n", r"'-1' means that the row has no label"),
    ],
)  # fmt: skip
def test_a_bad_glue_file_names_file_row_and_column(
    tmp_path: Path, task: str, name: str, content: str, message: str
) -> None:
    folder = tmp_path / {"rte": "RTE", "stsb": "STS-B"}[task]
    folder.mkdir()
    stem = name.partition(".")[0]
    for split in {"train", "validation"} - {stem}:
        (folder / f"{split}.tsv").write_text(GOOD[task])
    (folder / name).write_text(content)
    assert re.search(message, glue_error(tmp_path, task))


def test_a_glue_folder_without_its_files_says_what_is_expected(tmp_path: Path) -> None:
    assert "neither MNLI nor MNLI-sample there; it must hold MNLI/train and MNLI/validation or" in glue_error(
        tmp_path, "mnli"
    )
    (tmp_path / "MRPC").mkdir()
    assert "MRPC: no train split there; expected train as .jsonl or .parquet or .csv or .tsv" in glue_error(
        tmp_path, "mrpc"
    )
    (tmp_path / "MRPC" / "msr_paraphrase_train.txt").write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n")
    assert "dev_ids.tsv, which tells them apart, is not there" in glue_error(tmp_path, "mrpc")
    for name in ("train.tsv", "dev.tsv", "validation.tsv"):
        (tmp_path / "MRPC" / name).write_text("sentence1\tsentence2\tlabel\na\tb\t1\n")
    assert "validation.tsv and dev.tsv: keep one validation split" in glue_error(tmp_path, "mrpc")


def test_a_language_without_blanks_between_words_has_no_word_order(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "out" / "manifest.json"
    corpus.write_text("".join(json.dumps({"text": f"第{n}号文件。这是一句中文。"}) + "\n" for n in range(60)))
    spec = Corpus(parts=[LocalText(path=str(corpus))], shards=1, held_out_fraction=0.5)
    build_corpus("zh", spec, tmp_path / "zh" / "manifest.json", tmp_path)
    said = r"corpus zh have too few sentences of 6 to 30 words.* a language that writes blanks between words"
    with pytest.raises(UserError, match=said):
        build_task("t", WordOrderTask(corpus="zh"), out, tmp_path, tmp_path / "zh" / "manifest.json")


def test_lines_in_a_quoted_field_are_text(tmp_path: Path) -> None:
    """A field of several lines is only suspect when one of them ends as a row does."""
    (tmp_path / "validation.csv").write_text("sentence,label\na,yes\n")
    (tmp_path / "train.csv").write_text('sentence,label\n"Dear all,\n\nwell, yes\nno, no",no\nnext,yes\n')
    manifest = tmp_path / "out" / "manifest.json"
    build_task("t", LocalTask(path=str(tmp_path), labels=["no", "yes"]), manifest, tmp_path)
    assert [(e.id, e.label) for e in read_task(manifest).train] == [("2", 0), ("6", 1)]


def test_a_task_file_that_changed_is_not_read(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.tsv").write_text(f"sentence\tlabel\n{split} a\tyes\n{split} b\tno\n")
    manifest = tmp_path / "out" / "manifest.json"
    build_task("t", LocalTask(path=str(tmp_path), labels=["no", "yes"]), manifest, tmp_path)
    with (manifest.parent / "train.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(UserError, match=r"train\.jsonl is missing or damaged"):
        read_task(manifest)
