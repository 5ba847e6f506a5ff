"""Grids over the rank and the alpha of a low-rank adapter, found by the names and options of their methods."""

from __future__ import annotations

import re
from dataclasses import dataclass

from electralab.report.runs import Cell, Runs
from electralab.report.statistics.intervals import Summary, summarize

OPTIONS = re.compile(r"_(?:rank|alpha)\d[\d.]*")


@dataclass(frozen=True)
class Grid:
    """One grid on one task with one model; `cells` has the combinations that the experiment asked for."""

    name: str
    model: str
    task: str
    cells: dict[tuple[float, float], Cell]

    @property
    def ranks(self) -> list[float]:
        """Every rank, smallest first."""
        return sorted({rank for rank, _ in self.cells})

    @property
    def alphas(self) -> list[float]:
        """Every alpha, smallest first."""
        return sorted({alpha for _, alpha in self.cells})

    def summary(self, runs: Runs, rank: float, alpha: float) -> Summary | None:
        """Scores over seeds; None where no run is finished or none was asked for."""
        cell = self.cells.get((rank, alpha))
        values = list(runs.by_seed(cell, self.model).values()) if cell else []
        return summarize(values) if values else None


def grid_methods(runs: Runs) -> dict[str, str]:
    """Methods of grids over rank or alpha, and the grid of each: `sweep_rank8_alpha16` -> `sweep`.

    A grid has at least two methods; one that is only named like them is a method of its own.
    """
    named = {
        method: OPTIONS.sub("", method)
        for method in runs.kinds
        if OPTIONS.search(method) and runs.setting(method, "rank") and runs.setting(method, "alpha")
    }
    names = list(named.values())
    return {method: name for method, name in named.items() if names.count(name) > 1}


def grids(runs: Runs) -> list[Grid]:
    """Every grid by task and model."""
    methods = grid_methods(runs)
    asked = set(zip(runs.frame["model"], runs.frame["task"], runs.frame["method"]))
    found: dict[tuple[str, str, str], Grid] = {}
    for cell in runs.cells:
        for model in runs.finetuned_models:
            if cell.method in methods and (model, cell.task, cell.method) in asked:
                name = methods[cell.method]
                grid = found.setdefault((name, cell.task, model), Grid(name, model, cell.task, {}))
                grid.cells[float(runs.setting(cell.method, "rank")), float(runs.setting(cell.method, "alpha"))] = cell
    return list(found.values())
