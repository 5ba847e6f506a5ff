"""What is said when a run begins and ends: the Snakefile's `onstart`, `onsuccess` and `onerror`.

`plan` is the experiment's plan, `workflow` Snakemake's own object of that name. All is said through Snakemake's logger,
so that it also stands in Snakemake's log and is there without our logger plugin. Nothing said here may end a run.
"""

from __future__ import annotations

import functools
import logging
import shlex
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from electralab.console.guess import guessed_seconds
from electralab.console.plugin import PLANNED, at_once
from electralab.console.status import Runs
from electralab.console.summary import answers
from electralab.console.work import Job, Work
from electralab.plan import Plan
from electralab.progress import duration

logger = logging.getLogger("snakemake.logging")
MOST_SENTENCES = 3


def _harmless(hook: Callable[[Plan, Any], None]) -> Callable[[Plan, Any], None]:
    @functools.wraps(hook)
    def safe(plan: Plan, workflow: Any) -> None:
        try:
            hook(plan, workflow)
        except Exception as error:
            logger.info(f"({hook.__name__}: no summary: {type(error).__name__}: {error})")

    return safe


@_harmless
def start(plan: Plan, workflow: Any) -> None:
    """How many runs of which kinds, about how long, how to follow them."""
    needed = list(workflow.dag.needrun_jobs())
    work = Work(
        {job.jobid: _job(plan, job) for job in needed if job.output},
        [_job(plan, job, _earlier_seconds(job)) for job in workflow.dag.jobs],
    )
    work.cores, work.gpus = at_once(workflow.global_resources)
    recorded = set(plan.records)
    runs = Counter(job.rule.name for job in needed if recorded.intersection(map(str, job.output)))
    kinds = f" ({', '.join(f'{rule} {count}' for rule, count in sorted(runs.items()))})" if len(runs) > 1 else ""
    name = plan.experiment.name
    text = (
        f"{name}: {sum(runs.values())} of {len(recorded)} runs to do{kinds}, {len(work.jobs)} jobs in all; "
        f"very roughly {duration(work.seconds_left)}\n"
    )
    longest = max(needed, key=lambda job: work.expected(work.jobs[job.jobid]) if job.output else 0.0)
    text += "follow it in another terminal: electralab status"
    if longest.log:
        text += f", or tail -f {Path(longest.log[0]).parent}/*.log"
    logger.info(text, extra={"event": PLANNED, "work": work, "experiment": name, "records": plan.records})


@_harmless
def success(plan: Plan, workflow: Any) -> None:
    """Where the results are, the most important sentences, how to open the report; runs that failed."""
    name = plan.experiment.name
    results = Path("results") / name
    lines = [f"{name}: done after {_elapsed(workflow)}"]
    tables, figures = sorted(results.glob("tables/*.md")), sorted(results.glob("figures/*.svg"))
    if tables or figures:
        lines[0] += f"; tables: {len(tables)} in {results}/tables, figures: {len(figures)} in {results}/figures"
        lines += [f"- {sentence}" for sentence in answers(results / "tables", plan.tables)[:MOST_SENTENCES]]
    lines += Runs.read(plan.records).failures()
    if tables or figures:
        files = [str(file) for file in workflow.config_settings.configfiles]
        overlay = f" --configfile {shlex.join(files)}" if files else ""
        lines.append(f"all on one page: snakemake --cores 1 --report report.html{overlay}, then open report.html")
    logger.info("\n".join(lines))


@_harmless
def error(plan: Plan, workflow: Any) -> None:
    """What failed, its log, and that the same command goes on."""
    lines = [f"{plan.experiment.name}: stopped after {_elapsed(workflow)}"]
    for job in sorted(workflow.scheduler.failed, key=lambda job: job.jobid):
        log = f": {', '.join(map(str, job.log))}" if job.log else ""
        lines.append(f"- failed: {job.message or job.rule.name}{log}")
    lines += Runs.read(plan.records).failures()
    lines.append("run the same command again to go on: what is finished is kept")
    logger.info("\n".join(lines))


def _job(plan: Plan, job: Any, seconds: float | None = None) -> Job:
    gpu = int(job.resources.get("gpu", 0) or 0)
    guess = guessed_seconds(plan, getattr(job.params, "spec", None), gpu)
    return Job(job.rule.name, dict(job.wildcards_dict), guess, job.threads, gpu, seconds=seconds)


def _earlier_seconds(job: Any) -> float | None:
    """What the job took when it last ran: Snakemake's `benchmark` file."""
    if not job.benchmark:
        return None
    try:
        header, values = Path(str(job.benchmark)).read_text(encoding="utf-8").splitlines()[:2]
        return float(dict(zip(header.split("\t"), values.split("\t")))["s"])
    except (OSError, ValueError, KeyError):
        return None


def _elapsed(workflow: Any) -> str:
    return duration((datetime.now() - workflow.start_time).total_seconds())
