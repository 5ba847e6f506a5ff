"""Prune As You Tune beside what it has to beat: the same model dense, pruned first, pruned later, or without LoRA."""

from __future__ import annotations

from dataclasses import dataclass

from electralab.names import chain_links
from electralab.report.compression import link_kinds
from electralab.report.entries import reference
from electralab.report.pruning import AS_YOU_TUNE, NO_TEACHER, Line, line_of, teacher
from electralab.report.runs import FULL, Cell, Runs
from electralab.report.statistics.comparisons import Arm as ComparedArm
from electralab.report.statistics.differences import Difference

KINDS = (FULL, "lora", "rslora", "prune_full", AS_YOU_TUNE, "prune", "recover")  # of last links, in the table's order


@dataclass(frozen=True)
class Competitor:
    """A chain on a task with a model; `reference` is the chain that prunes and then tunes a LoRA, if there is one."""

    line: Line
    reference: str | None
    minus_reference: Difference | None
    trainable: float | None
    teacher: str


def competitors(runs: Runs) -> dict[tuple[str, str], list[Competitor]]:
    """Of every task and model with such a method: all that is trained whole or with LoRA, and what is pruned of it."""
    asked = set(zip(runs.frame["task"], runs.frame["model"], runs.frame["method"]))
    found = {}
    for task in dict.fromkeys(cell.task for cell in runs.cells):
        for model in runs.finetuned_models:
            own = [chain for chain in runs.kinds if (task, model, chain) in asked and _competes(runs, chain)]
            if any(runs.kinds[chain] == AS_YOU_TUNE for chain in own):
                found[task, model] = _of_model(runs, task, model, own)
    return found


def _competes(runs: Runs, chain: str) -> bool:
    return all(kind in KINDS for kind in link_kinds(runs, chain))


def _of_model(runs: Runs, task: str, model: str, own: list[str]) -> list[Competitor]:
    full = reference(runs, task, model, own)
    dense, first = full.method if full else None, next((c for c in own if _prunes_first(runs, c)), None)
    order = sorted(own, key=lambda c: (c != dense, KINDS.index(runs.kinds[c]), len(chain_links(c)), own.index(c)))
    return [_competitor(runs, line_of(runs, task, model, chain, dense), first) for chain in order]


def _prunes_first(runs: Runs, chain: str) -> bool:
    """Prune, then LoRA: no teacher, nothing interleaved."""
    once = runs.kinds[chain] == AS_YOU_TUNE and runs.setting(chain, "growth") == "once"
    return once and teacher(runs, chain) == NO_TEACHER and not runs.setting(chain, "mix_corpus")


def _competitor(runs: Runs, line: Line, first: str | None) -> Competitor:
    compared = first if first != line.chain else None
    arms = [ComparedArm(line.model, chain) for chain in (line.chain, compared) if chain]
    return Competitor(
        line,
        first,
        runs.difference(line.cell.task, *arms) if compared else None,
        runs.typical(_trained_cell(line), line.model, "metric.trainable_parameters", "parameters.trainable"),
        teacher(runs, line.chain),
    )


def _trained_cell(line: Line) -> Cell:
    """The link of a chain that was trained, which pruning in one shot follows."""
    return line.cell if line.kinds[-1] != "prune" else Cell(line.cell.task, chain_links(line.chain)[0])
