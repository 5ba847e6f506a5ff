"""`retention_differences.csv`: every chain minus the pretrained model, the link before it, and itself without mixing.

Paired over the seeds and the held-out documents that both have. The pretrained model has no seed: its one measurement
stands beside every seed of a chain.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from electralab.errors import UserError
from electralab.names import chain_links, chain_name
from electralab.records import RunRecord
from electralab.report.sources import Sources
from electralab.report.statistics.differences import Difference, half_widths
from electralab.report.statistics.influence import Floats

COLUMNS = (
    *("retention", "measure", "model", "task", "method", "against", "seeds", "documents"),
    *("a", "b", "difference", "low", "high", "verdict"),
)
MIXING = "mix_"  # what options of mixing begin with
PRETRAINED = "pretrained"  # what `against` calls the model before any link


class _Measured(NamedTuple):
    path: Path
    value: float


Arms = dict[tuple[str, str], dict[int, _Measured]]  # by task and method; both empty of the pretrained model


def rows(sources: Sources) -> pd.DataFrame:
    """The differences of every model and retention.

    Raises:
        UserError: a `documents.csv` is missing, or two measurements are of other documents.
    """
    measured: dict[tuple[str, str, str], Arms] = {}
    for path, record in sources.retentions.items():
        if record.status == "ok":
            place = (record.recipe, str(record.primary_metric), record.model)
            arm = measured.setdefault(place, {}).setdefault((record.task or "", record.method or ""), {})
            arm[record.seed] = _Measured(path, _value(record))
    found = []
    unmixed = _unmixed(sources.records.values())
    for place, arms in measured.items():
        for (task, method), against, d in _pairs(arms, unmixed.get(place[2], {})):
            found.append((*place, task, method, against, d.seeds, d.rows, d.a, d.b, d.mean, d.low, d.high, d.verdict))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _value(record: RunRecord) -> float:
    return record.metrics[str(record.primary_metric)]


def _unmixed(records: Iterable[RunRecord]) -> dict[str, dict[tuple[str, str], str]]:
    """By model, task and method: the method that is the same but for the lines of a corpus among its rows."""
    told = {(run.model, run.task or "", run.method or ""): run.spec.get("settings", {}) for run in records}
    plain = {arm: {key: told[arm][key] for key in told[arm] if not key.startswith(MIXING)} for arm in told}
    found: dict[str, dict[tuple[str, str], str]] = {}
    for arm in told:
        model, task, method = arm
        if not told[arm].get("mix_corpus"):
            continue
        for other in told:
            links, others = chain_links(method), chain_links(other[2])
            alike = other[:2] == arm[:2] and links[:-1] == others[:-1] and plain[other] == plain[arm]
            if alike and not told[other].get("mix_corpus"):
                found.setdefault(model, {})[task, method] = other[2]
    return found


def _pairs(arms: Arms, unmixed: Mapping[tuple[str, str], str]) -> Iterator[tuple[tuple[str, str], str, Difference]]:
    before = next(iter(arms.get(("", ""), {}).values()), None)
    for (task, method), runs in arms.items():
        if not method:
            continue
        if before is not None:
            yield (task, method), PRETRAINED, _difference(list(runs.values()), [before] * len(runs))
        *links, _ = chain_links(method)
        for other in filter(None, (chain_name(links), unmixed.get((task, method)))):
            others = arms.get((task, other), {})
            if seeds := sorted(set(runs) & set(others)):
                yield (task, method), other, _difference(*([of[seed] for seed in seeds] for of in (runs, others)))


def _difference(a: list[_Measured], b: list[_Measured]) -> Difference:
    documents, influences = zip(*(_influences(measured.path) for measured in (*a, *b)))
    if any(other != documents[0] for other in documents):
        raise UserError(f"{a[0].path} and {b[0].path} are measured on other documents: delete both and run again")
    scores = np.array([[measured.value for measured in arm] for arm in (a, b)])
    half = float(half_widths(scores, np.array(influences).reshape(2, len(a), -1))[0, 1])
    of_a, of_b = scores.mean(axis=1).tolist()
    ends = (None, None) if np.isnan(half) else (of_a - of_b - half, of_a - of_b + half)
    return Difference(len(a), len(documents[0]), of_a, of_b, *ends)


def _influences(record: Path) -> tuple[list[str], Floats]:
    path = record.with_name("documents.csv")
    try:
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{path} is missing beside its record: delete {record} and run again") from None
    return [row["document"] for row in found], np.array([float(row["influence"]) for row in found])
