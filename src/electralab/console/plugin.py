"""`snakemake --logger electralab`: a line at the start and the end of a job, how much is done, how long it takes.

An error in a logger mutes Snakemake for the rest of the run, so nothing leaves `LogHandler.emit`: what cannot be told
our way is told Snakemake's. What is no run (a dry run, a list, a report) and `--verbose` are Snakemake's own.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase

from electralab.console.logs import last_lines
from electralab.console.mistakes import told
from electralab.console.screen import Screen
from electralab.console.state import Running, State
from electralab.console.work import Work
from electralab.errors import UserError
from electralab.files import read_json
from electralab.progress import duration, result_in, seconds_left

PLANNED = "electralab_planned"  # the event of `hooks.start`: what the run consists of
SECONDS_BETWEEN_TICKS = {True: 1.0, False: 5.0}  # in a terminal; elsewhere
LINES_OF_A_FAILED_LOG = 12
NOISE = (
    *("Assuming unrestricted shared filesystem", "Building DAG of jobs", "Using shell:", "Select jobs to execute"),
    *("Conda environments: ignored", "Singularity containers: ignored", "Group jobs: inactive", "Elapsed time:"),
    *("Complete log(s):", "Config file "),
)
# Snakemake's last words about failed jobs, each of which has been told by then.
SAID_BEFORE = ("Exiting because a job execution failed", "At least one job did not complete successfully")


class LogHandler(LogHandlerBase):
    """What Snakemake finds under the name `electralab`."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        quiet = {str(getattr(kind, "name", kind)).lower() for kind in settings.quiet or ()}
        stream = sys.stdout if settings.stdout else sys.stderr
        self._plain = ColorizingTextHandler(
            settings.nocolor,
            stream,
            DefaultFormatter(settings.quiet, settings.show_failed_logs),
            DefaultFilter(
                settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds
            ),
        )
        self._ours = not (settings.dryrun or settings.verbose or settings.debug_dag)
        self._console = Console(Screen(stream, not settings.nocolor), quiet, settings.printshellcmds)
        self._ended = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record; never raises."""
        try:
            mistake = told(str(record.msg)) if record.levelno >= logging.ERROR else None
            if mistake is not None:
                self._console.screen.line(mistake, alarming=True)
            elif not self._ours:
                self._plain.handle(record)
            elif not (self._console.running or self._begins(record)):
                if not str(record.msg).startswith(NOISE):
                    self._plain.handle(record)
            elif not self._console.tell(record):
                self._console.screen.line(self._plain.format(record), alarming=record.levelno >= logging.WARNING)
        except Exception:
            self._last_resort(record)

    def close(self) -> None:
        """The run is over."""
        self._ended.set()
        with suppress(Exception):
            self._console.end()
        super().close()

    def _begins(self, record: logging.LogRecord) -> bool:
        if getattr(record, "event", None) != "workflow_started":
            return False
        self._console.running = True
        threading.Thread(target=self._tick, name="electralab console", daemon=True).start()
        return True

    def _tick(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_TICKS[self._console.screen.interactive]):
            with suppress(Exception), self.lock:  # type: ignore[union-attr]
                self._console.show_progress()

    def _last_resort(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            if record.levelno >= logging.WARNING or record.msg not in (None, "None"):
                print(record.msg, file=sys.stderr, flush=True)


class Console:
    """Turns Snakemake's events into lines.

    Args:
        screen: where they go.
        quiet: `rules`, `progress` or `all`: what Snakemake was asked not to tell. Errors are always told.
        printshellcmds: whether to show the commands.
    """

    def __init__(self, screen: Screen, quiet: set[str], printshellcmds: bool = False) -> None:
        self.screen, self.running = screen, False
        self._silent = "all" in quiet
        self._show_jobs = not quiet & {"rules", "all"}
        self._show_progress = not quiet & {"progress", "all"}
        self._printshellcmds = printshellcmds
        self._work: Work | None = None
        self._state = State()
        self._cores, self._gpus = 1, 0
        self._started: dict[int, Running] = {}
        self._targets: set[int] = set()
        self._failures: dict[int, list[str]] = {}  # by job: the end of its log
        self._failed: dict[int, str] = {}  # by job: its line in the state
        self._exit_status = ""
        self._tell = {
            PLANNED: self._planned,
            "run_info": self._counted,
            "resources_info": self._resources,
            "job_info": self._job_started,
            "job_finished": self._job_finished,
            "job_error": self._job_failed,
            "error": self._error,
            "shellcmd": self._command,
            **dict.fromkeys(("workflow_started", "job_started", "group_info", "progress", "rulegraph"), self._nothing),
        }

    def tell(self, record: logging.LogRecord) -> bool:
        """Tell a record; False if it is better told by Snakemake's own formatter."""
        event = getattr(record, "event", None)
        if event is not None and str(event) in self._tell:
            return self._tell[str(event)](record)
        text = str(record.msg)
        if record.levelno >= logging.WARNING:
            return bool(self._failures) and text.startswith(SAID_BEFORE)
        if not self._silent and not text.startswith(NOISE):
            self.screen.line(text)
        return True

    def show_progress(self) -> None:
        """Draw the bar, or write a line of progress if it is time."""
        work = self._work
        if work is None or not self._show_progress:
            return
        latest = ""
        for number, job in self._started.items():
            lines = last_lines(job.log) if job.log else []
            left = seconds_left(lines[-1]) if lines else None
            if left is not None:
                latest = lines[-1].rpartition(", ")[0]
            if number in work.jobs:
                work.jobs[number].left = left
        jobs = f"{work.finished} of {len(work.jobs)} jobs" + (f", {len(self._failed)} failed" if self._failed else "")
        text = f"of the work done, {jobs}, about {duration(work.seconds_left)} left"
        self.screen.progress(work.share, f"{text}; {latest}" if latest else text)

    def end(self) -> None:
        """The run is over: take the bar away and note that nothing runs."""
        self.screen.end_progress()
        if self.running:
            self._state.running = []
            self._state.write()

    # --- what Snakemake tells -----------------------------------------------------------------------------------

    def _planned(self, record: Any) -> bool:
        self._take(record.work)
        self._state.name, self._state.records = record.experiment, record.records
        if not self._silent:
            self.screen.line(str(record.msg))
        return True

    def _counted(self, record: Any) -> bool:
        """How many jobs of each rule there are; `hooks.start` knows more where the Snakefile calls it."""
        if self._work is None:
            self._take(Work.of_counts({rule: count for rule, count in record.stats.items() if rule != "total"}))
        return True

    def _resources(self, record: Any) -> bool:
        self._cores = getattr(record, "cores", None) or getattr(record, "nodes", None) or self._cores
        provided = getattr(record, "provided_resources", None)
        if provided is not None:
            self._gpus = at_once(provided)[1]
        return True

    def _take(self, work: Work) -> None:
        self._work = work
        work.cores, work.gpus = self._cores, self._gpus

    def _job_started(self, record: Any) -> bool:
        number, wildcards = record.jobid, dict(record.wildcards or {})
        named = ", ".join(f"{name} {value}" for name, value in wildcards.items())
        title = str(record.rule_msg or "").strip() or " ".join([record.rule_name, named]).strip()
        if not record.output and record.shellcmd is None:  # a target: nothing runs
            self._targets.add(number)
            return True
        if self._work is not None:
            self._work.start(number, record.rule_name, wildcards)
        self._started[number] = Running(title, next(iter(record.log), None), list(record.output), time.time())
        self._note()
        if self._show_jobs:
            self.screen.line(f"start  {title}")
        return True

    def _job_finished(self, record: Any) -> bool:
        number = record.job_id
        if number in self._targets:
            if self._work is not None:
                self._work.fail(number)
            return True
        seconds = self._work.finish(number) if self._work is not None else None
        job = self._started.pop(number, None)
        self._failed.pop(number, None)  # a retry has mended it
        self._note()
        if job is not None:
            failed, text = _outcome(job, seconds)
            if self._show_jobs or failed:
                self.screen.line(f"{'FAILED' if failed else 'done  '} {text}", alarming=failed)
        return True

    def _job_failed(self, record: Any) -> bool:
        job = self._started.pop(record.jobid, None)
        title = job.title if job is not None else record.rule_name
        if self._work is not None:
            self._work.fail(record.jobid)
        logs = [str(log) for log in record.log]
        ends = [last_lines(log)[-LINES_OF_A_FAILED_LOG:] for log in logs]
        end = [line for lines in ends for line in lines]
        reason = ", ".join(text for text in (f"rule {record.rule_name}", record.rule_msg, self._exit_status) if text)
        more = [f"{name}: {value}" for name, value in (record.aux or {}).items()]
        self._exit_status = ""
        before, self._failures[record.jobid] = self._failures.get(record.jobid), end
        self._failed[record.jobid] = f"{title}: {end[-1] if end else reason}" + (f" ({logs[0]})" if logs else "")
        self._note()
        if before == end:
            self.screen.line(f"FAILED again, as before: {title}", alarming=True)
            return True
        self.screen.line(f"FAILED {title} ({reason})", alarming=True)
        told = more + [f"| {line}" for line in end]
        if logs:
            told.append(f"the whole log: {', '.join(logs)}")
        elif record.shellcmd:
            told.append(f"it has no log; its command: {record.shellcmd.strip()}")
        if len(self._failures) == 1:
            told.append("mend that and run the same command again: what is finished is kept")
        self.screen.line("\n".join(f"       {line}" for line in told))
        return True

    def _error(self, record: Any) -> bool:
        """Of a command that failed, Snakemake tells first how it ended, then which job it was."""
        text = str(record.msg)
        ended = re.search(r"CalledProcessError in file .*returned non-zero (exit status \d+)\.$", text, re.DOTALL)
        died = re.search(r"CalledProcessError in file .* died with <Signals\.(\w+)", text, re.DOTALL)
        if ended or died:
            self._exit_status = ended[1] if ended else f"killed by {died[1]}"  # type: ignore[index]
            if self._exit_status in ("exit status 137", "killed by SIGKILL"):
                self._exit_status += ": most often there was too little memory"
            return True
        return bool(self._failures) and any(words in text for words in SAID_BEFORE)

    def _command(self, record: Any) -> bool:
        if self._printshellcmds and record.shellcmd:
            self.screen.line(record.shellcmd)
        return True

    def _nothing(self, _: Any) -> bool:
        return True

    def _note(self) -> None:
        self._state.running, self._state.failed = list(self._started.values()), list(self._failed.values())
        with suppress(OSError, UserError):  # a full disk is told by the jobs
            self._state.write()


def at_once(provided: Any) -> tuple[int, int]:
    """How many cores and GPUs Snakemake may use at once; on a cluster, where cores are not counted, how many jobs."""

    def amount(name: str) -> int:
        value = provided[name] if name in provided else 0  # noqa: SIM401 - its `get` takes no default
        return int(getattr(value, "value", value) or 0)

    return amount("_cores") or amount("_nodes") or 1, amount("gpu")


def _outcome(job: Running, seconds: float | None) -> tuple[bool, str]:
    """Whether a job that ended well has recorded a run that did not, and the line about it."""
    took = f", {duration(seconds)}" if seconds is not None else ""
    for path in job.output:
        if path.endswith("run.json"):
            try:
                record = read_json(Path(path))
            except (UserError, OSError):
                continue
            if record.get("status", "ok") != "ok":
                return record["status"] == "failed", f"{job.title}: {record['status']}: {record.get('reason')}{took}"
    result = result_in(last_lines(job.log)) if job.log else None
    return False, result or f"{job.title}{took}"
