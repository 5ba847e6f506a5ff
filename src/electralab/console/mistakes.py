"""Mistakes in the config and on Snakemake's command line: one line with a remedy, and nothing around it."""

from __future__ import annotations

import re

from electralab.catalogue import FIGURES, TABLES
from electralab.errors import did_you_mean
from electralab.plan import Plan

OURS = re.compile(r"^WorkflowError in .+\n(electralab: .+)$", re.MULTILINE)  # what the Snakefile raises
NO_CONFIG = re.compile(r", in load_configfile\b.*FileNotFoundError: .*: '([^']+)'", re.DOTALL)
NO_RULE = re.compile(r"^No rule to produce (.+) \(if you use input", re.MULTILINE)

_targets: list[str] = []  # rules without wildcards, then files
_experiment = ""


def know(plan: Plan, rules: list[str]) -> None:
    """Remember what can be asked for, once the Snakefile has been read: files of the plan, and the named targets."""
    global _experiment
    _experiment = plan.experiment.name
    _targets[:] = [*rules, *plan.records, *plan.retention_records, *plan.search_results, *plan.results(TABLES, FIGURES)]


def told(text: str) -> str | None:
    """What to say instead of Snakemake's text about such a mistake; None about anything else."""
    ours = OURS.search(text)
    if ours:
        return ours[1]
    config = NO_CONFIG.search(text)
    if config:
        return (
            f"electralab: there is no config file {config[1]!r}; --configfile takes every word after it: put targets "
            "before it"
        )
    target = NO_RULE.search(text)
    if target and _targets:
        return (
            f"electralab: No rule to produce {target[1]} in the experiment {_experiment}"
            f"{did_you_mean(target[1], _targets)} (snakemake --list-rules names targets; --configfile, behind the "
            "target, chooses another experiment)"
        )
    return None
