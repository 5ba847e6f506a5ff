"""Methods that prune a model at several rates, and what others published of the same task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from electralab.report.pruning import Line, lines
from electralab.report.runs import Runs


@dataclass(frozen=True)
class Family:
    """One method on a task with a model: a line a rate, the lowest first; its name is the same on every task."""

    name: str
    lines: list[Line]

    @property
    def task(self) -> str:
        """Of all its lines."""
        return self.lines[0].cell.task

    @property
    def model(self) -> str:
        """Of all its lines."""
        return self.lines[0].model

    def at(self, rate: float) -> Line | None:
        """The line of a rate; None where there is none."""
        return next((line for line in self.lines if line.asked == rate), None)


@dataclass(frozen=True)
class PublishedRates:
    """One method of a published study: its score by rate."""

    name: str
    scores: dict[float, float]


def families(runs: Runs) -> dict[tuple[str, str], list[Family]]:
    """Of every task and model the methods that prune at two rates or more."""
    return grouped(lines(runs), least=2)


def grouped(every: Mapping[tuple[str, str], Sequence[Line]], least: int = 1) -> dict[tuple[str, str], list[Family]]:
    """Of every task and model the methods that set weights to zero, at so many rates at least."""
    found: dict[tuple[str, str], list[list[Line]]] = {}
    for place, own in every.items():
        by_method: dict[Any, dict[float, Line]] = {}
        for line in own:
            if line.zeroes and not line.is_dense and line.asked is not None:
                by_method.setdefault(_method(line), {}).setdefault(line.asked, line)
        if groups := [list(by_rate.values()) for by_rate in by_method.values() if len(by_rate) >= least]:
            found[place] = groups
    names = _names([group[0] for groups in found.values() for group in groups])
    return {
        place: [Family(names[_method(group[0])], sorted(group, key=lambda line: line.asked or 0.0)) for group in groups]
        for place, groups in found.items()
    }


def _method(line: Line) -> tuple[Any, ...]:
    return line.dense, line.settings


def _names(firsts: list[Line]) -> dict[tuple[Any, ...], str]:
    """What is done, with the dense model where there are several, and with a chain where that is said of two."""
    of_method: dict[tuple[Any, ...], Line] = {}
    for line in firsts:
        of_method.setdefault(_method(line), line)
    several = len({line.dense for line in of_method.values()}) > 1
    names = {
        method: f"{line.words} (beside {line.dense})" if several else line.words for method, line in of_method.items()
    }
    alike = Counter(names.values())
    return {
        method: name if alike[name] == 1 else f"{name}: {of_method[method].chain}" for method, name in names.items()
    }


def published_rates(published: pd.DataFrame, runs: Runs, task: str) -> list[PublishedRates]:
    """Published methods with scores of the same task and metric at two rates or more."""
    rows = published[published["task_id"].eq(runs.glue(task) or task) & published["metric"].eq(runs.metric(task))]
    rows = rows[rows["split"].eq("validation") & rows["statistic"].eq("score") & rows["sparsity"].notna()]
    found = []
    for _, own in rows.groupby(["system", "model", "method_kind"], sort=False):
        scores = dict(sorted(zip(own["sparsity"], own["value"])))
        if len(scores) > 1:
            model, method = own.iloc[0][["model", "method"]]
            found.append(PublishedRates(f"published, {model}: {method.partition(' rate ')[0]}", scores))
    return found
