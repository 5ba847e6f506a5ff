"""The best model under limits of size, latency and memory: what `electralab best` prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from electralab.errors import UserError
from electralab.names import NO_MODEL
from electralab.report.benchmarks import milliseconds
from electralab.report.candidates import AXES, Axis, Candidate, candidates, workload_text
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.statistics.comparisons import Arm
from electralab.report.statistics.differences import difference_text
from electralab.report.tables.score_cells import score_text
from electralab.report.text import listing, megabytes

LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*(MB|ms)", re.IGNORECASE)
AXIS = {axis.name: axis for axis in AXES}


class Limit(NamedTuple):
    """The most that a model may cost, as it was written, and in the unit of the axis."""

    axis: Axis
    text: str
    most: float


def limits(under: Sequence[str], memory: str | None = None) -> list[Limit]:
    """Read `25MB` (files of weights) and `5ms` (latency); `memory` is of the process.

    Raises:
        UserError: one is not written so, or one kind is there twice.
    """
    found = [_limit(text, None) for text in under]
    found += [] if memory is None else [_limit(memory, "memory")]
    if len({limit.axis.name for limit in found}) < len(found):
        raise UserError(f"--under {' --under '.join(under)}: give one limit in MB and one in ms at most")
    return found


def _limit(text: str, axis: str | None) -> Limit:
    read = LIMIT.fullmatch(text.strip())
    if read is None or (axis and read[2].lower() != "mb"):
        flag, example = ("--under-memory", "120MB") if axis else ("--under", "25MB or 5ms")
        raise UserError(f"{flag} {text}: write a number and its unit, as {example}")
    return Limit(AXIS[axis or ("size" if read[2].lower() == "mb" else "latency")], text, float(read[1]))


class Choice(NamedTuple):
    """What was chosen; `highest` scores highest under the limits, and is another one where no difference is shown."""

    chosen: Candidate
    highest: Candidate
    artifact: Path


def choose(results: Results, task: str, asked: Sequence[Limit]) -> Choice:
    """The smallest model under all limits to which none of the others is shown to score higher.

    Models of which nothing was kept have no path and are left out. One seed in common with the highest mean shows
    nothing: then that one is chosen.

    Raises:
        UserError: the task is unknown, nothing is known of a cost that is limited, or nobody is under the limits.
    """
    runs, every = results.finetuned, candidates(results)
    tasks = list(dict.fromkeys(one.task for one in every))
    if task not in tasks:
        raise UserError(f"--task {task}: {results.folder} has no finished run on it; there are {listing(tasks)}")
    own = [one for one in every if one.task == task and artifact(runs, one) is not None]
    known = [one for one in own if all(limit.axis.cost(one) for limit in asked)]
    _check_known(results, task, asked, own, known)
    under = [one for one in known if _excess(one, asked) <= 1]
    if not under:
        raise UserError(_nobody(runs, task, asked, min(known, key=lambda one: _excess(one, asked))))
    highest = max(under, key=lambda one: (one.score.mean, *(-cost for cost in _costs(one))))
    alike = [one for one in under if one.arm == highest.arm or _not_lower(runs, one, highest, under)]
    chosen = min(alike, key=lambda one: (*_costs(one), -one.score.mean))
    found = artifact(runs, chosen)
    assert found is not None, "others were left out"
    return Choice(chosen, highest, found)


def artifact(runs: Runs, one: Candidate) -> Path | None:
    """The folder that its run left: of the seed that was timed, else of the first; None where nothing was kept."""
    if not one.bytes:
        return None
    rows = runs.finetuned
    rows = rows[(rows["task"] == one.task) & (rows["model"] == one.model) & (rows["method"] == one.method)]
    rows = rows[rows["cost.bytes_on_disk"].fillna(0) > 0].sort_values("seed")
    if one.timing is not None:
        rows = rows[rows["seed"] == one.timing.seed]
    return None if rows.empty else Path(str(rows["record"].iloc[0])).parent / "model"


def lines(results: Results, choice: Choice) -> list[str]:
    """The model, its numbers and its path."""
    runs, one = results.runs, choice.chosen
    found = [
        f"{one.name(runs)} on {one.task}",
        f"  score    {score_text(one.score)} ({METRICS[runs.metric(one.task)]})",
        f"  size     {megabytes(one.bytes)} MB",
    ]
    if one.milliseconds and one.timing:
        middle, low, high = map(milliseconds, one.milliseconds)
        found.append(f"  latency  {middle} ms [{low}, {high}]: {workload_text(one.timing)}")
    if one.memory:
        found.append(f"  memory   {megabytes(one.memory)} MB of the process")
    found.append(f"  artifact {choice.artifact}")
    if choice.highest.arm != one.arm:
        difference = difference_text(runs.difference(one.task, one.arm, choice.highest.arm))
        found.append(
            f"Smaller, and no difference shown ({difference}), than {choice.highest.name(runs)}, "
            f"{score_text(choice.highest.score)}."
        )
    return found + _baselines(runs, one)


def _baselines(runs: Runs, one: Candidate) -> list[str]:
    """What needs no model, beside it."""
    found = []
    for method, name in runs.baselines().items():
        value = runs.baseline_score(one.task, method)
        if value is not None:
            more = runs.difference(one.task, one.arm, Arm(NO_MODEL, method))
            found.append(f"Without a model: {name} {value:.3f}; this one scores {difference_text(more)} more.")
    return found


def _costs(one: Candidate) -> tuple[float, float]:
    """By which one is smaller: bytes, then milliseconds, which tell backends apart."""
    return one.bytes or 0.0, one.milliseconds.median if one.milliseconds else float("inf")


def _not_lower(runs: Runs, one: Candidate, highest: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether a difference to the highest is known, and none to any other shows it to score lower.

    The highest alone would not do: where it scatters over seeds, no difference to it is shown.
    """
    difference = runs.difference(one.task, one.arm, highest.arm)
    if difference is None or difference.verdict == "unknown":
        return one.score.mean == highest.score.mean
    found = [runs.difference(one.task, one.arm, other.arm) for other in others]
    return not any(other and other.verdict == "lower" for other in found)


def _excess(one: Candidate, asked: Sequence[Limit]) -> float:
    """The greatest share of a limit that it takes."""
    return max(
        ((limit.axis.cost(one) or 0.0) / limit.most if limit.most else float("inf") for limit in asked), default=0.0
    )


def _check_known(
    results: Results, task: str, asked: Sequence[Limit], own: Sequence[Candidate], known: Sequence[Candidate]
) -> None:
    if not own:
        raise UserError(f"{results.folder} has no model on {task} of which anything was kept: see save_model")
    for limit in asked:
        if not any(limit.axis.cost(one) for one in own):
            raise UserError(
                f"{results.folder} knows the {limit.axis.head} of no model on {task}, so none is known to be under "
                f"{limit.text}: add a benchmark with batches of one length to the experiment, or leave this limit out"
            )
    if not known:
        raise UserError(f"{results.folder} has no model on {task} of which all that is limited is known")


def _nobody(runs: Runs, task: str, asked: Sequence[Limit], nearest: Candidate) -> str:
    costs = []
    for limit in asked:
        cost = limit.axis.cost(nearest) or 0.0
        shown = milliseconds(cost) if limit.axis.unit == "ms" else megabytes(1e6 * cost)
        costs.append(f"{limit.axis.head} {shown} {limit.axis.unit}")
    return (
        f"no model on {task} is under {listing([limit.text for limit in asked])}: the nearest is "
        f"{nearest.name(runs)} ({', '.join(costs)})"
    )
