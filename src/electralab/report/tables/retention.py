"""Table `retention`: what models still know of their pretraining, before and after every link."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from electralab.names import chain_links, chain_name
from electralab.report import footnotes
from electralab.report.details.retention_differences import PRETRAINED
from electralab.report.grid import Column, Section, Table, difference_columns, frame, section, summary_columns
from electralab.report.results import Results
from electralab.report.runs import Runs
from electralab.report.statistics.differences import Difference, difference_text
from electralab.report.statistics.intervals import Summary, summarize
from electralab.report.tables.pruning import MOST_SAID
from electralab.report.tables.score_cells import difference_cell, score_text
from electralab.report.text import ABSENT, listing, number

MEASURES = {"rtd_auc": "AUC of detecting replaced tokens", "masked_loss": "loss of a masked token, nat"}
WORSE = {"rtd_auc": "lower", "masked_loss": "higher"}  # the verdict of a difference that says so


@dataclass(frozen=True)
class Line:
    """A pretrained model (no method), or a chain on a task; `value` is None where nothing could be measured."""

    retention: str
    measure: str
    model: str
    task: str
    method: str
    value: Summary | None
    over_documents: float | None  # half-width of the interval of one measurement
    perplexity: float | None
    published: float | None
    minus_pretrained: Difference | None
    minus_before: Difference | None
    minus_unmixed: Difference | None  # the same method without lines of a corpus among its rows
    reason: str


def table(results: Results) -> Table:
    """A section for every retention and model that could be measured.

    Raises:
        UserError: a file is missing or damaged.
    """
    runs, measured = results.runs, results.detail("retention")
    every = _lines(measured, differences(results))
    if not every:
        raise results.nothing("measurement of retention")
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in every:
        if line.value is not None:
            groups.setdefault((line.retention, line.model), []).append(line)
    return Table(
        "Retention of pretraining",
        _about(measured),
        frame(every, _csv()),
        [*(_section(runs, own) for own in groups.values()), *_unmeasured(every)],
        [footnotes.no_difference(d for line in every for d in (line.minus_pretrained, line.minus_unmixed))],
        [_answer(runs, own) for own in groups.values()] or ["Nothing could be measured: the reasons are below."],
    )


# --- lines ------------------------------------------------------------------------------------------------------------


def differences(results: Results) -> dict[tuple[str, ...], Difference]:
    """By retention, model, task, method, and what it is held against.

    Raises:
        UserError: the file is missing or damaged.
    """
    found = results.detail("retention_differences")
    names = ("retention", "model", "task", "method", "against")
    read = {}
    for row in found.to_dict("records"):
        ends = (None, None) if pd.isna(row["low"]) else (row["low"], row["high"])
        difference = Difference(int(row["seeds"]), int(row["documents"]), row["a"], row["b"], *ends)
        read[tuple(row[name] for name in names)] = difference
    return read


def _lines(measured: pd.DataFrame, found: dict[tuple[str, ...], Difference]) -> list[Line]:
    arms: dict[tuple[str, ...], list[dict[str, object]]] = {}
    for row in measured.to_dict("records"):
        place = tuple(str(row[name]) for name in ("retention", "model", "task", "method"))
        arms.setdefault(place, []).append({str(key): value for key, value in row.items()})
    order = sorted(arms, key=lambda place: (*place[:3], chain_links(place[3])))
    return [_line(place, arms[place], found) for place in order]


def _line(place: tuple[str, ...], rows: Sequence[dict[str, object]], held: dict[tuple[str, ...], Difference]) -> Line:
    retention, model, task, method = place
    finished = [row for row in rows if row["status"] == "ok"]

    before = chain_name(chain_links(method)[:-1])
    against = {key[4]: difference for key, difference in held.items() if key[:4] == place}

    def values(name: str) -> list[float]:
        return [value for row in finished if not math.isnan(value := float(str(row[name])))]

    found, losses = values("value"), values("value") if values("pseudo_perplexity") else []
    halves = [(high - low) / 2 for low, high in zip(values("low"), values("high"))]
    return Line(
        retention,
        next((str(row["measure"]) for row in finished), ""),
        model,
        task,
        method,
        summarize(found) if found else None,
        fmean(halves) if halves else None,
        math.exp(fmean(losses)) if losses else None,
        fmean(shown) if (shown := values("published_perplexity")) else None,
        against.get(PRETRAINED),
        against.get(before),
        next((found for name, found in against.items() if name not in (PRETRAINED, before)), None),
        next((str(row["reason"]) for row in rows if row["status"] != "ok"), ""),
    )


# --- grids ------------------------------------------------------------------------------------------------------------


def _section(runs: Runs, own: Sequence[Line]) -> Section:
    first = own[0]
    heading = f"{runs.title(first.model)}, {first.retention} ({MEASURES[first.measure]})"
    columns: list[Column[Line]] = [
        Column("", lambda line: line.method or "pretrained", "Chain"),
        Column("", lambda line: line.task or ABSENT, "Task", left=True),
        Column("", lambda line: line.value, "Value", score_text),
        Column("", lambda line: line.over_documents, "± documents", number),
        Column("", lambda line: line.minus_pretrained, "Minus pretrained", difference_cell),
        Column("", lambda line: line.minus_before, "Minus link before", difference_cell),
    ]
    if any(line.minus_unmixed for line in own):
        columns.append(Column("", lambda line: line.minus_unmixed, "Minus unmixed", difference_cell))
    for head, name in (("Pseudo-perplexity", "perplexity"), ("As published", "published")):
        if any(getattr(line, name) is not None for line in own):
            columns.append(Column("", lambda line, name=name: getattr(line, name), head, lambda v: number(v, 2)))  # type: ignore[misc]
    return section(heading, own, columns)


def _unmeasured(every: Sequence[Line]) -> list[Section]:
    rows = [line for line in every if line.reason]
    columns: list[Column[Line]] = [
        Column("", lambda line: f"{line.model} on {line.task}" if line.task else line.model, "Model"),
        Column("", lambda line: line.method or "pretrained", "Chain", left=True),
        Column("", lambda line: line.retention, "Retention", left=True),
        Column("", lambda line: line.reason, "Reason", left=True),
    ]
    return [section("Not measured", rows, columns)] if rows else []


def _csv() -> list[Column[Line]]:
    names = ("retention", "measure", "model", "task", "method")
    return [
        *(Column(name, lambda line, name=name: getattr(line, name)) for name in names),  # type: ignore[misc]
        *summary_columns(lambda line: line.value),
        Column("half_width_over_documents", lambda line: line.over_documents),
        Column("pseudo_perplexity", lambda line: line.perplexity),
        Column("published_perplexity", lambda line: line.published),
        *difference_columns("minus_pretrained", lambda line: line.minus_pretrained),
        *difference_columns("minus_link_before", lambda line: line.minus_before),
        *difference_columns("minus_unmixed", lambda line: line.minus_unmixed),
        Column("reason", lambda line: line.reason),
    ]


# --- sentences --------------------------------------------------------------------------------------------------------


def _answer(runs: Runs, own: Sequence[Line]) -> str:
    """Which chains forgot something, and which did not as far as this shows."""
    worse = WORSE[own[0].measure]
    said = {worse: "forgot", "unclear": "no difference shown", "unknown": "one seed, no verdict"}
    parts = []
    for verdict, words in (said | {"lower" if worse == "higher" else "higher": "better than before"}).items():
        lines = [line for line in own if line.minus_pretrained and line.minus_pretrained.verdict == verdict]
        if lines:
            chains = [f"`{line.method}` on {line.task} {difference_text(line.minus_pretrained)}" for line in lines]
            parts.append(f"{words}: {listing(chains) if len(chains) <= MOST_SAID else f'{len(chains)} chains'}")
    mixed = [line for line in own if line.minus_unmixed]
    if mixed:
        differ = listing([f"`{line.method}` {difference_text(line.minus_unmixed)}" for line in mixed])
        parts.append(f"against the same without mixed lines: {differ}")
    before = next((line for line in own if not line.method), None)
    known = f"pretrained {number(before.value.mean)}; " if before and before.value else ""
    return f"**{runs.title(own[0].model)}, {own[0].retention}:** {known}{'; '.join(parts) or 'no chain measured'}."


def _about(measured: pd.DataFrame) -> str:
    sizes = [
        f"`{name}`: {rows['tokens'].max():,.0f} tokens of {rows['documents'].max():,.0f} held-out documents"
        for name, rows in measured[measured["status"] == "ok"].groupby("retention")
    ]
    return (
        f"{'; '.join(sizes) or 'No finished measurement'}. The body of a run, or of the pretrained model, under the "
        "head that pretraining gave. Value: mean over seeds, in brackets its 95 % interval (Student t), n seeds. "
        "`± documents`: half the 95 % interval of one measurement over documents. Differences are paired over seeds "
        "and documents and their 95 % interval covers both; one seed has no interval and no verdict. The pretrained "
        "model has one measurement, which stands beside every seed."
    )
