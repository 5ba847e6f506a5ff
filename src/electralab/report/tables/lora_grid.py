"""Table `lora_grid`: score over rank and alpha of a low-rank adapter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from electralab.report import footnotes
from electralab.report.markdown import Section, Table, count, listing, number
from electralab.report.results import Results
from electralab.report.runs import METRICS, Cell, Runs
from electralab.report.statistics import Summary, summarize
from electralab.report.tables.score_cells import majority_notes, marks, score_text, summary_fields

COLUMNS = (
    *("row", "model", "task", "grid", "rank", "alpha", "method", "kind", "recipe", "metric", "seeds"),
    *("median", "mean", "low", "high", "worst", "best"),
    *("degenerate_runs", "majority_rate", "at_or_below_majority", "trainable_parameters"),
)
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


def lora_grid(results: Results) -> Table:
    """A section a grid: ranks down, alphas across, the median score with its interval and the number of seeds."""
    runs = results.runs
    every = grids(runs)
    cells = [cell for grid in every for cell in grid.cells.values()]
    sections = [_section(runs, grid) for grid in every]
    rows = [_columns(runs, grid, rank, alpha) for grid in every for rank, alpha in sorted(grid.cells)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    if not every:
        about = "No method of this experiment is one of a grid over rank and alpha (`grids` in the config)."
        return Table("Rank and alpha", about, frame, [], footnotes.unfinished(runs))
    own = runs.finetuned[runs.finetuned["method"].isin({cell.method for cell in cells})]
    about = (
        f"{footnotes.measured(own, 'fine-tunings')} Validation scores: the median over seeds, in brackets the 95 % "
        "interval of the mean over them (Student t), and the number of seeds n; one seed gives no interval. The update "
        "is scaled by alpha / rank. An empty cell has no finished run."
    )
    return Table("Rank and alpha", about, frame, sections, _notes(runs, every, cells))


def _section(runs: Runs, grid: Grid) -> Section:
    rows = [[f"rank {rank:g}", *(_text(runs, grid, rank, alpha) for alpha in grid.alphas)] for rank in grid.ranks]
    heads = ["", *(f"alpha {alpha:g}" for alpha in grid.alphas)]
    return Section(_title(runs, grid), heads, rows)


def _title(runs: Runs, grid: Grid) -> str:
    return f"{grid.name}: {runs.title(grid.model)} on {grid.task} ({METRICS[runs.metric(grid.task)]})"


def _text(runs: Runs, grid: Grid, rank: float, alpha: float) -> str:
    summary = grid.summary(runs, rank, alpha)
    if summary is None:
        return ""
    return f"{score_text(summary)}{marks(runs, grid.cells[rank, alpha], grid.model)}"


def _columns(runs: Runs, grid: Grid, rank: float, alpha: float) -> dict[str, Any]:
    cell = grid.cells[rank, alpha]
    identity = {"row": runs.title(grid.model), "model": grid.model, "task": grid.task, "grid": grid.name}
    return {
        **identity,
        **{"rank": rank, "alpha": alpha, "method": cell.method, "kind": runs.kinds[cell.method]},
        **{"recipe": runs.setting(cell.method, "recipe"), "metric": runs.metric(cell.task)},
        **summary_fields(grid.summary(runs, rank, alpha)),
        "degenerate_runs": runs.degenerate_runs(cell, grid.model),
        "majority_rate": runs.typical(cell, grid.model, "metric.majority_rate"),
        "at_or_below_majority": runs.at_majority(cell, grid.model),
        "trainable_parameters": runs.typical(cell, grid.model, "metric.trainable_parameters"),
    }


def _notes(runs: Runs, every: Sequence[Grid], cells: Sequence[Cell]) -> list[str]:
    notes = [note for grid in every for note in [_best(runs, grid)] if note]
    for grid in every:
        counts = {
            rank: value
            for (rank, _), cell in sorted(grid.cells.items())
            if (value := runs.typical(cell, grid.model, "metric.trainable_parameters")) is not None
        }
        if counts:
            parts = [f"rank {rank:g} {count(value)}" for rank, value in counts.items()]
            notes.append(f"{_title(runs, grid)}: trainable parameters, the head included: {listing(parts)}.")
    notes += footnotes.degenerate(runs, cells, runs.title) + majority_notes(runs, cells)
    return notes + footnotes.sampling(runs, cells) + footnotes.unfinished(runs)


def _best(runs: Runs, grid: Grid) -> str | None:
    """The best cell, and how many others its interval cannot be told from."""
    known = {place: found for place in grid.cells if (found := grid.summary(runs, *place))}
    if len(known) < 2:
        return None
    (rank, alpha), top = max(known.items(), key=lambda item: item[1].median)
    text = (
        f"{_title(runs, grid)}: best of {len(known)} cells is rank {rank:g}, alpha {alpha:g} ({number(top.median)}), "
        "chosen on the rows that it is scored on: an optimistic number."
    )
    with_one = [s for s in known.values() if s.low is not None and s.high is not None]
    if top.low is None or top.high is None:
        return f"{text} One seed: no order can be shown."
    others = [s for s in with_one if s is not top]
    overlapping = [s for s in others if s.high is not None and s.high >= top.low]
    return f"{text} The intervals of {len(overlapping)} of {len(others)} others with one overlap its interval."
