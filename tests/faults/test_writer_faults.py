"""Two processes at one output: a rerun beside an orphan that a killed Snakemake left is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from electralab.cli import main
from electralab.config import FullFinetuning, Pretraining
from electralab.files import only_writer
from electralab.specs import PretrainSpec, RunSpec

NONE = "nowhere/manifest.json"
RUN = RunSpec(model="m", task="t", chain=["full"], seed=0, settings=FullFinetuning()).canonical()
PRETRAINING = Pretraining(corpus="c", tokenizer="t", generator_sizes=[0.25])
PRETRAIN = PretrainSpec(model="m-g25", generator_size=0.25, seed=0, settings=PRETRAINING).canonical()
VERBS = {
    "corpus": ["c", "--spec", '{"parts":[{"source":"package","datasets":["news_articles"]}]}'],
    "task": ["t", "--spec", '{"source":"package","dataset":"boolq"}', "--inputs"],
    "model": ["m", "--spec", '{"kind":"package"}'],
    "tokenizer": ["--spec", '{"kind":"package"}', "--inputs"],
    "tokens": ["--corpus", NONE, "--tokenizer", NONE],
    "pretrain": ["--spec", PRETRAIN, "--tokens", NONE, "--tokenizer", NONE],
    "run": ["--spec", RUN, "--task", NONE],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_second_writer_is_refused(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "seed-0"
    with only_writer(folder):
        assert main([verb, *VERBS[verb], "--out", str(folder / "out.json")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"electralab: another process is still writing to {folder}: wait for it to end or stop it, then run again"
    ]
    assert [path.name for path in folder.iterdir()] == [".lock"]
