"""Which files of this machine a spec stands for, and that what they hold is part of what a job is told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from experiments import changed

from electralab.config import load_experiment, load_to_run, local
from electralab.config.local import text_files
from electralab.errors import UserError
from electralab.names import CHECKSUMS
from electralab.plan import Plan


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus, a task, a GLUE task and a model; the working directory is another folder."""
    for name in ("text/deep", "task", "glue/RTE", "cwd"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "text" / "a.txt").write_text("one")
    (tmp_path / "text" / "deep" / "b.jsonl").write_text('{"text": "two"}\n')
    for folder in ("task", "glue/RTE"):
        for split in ("train", "validation"):
            (tmp_path / folder / f"{split}.tsv").write_text(f"sentence\tlabel\n{split}\t0\n")
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (tmp_path / "model" / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def told(data: Path) -> dict[str, str]:
    values = changed("corpora.mine", {"parts": [{"source": "local", "path": str(data / "text")}]})
    values["tasks"]["mine"] = {"source": "local", "path": str(data / "task"), "labels": ["0", "1"]}
    values["tasks"]["rte"] = {
        "source": "glue",
        "task": "rte",
        "location": {"source": "local", "path": str(data / "glue")},
    }
    values["models"]["mine"] = {"kind": "local", "path": str(data / "model")}
    plan = Plan(load_experiment(values))
    return {
        "text": plan.corpus_spec("mine"),
        "task": plan.task_spec("mine"),
        "glue": plan.task_spec("rte"),
        "model": plan.model_spec("mine"),
    }


EDITS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an edit": ("text", lambda data: (data / "text" / "a.txt").write_text("One")),
    "a new file": ("text", lambda data: (data / "text" / "deep" / "new.txt").write_text("three")),
    "a file that is gone": ("text", lambda data: (data / "text" / "deep" / "b.jsonl").unlink()),
    "a row of a task": ("task", lambda data: (data / "task" / "train.tsv").open("a").write("more\t1\n")),
    "a new split": ("task", lambda data: (data / "task" / "test.tsv").write_text("sentence\nnew\n")),
    "a row of GLUE": ("glue", lambda data: (data / "glue" / "RTE" / "validation.tsv").open("a").write("more\t1\n")),
    "a model's vocabulary": ("model", lambda data: (data / "model" / "vocab.txt").open("a").write("new\n")),
    "a model's weights": ("model", lambda data: (data / "model" / "model.safetensors").open("ab").write(b"\0")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_local_files_is_told_to_those_who_build_from_them_and_to_nobody_else(data: Path, edit: str) -> None:
    before = told(data)
    what, make = EDITS[edit]
    make(data)
    after = told(data)
    assert [name for name in before if before[name] != after[name]] == [what]


def test_what_is_only_touched_copied_or_not_read_is_the_same(data: Path) -> None:
    before = told(data)
    (data / "text" / "README.md").write_text("no text of this corpus")
    (data / "task" / "notes.csv").write_text("no split")
    (data / "model" / "optimizer.pt").write_bytes(b"state")
    for path in data.rglob("*"):
        os.utime(path, (1, 1))
    assert told(data) == before
    assert hashlib.sha256(b"".join(
        f"{hashlib.sha256((data / 'task' / f'{split}.tsv').read_bytes()).hexdigest()}\n".encode()
        for split in ("train", "validation")
    )).hexdigest() in before["task"]  # fmt: skip


def test_a_large_file_is_read_once_until_its_size_or_its_times_change(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "REMEMBERED", 3)
    read: list[str] = []
    real = local.sha256
    monkeypatch.setattr(local, "sha256", lambda path: (read.append(path.name), real(path))[1])
    before = told(data)
    assert Path(CHECKSUMS).exists() and "a.txt" in read
    read.clear()
    assert told(data) == before and not read
    (data / "text" / "a.txt").write_text("two")
    assert told(data) != before and read == ["a.txt"]
    Path(CHECKSUMS).write_text("{")
    assert told(data)["task"] == before["task"]


def test_a_checksum_that_the_config_gives_must_be_that_of_the_files(data: Path) -> None:
    (data / "text" / "deep" / "b.jsonl").unlink()
    part = {"source": "local", "path": str(data / "text")}
    default = Path(__file__).resolve().parents[3] / "config.yaml"
    right, wrong = (
        changed("corpora.mine", {"parts": [{**part, "sha256": checksum}]}) | {"name": "mine"}
        for checksum in (hashlib.sha256(b"one").hexdigest(), "0" * 64)
    )
    for values in (right, wrong):
        values["pretraining"]["tiny"]["corpus"] = "mine"
    load_to_run(right, default)
    with pytest.raises(UserError, match=r"corpora\.mine\.parts\[0\]\.sha256: the files have the checksum 7692c"):
        load_to_run(wrong, default)


@pytest.mark.parametrize("folder", ["[2020] news", "a*b", "what?", "plain"])
def test_a_path_that_exists_is_that_path_whatever_marks_it_holds(tmp_path: Path, folder: str) -> None:
    for name in (folder, "2", "other"):
        (tmp_path / name).mkdir(exist_ok=True)
        for file in ("one.txt", "two.jsonl"):
            (tmp_path / name / file).write_text("{}")
    assert text_files(str(tmp_path / folder / "one.txt")) == [tmp_path / folder / "one.txt"]
    assert text_files(str(tmp_path / folder)) == [tmp_path / folder / "one.txt", tmp_path / folder / "two.jsonl"]
    assert text_files(str(tmp_path / "oth*" / "*.txt")) == [tmp_path / "other" / "one.txt"]


def test_a_table_may_be_a_folder_of_its_parts(tmp_path: Path) -> None:
    parts = [tmp_path / "in" / "data.parquet" / f"part-{number}.snappy.parquet" for number in range(2)]
    for path in (*parts, tmp_path / "in" / "data.parquet" / "_SUCCESS", tmp_path / "in" / "a.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert text_files(str(tmp_path / "in")) == [tmp_path / "in" / "a.txt", *parts]
    assert text_files(str(tmp_path / "in" / "*.parquet")) == parts
    assert text_files(str(tmp_path / "in" / "data.parquet")) == parts
