"""Searches that are killed, shared, damaged or misled: no trial lost, none run twice, one line where nothing helps."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from electralab.config import Lora, Search
from electralab.errors import UserError
from electralab.names import EPOCH_SCORE
from electralab.records import Meter, RunRecord, write_record
from electralab.search.study import Report, SearchSpec, run_search
from electralab.specs import RunSpec

TRIALS = 20
SPACE = {"rank": [2, 4, 8, 16], "alpha": {"low": 1.0, "high": 64.0, "log": True}}


def search_spec(trials: int = TRIALS, **more: Any) -> SearchSpec:
    values = {"model": "m", "task": "t", "method": "lora", "space": SPACE, "trials": trials, **more}
    base = RunSpec(model="m", task="t", chain=["lora"], seed=0, settings=Lora(), extensions=[], pretraining_recipe=None)
    return SearchSpec(name="s", settings=Search.model_validate(values), base=base)


class SyntheticTrial:
    """Scores alpha, and notes in a file shared by all processes which trials began and which ended."""

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        self.folder, self.seconds = folder, seconds

    def __call__(self, spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        assert isinstance(spec.settings, Lora)
        trial = spec.scored_on == "tuning"
        if trial:
            self.note("began", record_path, spec.settings)
            time.sleep(self.seconds)
        meter = Meter("cpu", 1)
        record = RunRecord(
            stage="run",
            model=spec.model,
            seed=spec.seed,
            recipe="fixed",
            metrics={"score": -abs(spec.settings.alpha - 8)},
            cost=meter.cost(),
            provenance=meter.provenance(),
            spec=spec.model_dump(mode="json"),
        )
        write_record(record_path, record)
        if trial:
            self.note("ended", record_path, spec.settings)
        return record

    def note(self, what: str, record_path: Path, options: Lora) -> None:
        line = {"what": what, "trial": int(record_path.parent.name), "process": os.getpid()}
        line["options"] = {"rank": options.rank, "alpha": options.alpha}
        with (self.folder / "executions.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def executions(folder: Path, what: str) -> list[dict[str, Any]]:
    path = folder / "executions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["what"] == what]


def search(folder: Path, run_trial: Any = None, **changed: Any) -> dict[str, Any]:
    run_search(search_spec(**changed), folder / "search.json", run_trial or SyntheticTrial(folder), inputs={})
    return json.loads((folder / "search.json").read_text())


def worker(folder: Path, prepare: str = "", seconds: float = 0.0) -> subprocess.Popen[str]:
    """The same search in a process of its own; `prepare` is code that arranges for its death."""
    code = f"import os, signal, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += "from pathlib import Path; from test_search_faults import SyntheticTrial, search\n"
    code += f"folder = Path({str(folder)!r}); run_trial = SyntheticTrial(folder, {seconds})\n{prepare}\n"
    code += "search(folder, run_trial)\n"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> int:
    output, _ = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), output
    return process.returncode


def outcome(found: dict[str, Any]) -> list[Any]:
    return [(trial["trial"], trial["options"], trial["score"]) for trial in found["trials"]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The search that nothing happens to: random search draws the same in every other test."""
    found = search(tmp_path_factory.mktemp("undisturbed"))
    assert len(found["trials"]) == TRIALS
    return found


# --- kill -9 ----------------------------------------------------------------------------------------------------


DEATHS = {
    "in a trial": """
note = run_trial.note
def die(what, record_path, options):
    note(what, record_path, options)
    if record_path.parent.name == "7":
        os.kill(os.getpid(), signal.SIGKILL)
run_trial.note = die
""",
    "between the record and the journal": """
from electralab.search import study as module
tell = module._tell
def die(study, trial, *more):
    if trial.number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    tell(study, trial, *more)
module._tell = die
""",
    "between two options": """
import optuna
suggest = optuna.Trial.suggest_categorical
def die(trial, *more):
    if trial.number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return suggest(trial, *more)
optuna.Trial.suggest_categorical = die
""",
    "while it writes the journal": """
from electralab.search import journal
release = journal._JournalLock.release
def die(lock):
    path = lock._journal
    if path.read_bytes().count(b'"param_name"') == 15:
        os.truncate(path, path.stat().st_size - 9)
        os.kill(os.getpid(), signal.SIGKILL)
    release(lock)
journal._JournalLock.release = die
""",
}


@pytest.mark.parametrize("death", DEATHS)
def test_killed_search_goes_on_where_it_was(tmp_path: Path, undisturbed: dict[str, Any], death: str) -> None:
    assert ended(worker(tmp_path, DEATHS[death])) == -signal.SIGKILL
    assert not (tmp_path / "search.json").exists()
    before = executions(tmp_path, "began")
    assert len(before) == (8 if death in ("in a trial", "between the record and the journal") else 7)

    found = search(tmp_path)
    assert outcome(found) == outcome(undisturbed)
    runs = Counter(line["trial"] for line in executions(tmp_path, "ended"))
    assert runs == dict.fromkeys(range(TRIALS), 1)
    again = [line for line in executions(tmp_path, "began")[len(before) :] if line["trial"] <= 7]
    if death == "in a trial":
        assert [line["options"] for line in again] == [before[7]["options"]]
    elif death == "between the record and the journal":
        assert again == []


