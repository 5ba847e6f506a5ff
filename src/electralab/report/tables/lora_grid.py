"""Table `lora_grid`: score over rank and alpha of a low-rank adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from electralab.report import footnotes
from electralab.report.grid import Column, Section, Table, frame, summary_columns
from electralab.report.rank_alpha import Grid, grids
from electralab.report.results import Results
from electralab.report.runs import METRICS, Cell, Runs
from electralab.report.statistics.comparisons import Arm
from electralab.report.tables.score_cells import score_text
from electralab.report.text import count, listing, number


class Place(NamedTuple):
    """One combination of a grid."""

    grid: Grid
    rank: float
    alpha: float

    @property
    def cell(self) -> Cell:
        """Its task and method."""
        return self.grid.cells[self.rank, self.alpha]


def table(results: Results) -> Table:
    """A section a grid: ranks down, alphas across, the score with its interval and the number of seeds.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    every = grids(runs)
    places = [Place(grid, rank, alpha) for grid in every for rank, alpha in sorted(grid.cells)]
    numbers = frame(places, _columns(runs))
    if not every:
        about = "No method of this experiment is one of a grid over rank and alpha (`grids` in the config)."
        return Table("Rank and alpha", about, numbers, footnotes.failed(runs))
    own = runs.rows_of([(place.cell, place.grid.model) for place in places])
    about = (
        f"{footnotes.measured(own, 'fine-tunings')} Validation scores: mean over seeds, in brackets its 95 % "
        "interval (Student t), n seeds; one seed has no interval. An empty cell has no finished run."
    )
    sections = [*(_section(runs, grid) for grid in every), *footnotes.failed(runs)]
    best = [answer for grid in every for answer in [_best(runs, grid)] if answer]
    return Table("Rank and alpha", about, numbers, sections, _notes(runs, every, places), best)


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
    return f"{score_text(summary)}{footnotes.mark(runs, (grid.cells[rank, alpha], grid.model))}"


def _columns(runs: Runs) -> list[Column[Place]]:
    def of_run(value: Callable[[Cell, str], Any]) -> Callable[[Place], Any]:
        return lambda place: value(place.cell, place.grid.model)

    return [
        Column("row", lambda place: runs.title(place.grid.model)),
        Column("model", lambda place: place.grid.model),
        Column("task", lambda place: place.grid.task),
        Column("grid", lambda place: place.grid.name),
        Column("rank", lambda place: place.rank),
        Column("alpha", lambda place: place.alpha),
        Column("method", lambda place: place.cell.method),
        Column("kind", lambda place: runs.kinds[place.cell.method]),
        Column("recipe", lambda place: runs.setting(place.cell.method, "recipe")),
        Column("metric", lambda place: runs.metric(place.grid.task)),
        *summary_columns(lambda place: place.grid.summary(runs, place.rank, place.alpha)),
        Column("degenerate_runs", of_run(runs.degenerate_runs)),
        Column("majority_rate", of_run(lambda cell, model: runs.typical(cell, model, "metric.majority_rate"))),
        Column("at_or_below_majority", of_run(runs.at_majority)),
        Column(
            "trainable_parameters",
            of_run(lambda cell, model: runs.typical(cell, model, "metric.trainable_parameters")),
        ),
    ]


def _notes(runs: Runs, every: Sequence[Grid], places: Sequence[Place]) -> list[str]:
    scaled = {kind for place in places if (kind := runs.kinds[place.cell.method])}
    rules = {"rslora": "alpha / √rank"}
    notes = [f"The update is scaled by {listing(sorted({rules.get(kind, 'alpha / rank') for kind in scaled}))}."]
    counted = []
    for grid in every:
        counts = {
            rank: value
            for (rank, _), cell in sorted(grid.cells.items())
            if (value := runs.typical(cell, grid.model, "metric.trainable_parameters")) is not None
        }
        if counts:
            parts = [f"rank {rank:g} {count(value)}" for rank, value in counts.items()]
            counted.append(f"{grid.name} on {grid.task}: {listing(parts)}")
    notes += [f"Trainable parameters, the head included: {'; '.join(dict.fromkeys(counted))}."] if counted else []
    arms = [(place.cell, place.grid.model) for place in places]
    return notes + footnotes.marked(runs, arms)


def _best(runs: Runs, grid: Grid) -> str | None:
    """The best cell, and how many others are shown to be below it."""
    known = {place: found for place in grid.cells if (found := grid.summary(runs, *place))}
    if len(known) < 2:
        return None
    (rank, alpha), top = max(known.items(), key=lambda item: item[1].mean)
    text = (
        f"**{_title(runs, grid)}:** best of {len(known)} cells is rank {rank:g}, alpha {alpha:g} ({number(top.mean)}), "
        "chosen on the rows that it is scored on: an optimistic number."
    )
    if top.low is None:
        return f"{text} One seed: no order can be shown."
    best = Arm(grid.model, grid.cells[rank, alpha].method)
    others = [Arm(grid.model, grid.cells[place].method) for place in known if place != (rank, alpha)]
    differences = [runs.difference(grid.task, best, other) for other in others]
    below = sum(difference is not None and difference.verdict == "higher" for difference in differences)
    return f"{text} By paired differences it is above {below} of the {len(others)} others."
