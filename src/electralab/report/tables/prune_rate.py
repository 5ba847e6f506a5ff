"""Table `prune_rate`: the score of a method against the share of weights that it sets to zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from electralab.report import footnotes
from electralab.report.grid import Column, Section, Table, difference_columns, frame, grids, summary_columns
from electralab.report.prune_rates import Family, PublishedRates, families, published_rates
from electralab.report.pruning import Line
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.statistics.differences import difference_text
from electralab.report.tables.score_cells import difference_cell, score_text
from electralab.report.text import ABSENT, listing, number

# How an answer says the verdicts on a method's rates.
SAID = {"unclear": "no difference to the dense model shown at", "lower": "worse at", "higher": "better at"}


class Place(NamedTuple):
    """A method at a rate."""

    family: Family
    line: Line


def table(results: Results) -> Table:
    """Two grids a task and model, rates down and methods across: scores, and differences to the dense model.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    found = families(runs)
    every = [family for own in found.values() for family in own]
    places = [Place(family, line) for family in every for line in family.lines]
    numbers = frame(places, _csv(runs))
    if not every:
        about = "No method of this experiment prunes at more than one rate: there is nothing to compare."
        return Table("Prune rate", about, numbers, footnotes.failed(runs))
    published = {task: published_rates(results.published, runs, task) for task, _ in found}
    sections = [part for place, own in found.items() for part in _sections(runs, *place, own, published[place[0]])]
    return Table(
        "Prune rate",
        _about(runs, places),
        numbers,
        [*sections, *footnotes.failed(runs)],
        _notes(runs, places, any(published.values())),
        [_answer(runs, family) for family in every],
    )


# --- grids ----------------------------------------------------------------------------------------------------------


def _sections(
    runs: Runs, task: str, model: str, own: Sequence[Family], published: Sequence[PublishedRates]
) -> Iterator[Section]:
    ours = sorted({line.asked for family in own for line in family.lines if line.asked is not None})
    every = sorted({*ours, *(rate for study in published for rate in study.scores)})
    rate: Column[float] = Column("", lambda rate: rate, "Zeros", percent)
    scores = [
        *(Column("", family.at, family.name, lambda line: _score(runs, line)) for family in own),
        *(Column("", study.scores.get, study.name, number) for study in published),
    ]
    heading = f"{task}, {runs.title(model)}"
    yield from grids(f"{heading} ({METRICS[runs.metric(task)]})", every, rate, scores)
    differences = [Column("", family.at, family.name, _difference) for family in own]
    yield from grids(f"{heading}: minus dense", ours, rate, differences)


def percent(rate: float) -> str:
    """`45 %`, `2.5 %`."""
    return f"{100 * rate:.4g} %"


def _score(runs: Runs, line: Line | None) -> str:
    return ABSENT if line is None else f"{score_text(line.score)}{footnotes.mark(runs, line.arm)}"


def _difference(line: Line | None) -> str:
    return difference_cell(line.minus_dense if line else None)


def _csv(runs: Runs) -> list[Column[Place]]:
    return [
        Column("row", lambda place: runs.title(place.family.model)),
        Column("model", lambda place: place.family.model),
        Column("task", lambda place: place.family.task),
        Column("what", lambda place: place.family.name),
        Column("sparsity", lambda place: place.line.asked),
        Column("method", lambda place: place.line.chain),
        Column("dense", lambda place: place.line.dense),
        Column("sparsity.encoder", lambda place: place.line.sparsity),
        Column("metric", lambda place: runs.metric(place.family.task)),
        *summary_columns(lambda place: place.line.score),
        *difference_columns("minus_dense", lambda place: place.line.minus_dense),
    ]


# --- sentences ------------------------------------------------------------------------------------------------------


def _answer(runs: Runs, family: Family) -> str:
    """At which rates a method loses, as far as seeds can say."""
    start = f"**{family.task}, {runs.title(family.model)}, {family.name}:**"
    by_verdict: dict[str, list[Line]] = {}
    for line in family.lines:
        if line.minus_dense:
            by_verdict.setdefault(line.minus_dense.verdict, []).append(line)
    parts = [f"{said} {_rates(by_verdict[verdict])}" for verdict, said in SAID.items() if verdict in by_verdict]
    if unknown := by_verdict.get("unknown"):
        parts.append(f"one common seed gives no verdict at {_rates(unknown)}")
    return f"{start} {'; '.join(parts) or 'no finished run beside a dense one'}."


def _rates(found: Sequence[Line]) -> str:
    return listing([f"{percent(line.asked or 0.0)} ({difference_text(line.minus_dense)})" for line in found])


def _about(runs: Runs, places: Sequence[Place]) -> str:
    arms = [place.line.arm for place in places]
    return (
        f"{footnotes.measured(runs.rows_of(arms), 'runs')} Scores: mean over seeds, in brackets its 95 % interval "
        "(Student t), n seeds; one seed has no interval. `minus dense`: the difference to the same model without the "
        "pruning, on the seeds and rows that both have; its 95 % interval covers both."
        f"{footnotes.sampling(runs, arms)}"
    )


def _notes(runs: Runs, places: Sequence[Place], published: bool) -> list[str]:
    arms = [place.line.arm for place in places]
    notes = [
        "`Zeros`: the share that a method was told to set to zero, of what it prunes. With `parts: published` that is "
        "also biases and head; table `pruning` has the share of all weights.",
    ]
    if published:
        notes.append(
            "Published: one seed, pruned before fine-tuning, with biases and head; table `vs_published` says of each "
            "number whether ours can be compared with it."
        )
    no_difference = footnotes.no_difference(place.line.minus_dense for place in places)
    return [*notes, no_difference, *footnotes.marked(runs, arms)]
