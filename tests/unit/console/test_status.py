"""`electralab status` on hand-made records."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from electralab.cli import main
from electralab.config import read_experiment
from electralab.console import owner
from electralab.console.state import Running, State
from electralab.console.summary import answers
from electralab.names import artifact_in
from electralab.plan import Plan
from electralab.records import Cost, Meter, RunRecord, write_record

ROOT = Path(__file__).resolve().parents[3]
PRESET = ROOT / "workflow" / "presets" / "smoke.yaml"
RECORDS = Plan(read_experiment([ROOT / "config.yaml", PRESET])).records


def record(
    path: str,
    status: str = "ok",
    reason: str | None = None,
    source: str | None = None,
    stage: str = "run",
    notes: Sequence[str] = (),
) -> None:
    provenance = Meter("cpu", 1).provenance()
    if source is not None:
        provenance = provenance.model_copy(update={"source_hash": source})
    cost = Cost(wall_seconds=1.0, cpu_seconds=1.0, peak_rss_bytes=1)
    made = RunRecord(
        stage=stage,
        notes=list(notes),
        model="m",
        seed=0,
        status=status,
        reason=reason,
        recipe="full",
        cost=cost,
        provenance=provenance,
        spec={},
    )
    write_record(Path(path), made)
    manifest = Path(artifact_in(str(Path(path).parent)))
    manifest.parent.mkdir()
    manifest.write_text('{"files": {"weights.bin": "its checksum"}}')
    manifest.with_name("weights.bin").touch()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def status(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = main(["status", "--configfile", str(PRESET)])
    return code, capsys.readouterr().out.splitlines()


def test_nothing_is_there_yet(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = status(capsys)
    assert code == 0
    assert lines == [
        f"smoke: 0 of {len(RECORDS)} runs done, 0 running, 0 failed, 0 skipped, {len(RECORDS)} left; "
        "Snakemake is not running here"
    ]


def test_every_kind_of_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    record(RECORDS[0])
    record(RECORDS[1], "failed", "the loss is nan at step 3")
    record(RECORDS[2], "skipped", "it has no such layers")
    record(RECORDS[3], source="other")
    Path(RECORDS[4]).parent.mkdir(parents=True)
    Path(RECORDS[4]).write_text("{")
    code, lines = status(capsys)
    folders = [str(Path(path).parent) for path in RECORDS]
    assert code == 1
    assert lines[0].startswith(f"smoke: 2 of {len(RECORDS)} runs done, 0 running, 2 failed, 1 skipped, ")
    assert f"- failed: {folders[1]}: the loss is nan at step 3" in lines
    assert f"- skipped: {folders[2]}: it has no such layers" in lines
    assert any(line.startswith(f"- failed: {folders[4]}: {RECORDS[4]} is damaged") for line in lines)
    assert lines[-1].startswith(f"1 records were made by other source than the present (the first: {folders[3]})")


def test_a_run_whose_model_has_gone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    record(RECORDS[0])
    record(RECORDS[1])
    weights = Path(artifact_in(str(Path(RECORDS[1]).parent))).with_name("weights.bin")
    weights.unlink()
    code, lines = status(capsys)
    assert code == 0
    assert lines[0].startswith(f"smoke: 2 of {len(RECORDS)} runs done, 0 running, 0 failed, ")
    (line,) = lines[1:]
    assert line.startswith(
        f"1 finished runs have lost files of their models (the first: {weights}): if they are needed, "
    )


def test_what_runs_is_told_with_its_last_line_while_its_snakemake_lives(capsys: pytest.CaptureFixture[str]) -> None:
    log = Path("a.log")
    log.write_text("m seed 0: step 1/9, loss 2, 95 s left\rm seed 0: step 5/9, loss 1, 50 s left\n\n")
    job = Running("Pretrain m, seed 0", str(log), [RECORDS[0]], time.time() - 200)
    State("smoke", RECORDS, [job], ["Write table t: no such table (t.log)"]).write()
    code, lines = status(capsys)
    assert code == 1
    assert lines[1:] == ["- failed in the latest Snakemake: Write table t: no such table (t.log)"]
    owning = "import sys, electralab.console.owner as o; o.own_working_directory(); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", owning], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout is not None
        living.stdout.readline()
        assert owner.is_owned()
        assert main(["status"]) == 1  # of what is running here, not of config.yaml
        lines = capsys.readouterr().out.splitlines()
        living.kill()
    assert lines[0].startswith(f"smoke: 0 of {len(RECORDS)} runs done, 1 running, ")
    assert lines[0].endswith("Snakemake is running here")
    assert lines[1] == "- running for 3 min: Pretrain m, seed 0: m seed 0: step 5/9, loss 1, 50 s left"
    assert not owner.is_owned()


def test_a_pretraining_that_is_not_healthy_is_told_while_it_runs_and_afterwards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record(RECORDS[0], stage="pretrain", notes=["the generator is too strong: take a smaller one"])
    record(RECORDS[1], notes=["a note of a run on a task"])
    Path("a.log").write_text("warning: m: it has not learnt\nm: step 5/9, 50 s left\n")
    State("smoke", RECORDS, [Running("Pretrain m", "a.log", [RECORDS[2]], time.time())]).write()
    lock = owner.OWNER
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        main(["status"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "- running for 0 s: Pretrain m: m: step 5/9, 50 s left",
        "  look at it: m: it has not learnt",
    ]
    assert f"- {Path(RECORDS[0]).parent}: the generator is too strong: take a smaller one" in lines
    assert not any("a note of a run" in line for line in lines)


def test_status_imports_nothing_heavy() -> None:
    code = "import sys, electralab.console.status; print({'snakemake', 'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_answers_are_first_sentences_below_titles(tmp_path: Path) -> None:
    pages = {
        "a": "# A\n\n**Models of 0.5 M parameters learn.** Nothing else is known.\n\n| x |\n",
        "b": "# B\n\n| x |\n|---|\n",
        "c": "# C\n\nIt is\nso. And so.\n",
        "d": f"# D\n\nIt {'really ' * 40}is.\n",
    }
    for name, text in pages.items():
        (tmp_path / f"{name}.md").write_text(text)
    (tmp_path / "e.md").write_text(
        "# E\n\n- **task:** One thing holds. Another does not.\n- **other:** Nothing.\n\n| a |\n"
    )
    assert answers(tmp_path, ["c", "c"]) == ["It is so."]
    assert answers(tmp_path, ["e"]) == ["task: One thing holds."]
    assert answers(tmp_path, ["c", "missing", "d", "b", "a"]) == ["It is so.", "Models of 0.5 M parameters learn."]
