"""The GLUE server's submission format, from constructed predictions."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from report_experiment import Builder

from electralab.cli import main
from electralab.data.example import Example
from electralab.data.glue import GLUE
from electralab.errors import UserError
from electralab.finetune.predictions import write_predictions
from electralab.report.submission import check_submission, write_submission

# What `wc -l *.tsv` says of a submission that the server took: official test rows and a header.
LINES = {
    "AX.tsv": 1105,
    "CoLA.tsv": 1064,
    "MNLI-mm.tsv": 9848,
    "MNLI-m.tsv": 9797,
    "MRPC.tsv": 1726,
    "QNLI.tsv": 5464,
    "QQP.tsv": 390966,
    "RTE.tsv": 3001,
    "SST-2.tsv": 1822,
    "STS-B.tsv": 1380,
    "WNLI.tsv": 147,
}
WORDS = {
    "AX.tsv": {"entailment", "neutral", "contradiction"},
    "MNLI-m.tsv": {"entailment", "neutral", "contradiction"},
    "MNLI-mm.tsv": {"entailment", "neutral", "contradiction"},
    "QNLI.tsv": {"entailment", "not_entailment"},
    "RTE.tsv": {"entailment", "not_entailment"},
}
TASKS = {
    "cola": {"test": "CoLA.tsv"},
    "sst2": {"test": "SST-2.tsv"},
    "mrpc": {"test": "MRPC.tsv"},
    "stsb": {"test": "STS-B.tsv"},
    "qqp": {"test": "QQP.tsv"},
    "mnli": {"test": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv", "ax": "AX.tsv"},
    "qnli": {"test": "QNLI.tsv"},
    "rte": {"test": "RTE.tsv"},
    "wnli": {"test": "WNLI.tsv"},
}


def answered(builder: Builder, task: str, seed: int, score: float, rows: int | None = None) -> Path:
    """A run record and its predictions of every test split, which are a function of the seed."""
    record = builder.finetune("minilm", task, seed, score, glue=task)
    random = np.random.default_rng(seed)
    for split, file in TASKS[task].items():
        count = rows or LINES[file] - 1
        # The ids of a file need not count from 0: official test files have their own.
        examples = [Example(str(row + 7), "", None, None) for row in range(count)]
        if task == "stsb":
            answers = random.uniform(-1, 6, count)
        else:
            answers = np.log(random.dirichlet(np.ones(3 if task == "mnli" else 2), count))
        write_predictions(record.with_name(f"predictions_{split}.csv"), examples, answers, list(GLUE[task].labels))
    return record


def test_complete_submission_has_the_servers_shape_and_header(builder: Builder, tmp_path: Path) -> None:
    for task in TASKS:
        answered(builder, task, 0, 0.8)
    out = tmp_path / "minilm.zip"
    assert write_submission(builder.records, out) == []
    check_submission(out)
    with zipfile.ZipFile(out) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {name: text.count("\n") for name, text in files.items()} == LINES
    for name, text in files.items():
        rows = [line.split("\t") for line in text.splitlines()]
        assert rows[0] == ["index", "prediction"]
        assert [row[0] for row in rows[1:]] == [str(index) for index in range(len(rows) - 1)]
        answers = {row[1] for row in rows[1:]}
        if name == "STS-B.tsv":
            assert min(map(float, answers)) == 0 and max(map(float, answers)) == 5
        else:
            assert answers == WORDS.get(name, {"0", "1"})


def test_answers_are_those_of_the_best_run_on_validation(builder: Builder, tmp_path: Path) -> None:
    for seed, score in enumerate([0.6, 0.7, 0.5]):
        answered(builder, "rte", seed, score)
    out = tmp_path / "minilm.zip"
    missing = write_submission(builder.records, out)
    assert missing == json.loads(out.with_suffix(".json").read_text())["missing"]
    assert set(missing) == set(LINES) - {"RTE.tsv"}
    chosen = json.loads(out.with_suffix(".json").read_text())["answers"]["RTE.tsv"]
    assert (chosen["seed"], chosen["validation_score"]) == (1, 0.7)
    expected = (builder.records[1].with_name("predictions_test.csv")).read_text().splitlines()[1:]
    with zipfile.ZipFile(out) as archive:
        given = [line.split("\t")[1] for line in archive.read("RTE.tsv").decode().splitlines()[1:]]
    assert given == [line.split(",")[2] for line in expected]


def test_the_same_predictions_make_the_same_zip(builder: Builder, tmp_path: Path) -> None:
    answered(builder, "wnli", 0, 0.5)
    for name in ("a", "b"):
        write_submission(builder.records, tmp_path / f"{name}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_sample_of_the_test_rows_is_refused(
    builder: Builder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(builder, "mrpc", 0, 0.8, rows=100)
    out = tmp_path / "minilm.zip"
    assert main(["submission", *map(str, builder.records), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert "MRPC.tsv has 100 answers and GLUE's test split 1,725 rows" in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_no_test_rows_is_said(builder: Builder, tmp_path: Path) -> None:
    builder.finetune("minilm", "rte", 0, 0.6, glue="rte")
    with pytest.raises(UserError, match="no run has answered a GLUE test split"):
        write_submission(builder.records, tmp_path / "minilm.zip")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("RTE.tsv", "id\tprediction\n", "the header is"),
        ("WNLI.tsv", "index\tprediction\n" + "".join(f"{row + 1}\t0\n" for row in range(146)), "is not row 0"),
        ("WNLI.tsv", "index\tprediction\n" + "".join(f"{row}\tentailment\n" for row in range(146)), "is not row 0"),
        (
            "STS-B.tsv",
            "index\tprediction\n" + "".join(f"{row}\t{row / 200}\n" for row in range(1379)),
            "is not row 1001",
        ),
        ("readme.txt", "", "not a file of a GLUE submission"),
    ],
)
def test_a_wrong_file_is_found(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text)
    with pytest.raises(UserError, match=said):
        check_submission(path)
