"""The console in real Snakemake runs of a tiny workflow: what is said, how often, and that no error is hidden."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SNAKEFILE = """
from electralab.console.owner import own_working_directory

own_working_directory()


rule all:
    input:
        expand("{name}.txt", name=["a", "b", "c"]),


rule make:
    output:
        "{name}.txt",
    log:
        "logs/{name}.log",
    message:
        "Make {wildcards.name}"
    shell:
        "(echo first of {wildcards.name} >&2; COMMAND; echo 'result: {wildcards.name} scores .7' >&2; touch {output})"
        " 2> {log}"
"""


def workflow(folder: Path, command: str = "true", snakefile: str = SNAKEFILE) -> Path:
    path = folder / "Snakefile"
    path.write_text(snakefile.replace("COMMAND", command))
    return path


def command(*arguments: str, logger: str = "electralab") -> list[str]:
    chosen = ["--logger", logger] if logger else []
    return [sys.executable, "-m", "snakemake", "--cores", "2", "--keep-going", *arguments, *chosen]


def run(folder: Path, *arguments: str, logger: str = "electralab") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, logger=logger), cwd=folder, capture_output=True, text=True, check=False)


def test_two_lines_a_job_the_second_with_its_result(tmp_path: Path) -> None:
    workflow(tmp_path)
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert sorted(lines) == sorted(
        [f"start  Make {name}" for name in "abc"] + [f"done   {name} scores .7" for name in "abc"]
    )
    again = run(tmp_path)
    assert again.stderr.splitlines() == ["Nothing to be done (all requested files are present and up to date)."]


def test_a_failure_is_told_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    workflow(tmp_path, "if [ {wildcards.name} = b ]; then echo the reason >&2; exit 3; fi")
    done = run(tmp_path)
    assert done.returncode == 1
    assert (tmp_path / "a.txt").exists() and (tmp_path / "c.txt").exists()
    lines = done.stderr.splitlines()
    assert "FAILED Make b (rule make, exit status 3)" in lines
    assert done.stderr.count("the reason") == 1
    assert "       | the reason" in lines
    assert "       the whole log: logs/b.log" in lines
    assert sum("run the same command again" in line for line in lines) == 1
    assert "Traceback" not in done.stderr


def test_a_retry_that_fails_alike_is_one_line_and_one_that_succeeds_is_done(tmp_path: Path) -> None:
    workflow(tmp_path, "if [ {wildcards.name} = b ]; then echo no >&2; exit 3; fi")
    failing = run(tmp_path, "--retries", "2")
    assert failing.stderr.count("| no") == 1
    assert failing.stderr.count("FAILED again, as before: Make b") == 2
    workflow(tmp_path, "if [ {wildcards.name} = b ] && [ ! -e once ]; then touch once; exit 3; fi")
    mended = run(tmp_path, "--retries", "1")
    assert mended.returncode == 0
    assert "FAILED Make b" in mended.stderr and "done   b scores .7" in mended.stderr


def test_a_run_that_recorded_its_failure_is_told_as_failed(tmp_path: Path) -> None:
    snakefile = """
rule one:
    output: "x/run.json"
    message: "Train x"
    shell: "echo '{{\\"status\\": \\"failed\\", \\"reason\\": \\"the loss is nan\\"}}' > {output}"
