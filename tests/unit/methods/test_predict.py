"""`electralab predict`: the answers of a run's `predictions.csv`, from what it left, for every form of artifact."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chains import fetched, run_chain
from finetune_task import write_task

from electralab.cli import main
from electralab.config import TfidfBaseline
from electralab.methods.run import Inputs, run_job
from electralab.names import NO_MODEL
from electralab.specs import RunSpec

TRAINED = {"learning_rates": [1e-2], "epochs": 1, "batch_size": 16, "max_length": 64, "max_train_rows": 64}
FULL = {"kind": "full", "layerwise_lr_decay": 1.0, **TRAINED}
LORA = {"kind": "lora", **TRAINED}
RUNS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "full": ("encoder", "words", {"full": FULL}),
    "mean": ("encoder", "pairs", {"full": FULL | {"pooling": "mean"}}),
    "two_layers": ("encoder", "words", {"full": FULL | {"head": "huggingface"}}),
    "regression": ("encoder", "scores", {"full": FULL}),
    "probe": ("encoder", "words", {"probe": {"kind": "linear_probe", **TRAINED}}),
    "lora": ("encoder", "pairs", {"lora": LORA}),
    "lora_scores": ("encoder", "scores", {"lora": LORA}),
    "merged_half": ("encoder", "words", {"lora": LORA, "merge": {"kind": "merge"}, "half": {"kind": "half"}}),
    "decoder": ("opt", "words", {"full": FULL}),
    "decoder_lora": ("opt", "words", {"lora": LORA | {"rank": 2}}),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def tasks(root: Path) -> dict[str, Path]:
    return {
        "words": write_task(root / "words"),
        "pairs": write_task(root / "pairs", pair=True),
        "scores": write_task(root / "scores", labels="scores"),
    }


@pytest.fixture(scope="module")
def models(root: Path) -> dict[str, Path]:
    return {kind: fetched(root, kind) for kind in ("encoder", "opt")}


def left(root: Path, tasks: dict[str, Path], models: dict[str, Path], name: str) -> Path:
    """The folder of the last link of a run, which is there after the first call."""
    model, task, links = RUNS[name]
    folder = root / "runs" / name
    if not folder.exists():
        run_chain(folder, tasks[task], models[model], **links)
    return folder / "+".join(links)


def rows_of(task: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in task.with_name("validation.jsonl").read_text().splitlines()]


def answered(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def agree(found: list[dict[str, str]], wanted: list[dict[str, str]]) -> None:
    assert len(found) == len(wanted) == 200
    scores = [name for name in wanted[0] if name.startswith("score_")] or ["prediction"]
    for one, other in zip(found, wanted):
        assert scores == ["prediction"] or one["prediction"] == other["prediction"]
        assert [float(one[name]) for name in scores] == pytest.approx([float(other[name]) for name in scores], abs=2e-5)


@pytest.mark.parametrize("name", RUNS)
def test_every_validation_row_is_answered_as_the_run_answered_it(
    root: Path, tasks: dict[str, Path], models: dict[str, Path], name: str, tmp_path: Path
) -> None:
    folder, rows = left(root, tasks, models, name), rows_of(tasks[RUNS[name][1]])
    table, out = tmp_path / "rows.csv", tmp_path / "answers.tsv"
    with table.open("w", newline="") as file:
        columns = ["first", "second"] if rows[0]["pair"] else ["first"]
        csv.writer(file).writerows([columns, *([row["text"], row["pair"]][: len(columns)] for row in rows)])
    asked = ["predict", str(folder), "--file", str(table), "--columns", *columns, "--out", str(out), "--device", "cpu"]
    assert main(asked) == 0
    with out.open(newline="") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    agree(found, answered(folder))
    assert [(row["text"], row["pair"] or None) for row in found] == [(row["text"], row["pair"]) for row in rows]


def test_jsonl_lines_and_arguments(
    root: Path, tasks: dict[str, Path], models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rows = left(root, tasks, models, "lora"), rows_of(tasks["pairs"])
    wanted, out = answered(folder), tmp_path / "answers.jsonl"
    # The file of the task itself has our columns, a text file has a pair behind a tab.
    lines = tmp_path / "rows.txt"
    lines.write_text("".join(f"{row['text']}\t{row['pair']}\n" for row in rows))
    for file in (tasks["pairs"].with_name("validation.jsonl"), lines):
        assert main(["predict", str(folder / "model"), "--file", str(file), "--out", str(out), "--device", "cpu"]) == 0
        found = [json.loads(line) for line in out.read_text().splitlines()]
        agree([{**row, **{f"score_{name}": x for name, x in row["scores"].items()}} for row in found], wanted)
    manifest = str(folder / "model" / "manifest.json")
    capsys.readouterr()
    texts = [rows[0]["text"], rows[1]["text"], "--pair", rows[0]["pair"], rows[1]["pair"], "--device", "cpu"]
    assert main(["predict", manifest, *texts]) == 0
    said = list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))
    assert [row["prediction"] for row in said] == [row["prediction"] for row in wanted[:2]]
    assert [float(row["score_yes"]) for row in said] == pytest.approx(
        [float(row["score_yes"]) for row in wanted[:2]], abs=2e-5
    )


def test_standard_input_without_the_libraries_of_the_pipeline(
    root: Path, tasks: dict[str, Path], models: dict[str, Path]
) -> None:
    """In a process that has neither `datasets` nor `snakemake` nor `optuna`."""
    folder = left(root, tasks, models, "full")
    code = "import sys; sys.modules.update(dict.fromkeys(('datasets', 'snakemake', 'optuna', 'sklearn')))\n"
    code += "from electralab.cli import main; sys.exit(main())"
    texts = "".join(f"{row['text']}\n" for row in rows_of(tasks["words"]))
    command = [sys.executable, "-c", code, "predict", str(folder), "--device", "cpu"]
    done = subprocess.run(command, input=texts, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    agree(list(csv.DictReader(io.StringIO(done.stdout), delimiter="\t")), answered(folder))


def test_what_cannot_be_answered_is_one_line(
    root: Path, tasks: dict[str, Path], models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = TfidfBaseline(max_train_rows=96)
    counts = RunSpec(model=NO_MODEL, task="words", chain=["tfidf"], seed=0, settings=settings)
    run_job(counts, tmp_path / "tfidf" / "run.json", Inputs(tasks["words"]))
    single, pairs = left(root, tasks, models, "full"), left(root, tasks, models, "lora")
    table, empty = tmp_path / "rows.csv", tmp_path / "empty.csv"
    table.write_text("sentence\nw1\n")
    empty.write_text('text,n\nw1,1\n"",2\n')
    for arguments, words in (
        ([tmp_path / "tfidf", "w1"], "holds nothing to open: counts of words are not kept"),
        ([tmp_path, "w1"], "holds nothing that a run left: name the folder `model` of a run"),
        ([single, "w1", "--pair", "w2"], "text 1: the model was trained on single texts (task toy)"),
        ([pairs, "w1"], "text 1: the model was trained on pairs of texts (task toy): give the second one with --pair"),
        ([pairs, "w1", "w2", "--pair", "w3"], "2 texts and 1 second texts (--pair): give one for each"),
        ([single, "--file", table], "no column 'text'; it has sentence"),
        ([single, "--file", empty], "empty.csv, row 3, column 'text': empty"),
        ([single, "--file", tmp_path / "none.txt"], "none.txt: No such file or directory"),
        ([single, "w1", "--file", table], "texts as arguments and a file: give one of them"),
    ):
        assert main(["predict", *map(str, arguments), "--device", "cpu"]) == 1, words
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1 and words in said[0], said
