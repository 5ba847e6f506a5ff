"""GLUE from folders: real files where they are, and every official layout in small."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from glue_folder import REASON, glue_folder

from electralab.config import GlueFolder, GlueName, GlueTask, LocalTask, TableColumns
from electralab.data.glue import GLUE
from electralab.data.tasks import SPLITS, TaskData, build_task, read_task
from electralab.files import read_json

FOLDER = glue_folder()
needs_glue = pytest.mark.skipif(FOLDER is None, reason=REASON)

# Rows and label counts of the files themselves, counted with cut, sort and uniq.
REAL = {
    "cola": {
        "train": {"acceptable": 6023, "unacceptable": 2528},
        "validation": {"acceptable": 721, "unacceptable": 322},
    },
    "sst2": {"train": {"positive": 37569, "negative": 29780}, "validation": {"positive": 444, "negative": 428}},
    "mrpc": {
        "train": {"equivalent": 2474, "not_equivalent": 1194},
        "validation": {"equivalent": 279, "not_equivalent": 129},
        "test": {"equivalent": 1147, "not_equivalent": 578},
    },
    "qqp": {
        "train": {"not_duplicate": 5747, "duplicate": 3252},
        "validation": {"not_duplicate": 623, "duplicate": 377},
    },
    "mnli": {
        "train": {"entailment": 3061, "neutral": 2980, "contradiction": 2958},
        "validation": {"entailment": 347, "neutral": 333, "contradiction": 320},
    },
    "qnli": {
        "train": {"entailment": 4523, "not_entailment": 4476},
        "validation": {"entailment": 2702, "not_entailment": 2761},
    },
    "wnli": {
        "train": {"not_entailment": 323, "entailment": 312},
        "validation": {"not_entailment": 40, "entailment": 31},
    },
}
SAMPLES = {
    "qqp": [
        "QQP-sample: a sample of someone's choice; its validation rows need not be GLUE's",
        "train: sample of 8,999 of the official 363,846 rows",
        "validation: sample of 1,000 of the official 40,430 rows",
    ],
    "mnli": [
        "MNLI-sample: a sample of someone's choice; its validation rows need not be GLUE's",
        "train: sample of 8,999 of the official 392,702 rows",
        "validation: sample of 1,000 of the official 9,815 rows",
    ],
    "qnli": ["train: sample of 8,999 of the official 104,743 rows"],
}


def build(task: str, root: Path, out: Path) -> TaskData:
    location = GlueFolder(path=str(root))
    spec = GlueTask.model_validate({"task": task, "location": location, "accept_overlap": True})
    build_task(task, spec, out / "manifest.json", out)
    return read_task(out / "manifest.json")


def write(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(row.replace("|", "\t") + "\n" for row in rows), encoding="utf-8")


def brief(data: TaskData, split: str) -> list[tuple[str, str | None, int | float | None]]:
    return [(example.text, example.pair, example.label) for example in data.splits[split]]


@needs_glue
@pytest.mark.parametrize("task", REAL)
def test_the_real_files(task: str, tmp_path: Path) -> None:
    data = build(task, FOLDER, tmp_path)
    counts = {
        split: dict(Counter(data.labels[example.label] for example in examples))
        for split, examples in data.splits.items()
    }
    assert counts == REAL[task]
    content = read_json(tmp_path / "manifest.json")
    assert {split: described["label_counts"] for split, described in content["splits"].items()} == counts
    assert content["notes"] == data.notes
    assert [note for note in data.notes if not note.startswith("Overlap: ")] == SAMPLES.get(task, [])
    for split, described in content["splits"].items():
        in_sample = any(note.startswith(f"{split}: sample") for note in data.notes)
        assert (described["rows"] == described["official_rows"]) != in_sample
        assert described["rows"] == len(data.splits[split])


@needs_glue
def test_the_real_files_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Every line is one row, its quotation marks are text."""
    data = build("mrpc", FOLDER, tmp_path)
    lines = (FOLDER / "MRPC" / "train.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    assert [f"{e.text}\t{e.pair}\t{e.label}" for e in data.train] == ["\t".join(x.split("\t")[:3]) for x in lines]
    assert sum(example.text.count('"') % 2 for example in data.train) > 0


def test_the_registry_has_every_task() -> None:
    """Metrics: GLUE paper, table 1. Averages and orders that others rely on."""
    assert list(GLUE) == list(get_args(GlueName))
    first = {name: glue.metrics[0] for name, glue in GLUE.items()}
    assert first == dict.fromkeys(GLUE, "accuracy") | {"cola": "mcc", "stsb": "spearman"}
    assert {name for name, glue in GLUE.items() if glue.unordered} == {"mrpc", "stsb"}
    assert {name for name, glue in GLUE.items() if glue.score_range} == {"stsb"}
    assert GLUE["wnli"].labels == ("not_entailment", "entailment")
    assert GLUE["rte"].labels == GLUE["qnli"].labels == ("entailment", "not_entailment")
    for glue in GLUE.values():
        assert set(glue.rows) == set(glue.stems) == set(glue.hub) <= set(SPLITS)


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("names", [("validation", "-sample"), ("dev", "")])
@pytest.mark.parametrize("as_words", [False, True])
def test_plain_tables_of_every_format(suffix: str, names: tuple[str, str], as_words: bool, tmp_path: Path) -> None:
    labels = ["entailment", "not_entailment"] if as_words else [0, 1]
    rows = [{"label": label, "question": 'who "?', "sentence": f"he, {label}"} for label in labels]
    folder = tmp_path / f"QNLI{names[1]}"
    folder.mkdir()
    for split in ("train", names[0]):
        path = folder / f"{split}{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif suffix == ".csv":
            path.write_text('label,question,sentence\n{},"who ""?","he, {}"\n{},"who ""?","he, {}"\n'.format(
                *[label for label in labels for _ in range(2)]
            ))  # fmt: skip
        else:
            write(path, "label|question|sentence", *(f'{label}|who "?|he, {label}' for label in labels))
    data = build("qnli", tmp_path, tmp_path / "out")
    assert brief(data, "train") == brief(data, "validation")
    assert brief(data, "train") == [('who "?', f"he, {label}", number) for number, label in enumerate(labels)]


def test_official_cola_has_a_header_only_in_its_test_file(tmp_path: Path) -> None:
    write(tmp_path / "CoLA" / "train.tsv", "gj04|1||Our friends won't.", 'gj04|0|*|They drank "the pub.')
    write(tmp_path / "CoLA" / "dev.tsv", "gj04|1||The sailors rode.")
    write(tmp_path / "CoLA" / "test.tsv", "index|sentence", "0|Bill whistled past the house.")
    data = build("cola", tmp_path, tmp_path / "out")
    assert brief(data, "train") == [("Our friends won't.", None, 1), ('They drank "the pub.', None, 0)]
    assert brief(data, "validation") == [("The sailors rode.", None, 1)]
    assert brief(data, "test") == [("Bill whistled past the house.", None, None)]
    assert data.metrics == ["mcc", "accuracy"] and data.glue == "cola" and not data.unordered


MRPC_HEADER = "\ufeffQuality|#1 ID|#2 ID|#1 String|#2 String"


def test_official_mrpc_quotes_are_text(tmp_path: Path) -> None:
    write(tmp_path / "MRPC" / "train.tsv", MRPC_HEADER, '1|1|2|"A, he said|B "', "0|3|4|C|D")
    write(tmp_path / "MRPC" / "dev.tsv", MRPC_HEADER, "0|5|6|E|F")
    write(tmp_path / "MRPC" / "test.tsv", "index|#1 ID|#2 ID|#1 String|#2 String", "0|7|8|G|H")
    write(tmp_path / "MRPC" / "msr_paraphrase_test.txt", MRPC_HEADER, "1|7|8|G|H")
    data = build("mrpc", tmp_path, tmp_path / "out")
    assert brief(data, "train") == [('"A, he said', 'B "', 1), ("C", "D", 0)]
    assert brief(data, "validation") == [("E", "F", 0)] and brief(data, "test") == [("G", "H", None)]
    assert data.unordered


def test_microsofts_mrpc_is_parted_by_glues_list_of_ids(tmp_path: Path) -> None:
    rows = ("1|1|2|A|B", '0|3|4|"C|D', "1|5|6|E|F")
    write(tmp_path / "MRPC" / "msr_paraphrase_train.txt", MRPC_HEADER, *rows)
    write(tmp_path / "MRPC" / "msr_paraphrase_test.txt", MRPC_HEADER, "0|7|8|G|H")
    write(tmp_path / "MRPC" / "dev_ids.tsv", "3|4")
    data = build("mrpc", tmp_path, tmp_path / "out")
    assert brief(data, "train") == [("A", "B", 1), ("E", "F", 1)]
    assert brief(data, "validation") == [('"C', "D", 0)]
    assert brief(data, "test") == [("G", "H", 0)]  # Microsoft's test rows have labels


def test_official_stsb_is_a_regression(tmp_path: Path) -> None:
    header = "index|genre|filename|year|old_index|source1|source2|sentence1|sentence2"
    row = "{}|main-captions|MSRvid|2012test|1|none|none|A plane.|An air plane.{}"
    write(tmp_path / "STS-B" / "train.tsv", header + "|score", row.format(0, "|5.000"), row.format(1, "|0"))
    write(tmp_path / "STS-B" / "dev.tsv", header + "|score", row.format(0, "|3.8"))
    write(tmp_path / "STS-B" / "test.tsv", header, row.format(0, ""))
    data = build("stsb", tmp_path, tmp_path / "out")
    assert [e.label for e in data.train] == [5.0, 0.0] and all(isinstance(e.label, float) for e in data.train)
    assert [e.label for split in ("validation", "test") for e in data.splits[split]] == [3.8, None]
    assert data.regression and data.labels == [] and data.score_range == (0.0, 5.0) and data.unordered
    assert data.metrics == ["spearman", "pearson"]
    assert read_json(tmp_path / "out" / "manifest.json")["splits"]["train"]["label_counts"] == {}


def test_official_qqp_rows_with_too_few_fields_are_left_out_and_counted(tmp_path: Path) -> None:
    header = "id|qid1|qid2|question1|question2|is_duplicate"
    write(tmp_path / "QQP" / "train.tsv", header, "0|1|2|a?|b?|1", "1|3|4|broken", "2|5|6|c?|d?|0", "e?|0")
    write(tmp_path / "QQP" / "dev.tsv", header, "0|1|2|a?|b?|1")
    write(tmp_path / "QQP" / "test.tsv", "id|question1|question2", "0|a?|b?")
    data = build("qqp", tmp_path, tmp_path / "out")
    assert brief(data, "train") == [("a?", "b?", 1), ("c?", "d?", 0)] and brief(data, "test") == [("a?", "b?", None)]
    assert data.notes[0] == (
        "train: 2 rows with a wrong number of fields left out, as google-research/electra does "
        "(lines 3, 5 of train.tsv)"
    )


def test_official_mnli_with_both_validation_splits_and_the_diagnostic_rows(tmp_path: Path) -> None:
    texts = "promptID|sentence1_binary_parse|sentence1|sentence2"
    write(tmp_path / "MNLI" / "train.tsv", f"index|{texts}|label1|gold_label", "0|1|( a )|A|B|neutral|neutral")
    for name, label in (("matched", "entailment"), ("mismatched", "contradiction")):
        header, row = f"index|{texts}|label1|label2|gold_label", f"0|1|( c )|C|D|neutral|{label}|{label}"
        write(tmp_path / "MNLI" / f"dev_{name}.tsv", header, row)
        write(tmp_path / "MNLI" / f"test_{name}.tsv", f"index|{texts}", "0|1|( e )|E|F")
    write(tmp_path / "diagnostic" / "diagnostic.tsv", "index|sentence1|sentence2", "0|G|H")
    data = build("mnli", tmp_path, tmp_path / "out")
    assert {split: brief(data, split) for split in data.splits} == {
        "train": [("A", "B", 1)],
        "validation": [("C", "D", 0)],
        "validation_mismatched": [("C", "D", 2)],
        "test": [("E", "F", None)],
        "test_mismatched": [("E", "F", None)],
        "ax": [("G", "H", None)],
    }
    columns = "Lexical Semantics|Predicate-Argument Structure|Logic|Knowledge|Domain|Premise|Hypothesis|Label"
    write(tmp_path / "diagnostic" / "diagnostic-full.tsv", columns, "||Negation||Artificial|G|H|contradiction")
    assert brief(build("mnli", tmp_path, tmp_path / "out"), "ax") == [("G", "H", 2)]


@pytest.mark.parametrize(
    ("task", "folder", "header", "row", "expected"),
    [
        ("sst2", "SST-2", "sentence|label", "of saucy |1", ("of saucy ", None, 1)),
        ("qnli", "QNLI", "index|question|sentence|label", "0|q|s|not_entailment", ("q", "s", 1)),
        ("rte", "RTE", "index|sentence1|sentence2|label", "0|a|b|entailment", ("a", "b", 0)),
        ("wnli", "WNLI", "index|sentence1|sentence2|label", "0|a|b|1", ("a", "b", 1)),
    ],
)
def test_the_other_official_layouts(
    task: str, folder: str, header: str, row: str, expected: tuple[Any, ...], tmp_path: Path
) -> None:
    for name in ("train", "dev"):
        write(tmp_path / folder / f"{name}.tsv", header, row)
    test_header, test_row = header.removesuffix("|label"), row.rpartition("|")[0]
    write(tmp_path / folder / "test.tsv", "index|sentence" if task == "sst2" else test_header, *(
        ["0|of saucy "] if task == "sst2" else [test_row]
    ))  # fmt: skip
    data = build(task, tmp_path, tmp_path / "out")
    assert brief(data, "train") == brief(data, "validation") == [expected]
    assert brief(data, "test") == [(*expected[:2], None)]


def test_more_rows_than_the_official_split_are_stated(tmp_path: Path) -> None:
    write(tmp_path / "WNLI" / "train.tsv", "sentence1|sentence2|label", *["a|b|1"] * 636)
    write(tmp_path / "WNLI" / "validation.tsv", "sentence1|sentence2|label", *["a|b|1"] * 71)
    data = build("wnli", tmp_path, tmp_path / "out")
    assert "train: 636 rows where the official split has 635" in data.notes


def test_the_whole_folder_goes_before_the_sample(tmp_path: Path) -> None:
    for folder, text in (("RTE-sample", "sample"), ("RTE", "whole")):
        for split in ("train", "validation"):
            write(tmp_path / folder / f"{split}.tsv", "sentence1|sentence2|label", f"{text}|b|1")
    assert build("rte", tmp_path, tmp_path / "out").train[0].text == "whole"


def test_the_checksum_follows_every_split(tmp_path: Path) -> None:
    checksums = set()
    for text in ("a", "b", "a"):
        for split in ("train", "validation"):
            write(tmp_path / "RTE" / f"{split}.tsv", "sentence1|sentence2|label", "x|y|1")
        write(tmp_path / "RTE" / "test.tsv", "sentence1|sentence2", f"{text}|b")
        checksums.add(build("rte", tmp_path, tmp_path / "out").checksum)
    assert len(checksums) == 2


def test_a_local_task_without_validation_rows_is_scored_on_its_test_rows(tmp_path: Path) -> None:
    """IMDb as published: the test rows are what is scored, and they are not answered twice."""
    write(tmp_path / "train.tsv", "text|label", "good|1", "bad|0")
    write(tmp_path / "test.tsv", "text|label", "poor|0", "fine|1", "fair|1")
    task = LocalTask(path=str(tmp_path), columns=TableColumns(text="text"), labels=["0", "1"], validation_split="test")
    build_task("imdb", task, tmp_path / "out" / "manifest.json", tmp_path)
    splits = read_task(tmp_path / "out" / "manifest.json").splits
    assert {name: [row.label for row in rows] for name, rows in splits.items()} == {
        "train": [1, 0],
        "validation": [0, 1, 1],
    }


def test_a_local_task_may_have_test_rows_without_labels(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write(tmp_path / f"{split}.tsv", "sentence|label", f"{split} a|yes", f"{split} b|no")
    task = LocalTask(path=str(tmp_path), columns=TableColumns(), labels=["no", "yes"])
    for test, expected in ((("sentence", "c"), [None]), (("sentence|label", "c|", "d|yes"), [None, 1])):
        write(tmp_path / "test.tsv", *test)
        build_task("t", task, tmp_path / "out" / "manifest.json", tmp_path)
        data = read_task(tmp_path / "out" / "manifest.json")
        assert [example.label for example in data.splits["test"]] == expected
    assert (data.metrics, data.score_range, data.glue, data.unordered) == (["accuracy", "f1"], None, None, False)
    splits = read_json(tmp_path / "out" / "manifest.json")["splits"]
    assert splits["test"]["label_counts"] == {"yes": 1} and splits["test"]["official_rows"] is None
