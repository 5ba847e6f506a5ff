"""Methods that were run under two protocols: with one learning rate, and with a budget of rates for each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from electralab.report.learning_rates import learning_rates
from electralab.report.runs import Cell, Runs
from electralab.report.statistics.comparisons import Arm
from electralab.report.statistics.differences import Difference
from electralab.report.statistics.intervals import Summary, summarize

RATES = "spec.settings.learning_rates"


@dataclass(frozen=True)
class Side:
    """A method under one protocol; `score` is None where no run is finished."""

    cell: Cell
    rates: tuple[float, ...]
    by_seed: dict[int, float]
    train_seconds: float | None  # of all rates together
    run_seconds: float | None
    tokens: float | None

    @property
    def method(self) -> str:
        """Its name in the config."""
        return self.cell.method

    @property
    def score(self) -> Summary | None:
        """The scores over seeds."""
        return summarize(list(self.by_seed.values())) if self.by_seed else None

    @property
    def mean(self) -> float:
        """The mean score, where a run is finished."""
        assert self.score is not None, "only finished sides are compared"
        return self.score.mean


@dataclass(frozen=True)
class Pair:
    """A method on a task with a model under both protocols."""

    model: str
    task: str
    one: Side
    budget: Side
    others: tuple[str, ...]  # methods of the same options with yet other rates
    difference: Difference | None  # the score with the budget minus that with one rate


SIDES: dict[str, Callable[[Pair], Side]] = {"one": lambda pair: pair.one, "budget": lambda pair: pair.budget}


def pairs(runs: Runs) -> list[Pair]:
    """Every method with one rate beside that of the same kind, recipe and options which has several to choose from.

    Of several methods with one rate, the one whose rate most methods share is taken, so that the protocol is one rate
    for all wherever that is possible; of several with a budget, the one whose number of rates most methods share.
    """
    rates = {method: learning_rates(runs, method) for method in runs.kinds}
    alike = {place: own for place, own in _alike(runs).items() if {len(rates[m]) > 1 for m in own} == {True, False}}
    shared: Counter[tuple[str, str, tuple[int, float]]] = Counter()
    for (task, model, *_), own in alike.items():
        shared.update({(task, model, _protocol(rates[method])) for method in own})
    found = []
    for (task, model, *_), own in alike.items():
        places = {method: shared[task, model, _protocol(rates[method])] for method in own}
        one = max((method for method in own if len(rates[method]) == 1), key=places.__getitem__)
        budget = max((method for method in own if len(rates[method]) > 1), key=places.__getitem__)
        others = tuple(method for method in own if method not in (one, budget))
        single, several = (_side(runs, model, task, method) for method in (one, budget))
        difference = runs.difference(task, Arm(model, budget), Arm(model, one))
        found.append(Pair(model, task, single, several, others, difference))
    return found


def protocol_methods(runs: Runs) -> set[tuple[str, str, str]]:
    """Model, task and method of everything in `pairs`."""
    return {
        (pair.model, pair.task, method)
        for pair in pairs(runs)
        for method in (pair.one.method, pair.budget.method, *pair.others)
    }


def _protocol(rates: tuple[float, ...]) -> tuple[int, float]:
    """What two methods share that follow the same protocol: the number of rates and, of one, the rate itself."""
    return len(rates), rates[0] if len(rates) == 1 else 0.0


def _alike(runs: Runs) -> dict[tuple[str, ...], list[str]]:
    """Trained methods by task, model and all that they were told but the learning rates."""
    rows = runs.finetunings.drop_duplicates(["task", "model", "method"])
    options = ["kind", *(name for name in rows if str(name).startswith("spec.settings.") and name != RATES)]
    found: dict[tuple[str, ...], list[str]] = {}
    for row in rows.to_dict("records"):
        if learning_rates(runs, row["method"]):
            told = ("" if pd.isna(row[name]) else str(row[name]) for name in options)
            found.setdefault((row["task"], row["model"], *told), []).append(row["method"])
    return found


def _side(runs: Runs, model: str, task: str, method: str) -> Side:
    cell, rates = Cell(task, method), learning_rates(runs, method)
    # A run reports the seconds of the rate that it kept; every rate takes the same steps over the same rows.
    kept = runs.typical(cell, model, "metric.train_seconds")
    return Side(
        cell,
        rates,
        runs.by_seed(cell, model),
        None if kept is None else kept * len(rates),
        runs.typical(cell, model, "cost.wall_seconds"),
        runs.typical(cell, model, "cost.tokens"),
    )


def finished(own: Sequence[Pair]) -> list[Pair]:
    """Those that have a score under both protocols."""
    return [pair for pair in own if pair.one.score and pair.budget.score]


def rank(pair: Pair, own: Sequence[Pair], of: Callable[[Pair], Side]) -> int | None:
    """Place of a method by its mean score among the finished ones, equal ones sharing theirs; None for one alone."""
    known = finished(own)
    if pair not in known or len(known) < 2:
        return None
    return 1 + sum(of(other).mean > of(pair).mean + 1e-12 for other in known)


def swapped(own: Sequence[Pair]) -> list[tuple[Pair, Pair]]:
    """Methods of which one is above under one protocol and below under the other."""
    known = finished(own)
    return [
        (a, b)
        for place, a in enumerate(known)
        for b in known[place + 1 :]
        if (a.one.mean - b.one.mean) * (a.budget.mean - b.budget.mean) < 0
    ]


def both_orders_shown(runs: Runs, a: Pair, b: Pair) -> bool:
    """Whether the paired differences of two methods have intervals on opposite sides of 0 under the two protocols."""
    differences = [
        runs.difference(a.task, Arm(a.model, of(a).method), Arm(b.model, of(b).method)) for of in SIDES.values()
    ]
    return {difference.verdict for difference in differences if difference} == {"higher", "lower"}