def test_search_killed_again_and_again(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    generator, deaths = random.Random(0), 0
    while True:
        process = worker(tmp_path, seconds=0.1)
        began = len(executions(tmp_path, "began"))
        while process.poll() is None and len(executions(tmp_path, "began")) == began:
            time.sleep(0.01)  # it imports first
        time.sleep(generator.uniform(0, 1.5))  # too short for 20 trials
        process.kill()
        if ended(process) == 0:
            break
        deaths += 1
    assert deaths >= 1
    assert outcome(json.loads((tmp_path / "search.json").read_text())) == outcome(undisturbed)
    assert max(Counter(line["trial"] for line in executions(tmp_path, "ended")).values()) == 1
    for line in executions(tmp_path, "began"):
        assert line["options"] == undisturbed["trials"][line["trial"]]["options"]


# --- two workers ------------------------------------------------------------------------------------------------


def test_two_workers_share_a_search(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    workers = [worker(tmp_path, seconds=0.1) for _ in range(2)]
    assert [ended(process) for process in workers] == [0, 0]
    found = json.loads((tmp_path / "search.json").read_text())
    assert outcome(found) == outcome(undisturbed)
    for what in ("began", "ended"):
        assert Counter(line["trial"] for line in executions(tmp_path, what)) == dict.fromkeys(range(TRIALS), 1)
    shares = Counter(line["process"] for line in executions(tmp_path, "ended"))
    assert len(shares) == 2
    assert min(shares.values()) >= 3


def test_worker_takes_over_from_one_that_is_killed(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    """The one waits for the other's trial, its own being all done, and finishes it when the other dies."""
    hang = """
import time
note = run_trial.note
def wait(what, record_path, options):
    note(what, record_path, options)
    if record_path.parent.name == "2":
        time.sleep(1000)
run_trial.note = wait
"""
    hanging = worker(tmp_path, hang)
    while not any(line["trial"] == 2 for line in executions(tmp_path, "began")):
        time.sleep(0.01)
    healthy = worker(tmp_path)
    while len(executions(tmp_path, "ended")) < TRIALS - 1:
        time.sleep(0.01)
    time.sleep(0.5)
    assert healthy.poll() is None
    assert not (tmp_path / "search.json").exists()
    hanging.kill()
    assert ended(hanging) == -signal.SIGKILL
    assert ended(healthy) == 0
    assert outcome(json.loads((tmp_path / "search.json").read_text())) == outcome(undisturbed)
    assert Counter(line["trial"] for line in executions(tmp_path, "ended")) == dict.fromkeys(range(TRIALS), 1)
    assert Counter(line["trial"] for line in executions(tmp_path, "began"))[2] == 2


def test_other_settings_wait_for_the_search_that_is_running(tmp_path: Path) -> None:
    process = worker(tmp_path, seconds=1000)
    try:
        while not executions(tmp_path, "began"):
            time.sleep(0.01)
        with pytest.raises(UserError, match=r"another process searches in .* with other settings or inputs: wait"):
            search(tmp_path, seed=1)
    finally:
        process.kill()
        ended(process)
    assert len(search(tmp_path, seed=1, trials=3)["trials"]) == 3


# --- what lies in the folder ------------------------------------------------------------------------------------


DAMAGES = {
    "a line in the middle": lambda text: text[:400] + "\0\0\0" + text[400:],
    "the last line": lambda text: text + "not json\n",
    "other JSON": lambda text: text + "[1, 2]\n",
    "another file": lambda text: "number,score\n1,2\n",
    "an unknown operation": lambda text: text + '{"op_code": 99, "worker_id": "w"}\n',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_journal_is_one_line_and_its_trials_are_kept(
    tmp_path: Path, undisturbed: dict[str, Any], damage: str
) -> None:
    search(tmp_path)
    journal = tmp_path / "journal.log"
    journal.write_text(DAMAGES[damage](journal.read_text()))
    with pytest.raises(
        UserError, match=r"journal.log is damaged .*: delete it and run the same command again"
    ) as caught:
        search(tmp_path)
    assert "\n" not in str(caught.value)
    journal.unlink()
    assert outcome(search(tmp_path)) == outcome(undisturbed)
    assert len(executions(tmp_path, "began")) == TRIALS


class Learning(SyntheticTrial):
    """Four epochs, the last of which is not reported, as in a run."""

    def __call__(self, spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        assert isinstance(spec.settings, Lora)
        scores = {epoch: -abs(spec.settings.alpha - 8) * (1 + 1 / epoch) for epoch in (1, 2, 3)}
        if report is not None:
            for epoch, score in scores.items():
                report(epoch, score)
        record = super().__call__(spec, record_path, report)
        record.metrics |= {f"{EPOCH_SCORE}{epoch}": score for epoch, score in scores.items() if report is not None}
        write_record(record_path, record)
        return record


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_lost_journal_changes_no_trial_of_a_search_that_learns_and_prunes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    """TPE and the pruner read the scores after every epoch: they come from the records, and so do the draws."""
    settings = {"sampler": "tpe", "median_pruning": True}
    found = search(tmp_path, Learning(tmp_path), **settings)
    assert found["counts"]["pruned"] > 3 and found["counts"]["ok"] > 3
    began = executions(tmp_path, "began")
    os.truncate(tmp_path / "journal.log", int(share * (tmp_path / "journal.log").stat().st_size))
    assert search(tmp_path, Learning(tmp_path), **settings) == found
    assert executions(tmp_path, "began") == began
    lacking = re.search(r"journal.log lacks (\d+) trials that have records", capsys.readouterr().err)
    assert lacking and int(lacking[1]) >= TRIALS // 3
    assert not list(tmp_path.glob("**/earlier-*"))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_journal_that_lost_its_end_loses_no_trial(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    """A machine that loses power may lose what was written last, in the middle of a line."""
    folder = tmp_path_factory.mktemp("cut")
    found = search(folder, trials=4)
    journal = folder / "journal.log"
    os.truncate(journal, int(share * journal.stat().st_size))
    assert outcome(search(folder, trials=4)) == outcome(found)
    assert len(executions(folder, "began")) == 4


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 1}', None])
def test_record_that_is_not_of_this_run_is_not_taken(
    tmp_path: Path, undisturbed: dict[str, Any], content: str | None
) -> None:
    """Half a record, or one with other options, in the folder of a trial that lost its worker."""

    class Interrupted(SyntheticTrial):
        def __call__(self, spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
            if record_path.parent.name == "7":
                raise KeyboardInterrupt
            return super().__call__(spec, record_path, report)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Interrupted(tmp_path))
    if content is None:
        content = (tmp_path / "trials" / "6" / "run.json").read_text()
    (tmp_path / "trials" / "7" / "run.json").write_text(content)
    assert outcome(search(tmp_path)) == outcome(undisturbed)
    assert (tmp_path / "trials" / "7" / "earlier-1.json").read_text() == content
    assert Counter(line["trial"] for line in executions(tmp_path, "ended")) == dict.fromkeys(range(TRIALS), 1)


# --- what goes wrong in a trial ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cause", [OSError(28, "No space left on device"), FileNotFoundError(2, "No such file")], ids=["full", "missing"]
)
def test_full_disk_or_missing_file_ends_the_search_and_costs_no_trial(
    tmp_path: Path, undisturbed: dict[str, Any], cause: OSError
) -> None:
    class Unlucky(SyntheticTrial):
        def __call__(self, spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
            if record_path.parent.name == "4":
                raise UserError("not the options' fault") from cause
            return super().__call__(spec, record_path, report)

    with pytest.raises(UserError, match="not the options' fault"):
        search(tmp_path, Unlucky(tmp_path))
    assert len(executions(tmp_path, "began")) == 4
    found = search(tmp_path)
    assert outcome(found) == outcome(undisturbed)
    assert found["counts"] == {"ok": TRIALS, "failed": 0, "pruned": 0}


def test_programming_error_is_not_swallowed_and_costs_no_trial(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    class Broken(SyntheticTrial):
        def __call__(self, spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
            if record_path.parent.name == "4":
                raise ZeroDivisionError
            return super().__call__(spec, record_path, report)

    with pytest.raises(ZeroDivisionError):
        search(tmp_path, Broken(tmp_path))
    assert outcome(search(tmp_path)) == outcome(undisturbed)
    assert Counter(line["trial"] for line in executions(tmp_path, "ended")) == dict.fromkeys(range(TRIALS), 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [9, 15], ids=["pruned", "ok"])
def test_interrupted_trial_meets_the_end_that_it_would_have_met(tmp_path: Path, number: int) -> None:
    """Its epochs are in the journal already: they are neither reported again nor complained about."""

    class Epochs(SyntheticTrial):
        def __call__(self, spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
            assert isinstance(spec.settings, Lora)
            for epoch in (1, 2) if report is not None else ():
                try:
                    assert report is not None
                    report(epoch, -abs(spec.settings.alpha - 8))
                finally:
                    if interrupted and record_path.parent.name == str(number):
                        raise KeyboardInterrupt
            return super().__call__(spec, record_path, report)

    interrupted = False
    whole = search(tmp_path / "whole", Epochs(tmp_path), median_pruning=True)
    assert [whole["trials"][number]["status"] for number in (9, 15)] == ["pruned", "ok"]
    interrupted = True
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "parts", Epochs(tmp_path), median_pruning=True)
    interrupted = False
    parts = search(tmp_path / "parts", Epochs(tmp_path), median_pruning=True)
    statuses = [[trial["status"] for trial in found["trials"]] for found in (whole, parts)]
    assert statuses[0] == statuses[1]
    assert outcome(whole) == outcome(parts)