"""
    workflow(tmp_path, snakefile=snakefile)
    done = run(tmp_path)
    assert done.returncode == 0
    assert re.search(r"^FAILED Train x: failed: the loss is nan, \d s$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("snakefile", "arguments", "expected"),
    [
        ('rule a:\n    input: "gone.txt"\n    output: "a.txt"\n    shell: "true"', [], "MissingInputException"),
        ('rule a:\n    output: "a.txt"\n    shell: "true"', [], "MissingOutputException"),
        ('rule a:\n    output: "a.txt"\n    run:\n        raise ValueError("of the run")', [], "of the run"),
        ('rule a:\n    output: "{x}.txt"\n    shell: ""\nrule b:\n    output: "a.{y}"', ["a.txt"], "Ambiguous"),
        ('rule a:\n    output: "a.txt"\n    shell: "{nothing}"', [], "NameError"),
        ("rule a\n", [], "SyntaxError"),
        ('raise ValueError("in the Snakefile")', [], "in the Snakefile"),
    ],
    ids=["input", "output", "run", "ambiguous", "name", "syntax", "python"],
)  # fmt: skip
def test_errors_of_snakemake_are_shown(tmp_path: Path, snakefile: str, arguments: list[str], expected: str) -> None:
    workflow(tmp_path, snakefile=snakefile + "\n")
    done = run(tmp_path, *arguments, "--latency-wait", "0")
    assert done.returncode == 1
    assert expected in done.stderr


def test_a_config_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    workflow(tmp_path)
    (tmp_path / "mine.yaml").write_text("x: 1\n")
    for words, missing in ((["nowhere.yaml"], "nowhere.yaml"), (["mine.yaml", "all"], "all")):
        done = run(tmp_path, "--configfile", *words)
        assert done.returncode == 1
        remedy = "--configfile takes every word after it: put targets before it"
        assert done.stderr.splitlines() == [f"electralab: there is no config file {missing!r}; {remedy}"]


def test_what_is_no_run_is_snakemakes_own(tmp_path: Path) -> None:
    workflow(tmp_path)

    def output(*arguments: str, logger: str) -> list[str]:
        done = run(tmp_path, *arguments, logger=logger)
        assert done.returncode == 0
        text = re.sub(
            r"\[\w{3} \w{3} +\d+ [\d:]+ \d{4}\]|Date: .*|Workflow ID: .*|Command: .*", "", done.stdout + done.stderr
        )
        # Snakemake numbers and lists jobs in no fixed order.
        return sorted(re.findall(r"[^\s,]+", re.sub(r"Job \d+|Building DAG of jobs\.+", "", text)))

    for arguments in (["-n"], ["--summary"]):
        ours, theirs = (output(*arguments, logger=logger) for logger in ("electralab", ""))
        assert ours == theirs, arguments


@pytest.mark.parametrize(
    ("quiet", "expected"), [("all", 0), ("rules", 0), ("progress", 3)], ids=["all", "rules", "progress"]
)
def test_quiet_is_quiet_and_failures_are_not(tmp_path: Path, quiet: str, expected: int) -> None:
    # Without progress Snakemake does not tell which jobs have finished.
    workflow(tmp_path)
    assert len(run(tmp_path, "--quiet", quiet).stderr.splitlines()) == expected
    workflow(tmp_path, "exit 3")
    assert "FAILED Make a" in run(tmp_path, "--quiet", quiet, "--forceall").stderr


def test_a_terminal_has_a_bar(tmp_path: Path) -> None:
    workflow(tmp_path, "sleep 1.5")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(), cwd=tmp_path, stderr=theirs, stdout=theirs, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        shown = b""
        while process.poll() is None or select.select([ours], [], [], 0.1)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    text = shown.decode()
    assert process.returncode == 0
    assert re.search(r"█*░* +\d+ % of the work done, \d of 4 jobs, about \d+ s left", text)
    assert text.rstrip().rpartition("\x1b[K")[2] == "" or "done   " in text.rstrip().rpartition("\x1b[K")[2]


def started(folder: Path) -> subprocess.Popen[str]:
    """A Snakemake that is in the middle of a job."""
    process = subprocess.Popen(
        command(), cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # a group of its own, to be killed whole
    deadline = time.monotonic() + 60
    while not (folder / "logs/a.log").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGHUP], ids=["KILL", "HUP"])
def test_the_same_command_goes_on_after_a_kill(tmp_path: Path, which: signal.Signals) -> None:
    workflow(tmp_path, "[ -e go ] || sleep 60")
    killed = started(tmp_path)
    os.killpg(killed.pid, which)
    killed.communicate()
    assert list((tmp_path / ".snakemake/locks").glob("*.lock"))
    (tmp_path / "go").touch()
    done = run(tmp_path, "--rerun-incomplete")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("electralab: cleared the lock of a Snakemake that was killed") == 1
    assert (tmp_path / "a.txt").exists()


def test_the_lock_of_one_that_lives_is_respected(tmp_path: Path) -> None:
    workflow(tmp_path, "[ -e go ] || sleep 60")
    living = started(tmp_path)
    second = run(tmp_path, "--rerun-incomplete")
    assert second.returncode == 1
    assert "LockException" in second.stderr
    assert "cleared" not in second.stderr
    assert living.poll() is None
    os.killpg(living.pid, signal.SIGKILL)
    living.communicate()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="the system does not list its processes")
def test_the_lock_of_another_workflow_that_lives_is_respected(tmp_path: Path) -> None:
    workflow(tmp_path, "[ -e go ] || sleep 60", SNAKEFILE.replace("own_working_directory()\n", ""))
    living = started(tmp_path)
    workflow(tmp_path)
    second = run(tmp_path, "--rerun-incomplete")
    assert second.returncode == 1
    assert "LockException" in second.stderr
    os.killpg(living.pid, signal.SIGKILL)
    living.communicate()
    assert run(tmp_path, "--rerun-incomplete").returncode == 0


def test_a_lock_of_another_host_is_left_alone(tmp_path: Path) -> None:
    workflow(tmp_path, "[ -e go ] || sleep 60")
    killed = started(tmp_path)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    (tmp_path / ".snakemake/electralab/owner").write_text("node17")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "locked, last by node17" in done.stderr and "LockException" in done.stderr
    assert run(tmp_path, "--unlock").returncode == 0
    (tmp_path / "go").touch()
    assert run(tmp_path, "--rerun-incomplete").returncode == 0
