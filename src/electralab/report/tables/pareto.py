"""Table `pareto`: score against size, latency and memory, and which models are worth their cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from electralab.report import footnotes
from electralab.report.benchmarks import milliseconds
from electralab.report.candidates import Candidate, Tradeoff, single_streams, tradeoffs, workload_text
from electralab.report.grid import Column, Section, Table, difference_columns, frame, section, summary_columns
from electralab.report.model_bytes import SIZES
from electralab.report.pareto import Place
from electralab.report.results import Results
from electralab.report.runs import METRICS, Runs
from electralab.report.statistics.differences import Difference
from electralab.report.tables.score_cells import difference_cell, score_text
from electralab.report.text import listing, megabytes, number

WORDS: dict[Place, str] = {"front": "front", "close": "not shown to be below", "below": "below"}


class Standing(NamedTuple):
    """A candidate, where it stands, and its difference to the best other on the front that costs no more.

    Of one below the front it is that to the one which shows it.
    """

    tradeoff: Tradeoff
    candidate: Candidate
    place: Place
    is_knee: bool
    minus_front: Difference | None


def table(results: Results) -> Table:
    """A section for every task and kind of cost, the cheapest first.

    Raises:
        UserError: the experiment fine-tunes nothing.
    """
    runs = results.finetuned
    found = {id(one): (one, _standings(runs, one)) for one in tradeoffs(results)}
    every = [row for _, own in found.values() for row in own]
    streams = list(dict.fromkeys(map(workload_text, single_streams(results))))
    return Table(
        "Pareto front",
        _about(runs, every) if every else "Fewer than two models of a task have a size or a time.",
        frame(every, _csv(runs)),
        [_section(runs, one, own) for one, own in found.values()],
        _notes(streams, every) if every else [],
        [_answer(runs, one, own) for one, own in found.values()],
    )


def _standings(runs: Runs, one: Tradeoff) -> list[Standing]:
    rows = []
    best: Candidate | None = None
    for place, candidate in enumerate(one.candidates):
        beaten = one.beaten_by[place]
        other = best if beaten is None else one.candidates[beaten]
        minus = None if other is None else runs.difference(one.task, candidate.arm, other.arm)
        best = candidate if one.places[place] == "front" else best
        rows.append(Standing(one, candidate, one.places[place], place == one.knee, minus))
    return rows


def title(runs: Runs, one: Tradeoff) -> str:
    """`movie_sentiment: accuracy against latency (ms)`."""
    where = f" on {one.where}" if one.where else ""
    return f"{one.task_title(runs)}: {METRICS[runs.metric(one.task)]} against {one.axis.head} ({one.axis.unit}){where}"


def cost_text(one: Tradeoff, cost: float) -> str:
    """In the unit of its axis, which is not said."""
    return milliseconds(cost) if one.axis.unit == "ms" else megabytes(1e6 * cost)


def _section(runs: Runs, one: Tradeoff, own: Sequence[Standing]) -> Section:
    backend = one.axis.name != "size"
    columns: list[Column[Standing]] = [
        Column("", lambda row: row.candidate.name(runs, backend), "Model"),
        Column("", lambda row: one.cost(row.candidate), one.axis.unit, lambda cost: cost_text(one, cost)),
        Column("", lambda row: row.candidate.score, "Score", score_text),
        Column("", lambda row: f"{WORDS[row.place]}{', knee' if row.is_knee else ''}", "Front", left=True),
        Column("", lambda row: row.minus_front, "Minus cheaper front", difference_cell),
    ]
    return section(title(runs, one), own, columns)


def _csv(runs: Runs) -> list[Column[Standing]]:
    return [
        Column("task", lambda row: row.tradeoff.task),
        Column("against", lambda row: row.tradeoff.axis.name),
        Column("device", lambda row: row.tradeoff.where or None),
        Column("model", lambda row: row.candidate.model),
        Column("method", lambda row: row.candidate.method),
        Column("backend", lambda row: row.candidate.timing.backend if row.candidate.timing else None),
        Column("cost", lambda row: row.tradeoff.cost(row.candidate)),
        Column("unit", lambda row: row.tradeoff.axis.unit),
        Column("metric", lambda row: runs.metric(row.tradeoff.task)),
        *summary_columns(lambda row: row.candidate.score),
        Column("place", lambda row: row.place),
        Column("is_knee", lambda row: row.is_knee),
        *difference_columns("minus_front", lambda row: row.minus_front),
    ]


# --- sentences ------------------------------------------------------------------------------------------------------


def _answer(runs: Runs, one: Tradeoff, own: Sequence[Standing]) -> str:
    backend = one.axis.name != "size"

    def said(row: Standing) -> str:
        cost = cost_text(one, one.cost(row.candidate))
        return f"`{row.candidate.name(runs, backend)}` ({cost} {one.axis.unit}, {number(row.candidate.score.mean)})"

    front = [row for row in own if row.place == "front"]
    doubtful = [
        f"`{row.candidate.name(runs, backend)}`"
        for row in front
        if row.minus_front and row.minus_front.verdict != "higher"
    ]
    doubt = f" (not shown to score higher than a cheaper one: {listing(doubtful)})" if doubtful else ""
    bend = [said(row) for row in own if row.is_knee]
    counts = {place: sum(row.place == place for row in own) for place in WORDS}
    return (
        f"**{title(runs, one)}:** the front is {listing([said(row) for row in front])}{doubt}; "
        f"{f'its knee is {bend[0]}' if bend else 'it has no knee'}; {counts['close']} not shown to be below it, "
        f"{counts['below']} below."
    )


def _about(runs: Runs, every: Sequence[Standing]) -> str:
    rows = runs.frame[[arm in {tuple(row.candidate.arm) for row in every} for arm in _arms(runs)]]
    return (
        f"{footnotes.measured(rows[rows['status'] == 'ok'], 'runs')} Times and memory: tables `latency` and `memory`."
    )


def _arms(runs: Runs) -> list[tuple[str, str]]:
    return list(zip(runs.frame["model"], runs.frame["method"]))


def _notes(streams: Sequence[str], every: Sequence[Standing]) -> list[str]:
    notes = [
        "Front: no other model costs as little and scores as high, by means. Below: the whole interval over seeds lies "
        "under that of a model on the front that costs no more; with one seed nothing is shown. A baseline has one "
        "run, whose score is taken as it is.",
        "`Minus cheaper front`: the paired difference to the best other model on the front that costs no more (of one "
        "below, to the model that shows it), over common seeds and rows: a sharper question.",
        "Knee: the point of the front furthest above the straight line between its ends, costs taken as logarithms. It "
        "says where more cost begins to buy less, not what you should choose.",
        f"Sizes: {SIZES}",
    ]
    if streams:
        notes.append(
            f"Latency and memory are of the smallest batch that was timed: {listing(streams)}; by the backend of a "
            "chain that takes least. Models of other benchmarks did not take turns with each other."
        )
    return [*notes, footnotes.no_difference(row.minus_front for row in every)]
