"""Run records: what is written is what is read, and anything else is refused."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from electralab.errors import UserError
from electralab.files import only_writer
from electralab.records import (
    Meter,
    RunRecord,
    read_record,
    source_hash,
    versions,
    write_record,
)


def make_record(**changes: Any) -> RunRecord:
    meter = Meter(device="cpu", threads=1, data={"corpus": "0" * 64})
    values: dict[str, Any] = {
        "stage": "run",
        "model": "tiny-g25",
        "task": "boolq",
        "method": "quick_full",
        "seed": 3,
        "recipe": "paper",
        "extensions": ["unigram_warmup"],
        "metrics": {"accuracy": 0.625, "loss": 1e-12},
        "cost": meter.cost(flops={"electra_paper": 1.29e18}, parameters={"total": 13_549_314}, tokens=10),
        "provenance": meter.provenance(),
        "spec": {"epochs": 3},
    }
    return RunRecord(**(values | changes))


def test_round_trip_is_exact(tmp_path: Path) -> None:
    record = make_record()
    write_record(tmp_path / "run.json", record)
    assert read_record(tmp_path / "run.json") == record


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ({"seed": "three"}, "seed"),
        ({"stage": "guess"}, "stage"),
        ({"status": "fine"}, "status"),
        ({"colour": "red"}, "colour"),
        ({"cost": {}}, "cost"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, damage: dict[str, Any], named: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(make_record().model_dump(mode="json") | damage))
    with pytest.raises(UserError, match=rf"run\.json is not a run record \({named}.*delete it") as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


def test_a_record_of_an_older_schema_says_so_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(make_record().model_dump(mode="json") | {"schema_version": 1, "stage": "finetune"}))
    with pytest.raises(UserError, match=r"run\.json is a record of schema 1, .* reads 2: delete it and run") as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


def test_unknown_field_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="colour"):
        make_record(colour="red")


def test_cost_goes_on_after_a_restart() -> None:
    first = Meter(device="cpu", threads=1)
    time.sleep(0.02)
    second = Meter(device="cpu", threads=1, earlier_wall=first.wall_seconds, earlier_cpu=100.0)
    assert second.wall_seconds >= 0.02
    assert second.cpu_seconds >= 100.0
    assert second.cost().gpu_seconds is None
    assert second.cost().peak_rss_bytes > 1_000_000


def test_cpu_seconds_count_work_not_waiting() -> None:
    meter = Meter(device="cpu", threads=1)
    time.sleep(0.3)
    assert meter.cpu_seconds < 0.2 <= 0.3 <= meter.wall_seconds


def test_provenance_names_this_code_and_machine(root: Path) -> None:
    provenance = make_record().provenance
    if (root / ".git").exists():
        head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        assert provenance.git_commit == (head.stdout.strip() or None)
    assert provenance.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert provenance.versions == versions()
    assert provenance.source_hash == source_hash()
    assert provenance.started <= provenance.ended


def test_lock_keeps_a_second_process_out(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from electralab.errors import UserError; from electralab.files import only_writer\n"
        "try:\n"
        "    with only_writer(Path(sys.argv[1])): print('entered')\n"
        "except UserError as error: print(error)\n"
    )

    def other() -> str:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with only_writer(tmp_path):
        assert "another process is still writing" in other()
    assert other() == "entered"
