"""Published adapters beside ours: which of them are of the same kind, and in what they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd

from electralab.report.entries import AS_PUBLISHED, IN_CONTEXT, MEASURED, stored_bytes
from electralab.report.published import PublishedMethod, published_method
from electralab.report.runs import FULL, Cell, Runs

SAME_TABLE = ("system", "model_id", "task_id", "metric", "split")
OPT_STUDY = "opt_adapters"
HEAD_PACKED = "electra_pytorch_hpml"  # its QLoRA left the head in 4 bits (`published.qlora_collapse`)
WEIGHTS = "ours: the frozen weights as stored and, in 32 bits, what is trained"


class Size(NamedTuple):
    """How much of a model is trained, or what it weighs; `theirs` is the published row, its `value` in our unit."""

    metric: str
    ours: float
    theirs: dict[Hashable, Any]
    reservations: list[str]


def with_kinds(published: pd.DataFrame) -> pd.DataFrame:
    """Published rows of fine-tuning methods, with what the method's name says (`PublishedMethod`) as columns."""
    methods = {name: published_method(name) for name in published["method"].unique()}
    rows = published[published["method"].map(lambda name: methods[name] is not None).astype(bool)]
    said = [asdict(methods[name] or PublishedMethod("")) for name in rows["method"]]
    return rows.assign(**{name: [one[name] for one in said] for name in PublishedMethod.__dataclass_fields__})


def nearest(rows: pd.DataFrame, runs: Runs, method: str) -> pd.DataFrame:
    """Of every published table the rows whose storage, rank and alpha are nearest to those of our method."""
    if rows.empty:
        return rows
    far = rows.assign(distance=[_distance(runs, method, row) for row in rows.to_dict("records")])
    least = far.groupby(list(SAME_TABLE))["distance"].transform("min")
    return far[far["distance"] == least].drop(columns="distance")


def _distance(runs: Runs, method: str, theirs: Mapping[Hashable, Any]) -> float:
    """Doublings between two ranks and two alphas; another storage is further than any of them."""
    total = 0.0
    for name in ("rank", "alpha"):
        own = runs.setting(method, name)
        if own and not pd.isna(theirs[name]):
            total += abs(math.log2(float(own) / theirs[name]))
    return total + (1000 if _storage_differs(runs, method, theirs) else 0)


def _storage_differs(runs: Runs, method: str, theirs: Mapping[Hashable, Any]) -> bool:
    own, there = runs.setting(method, "storage"), theirs["storage"]
    return bool(own and there and own != there)


def methods_differ(runs: Runs, method: str, theirs: Mapping[Hashable, Any]) -> tuple[list[str], list[str]]:
    """Reasons against a comparison, and reservations, that lie in the options of the two methods."""
    kind = runs.kinds[method]
    reservations = _answers_differ(runs, method, theirs)
    if kind == FULL:
        return [], reservations
    against = [
        f"{name} {_shown(own)}; theirs {_shown(theirs[name])}"
        for name in ("storage", "rank", "alpha", "targets")
        if (own := runs.setting(method, name)) and not _absent(theirs[name]) and own != theirs[name]
    ]
    if kind == "qlora":
        packed, repeated = theirs["system"] == HEAD_PACKED, runs.setting(method, "recipe") == AS_PUBLISHED
        if packed and not repeated:
            against.append("theirs left its head packed in 4 bits and untrained; ours trains it")
        elif repeated and not packed:
            against.append("ours leaves its head packed and untrained, theirs does not")
    if all(_absent(theirs[name]) for name in ("rank", "alpha", "targets")):
        what = "number of examples in the prompt" if kind == IN_CONTEXT else "options"
        reservations.append(f"their {what} is not stated" if kind == IN_CONTEXT else f"their {what} are not stated")
    return against, reservations


def _answers_differ(runs: Runs, method: str, theirs: Mapping[Hashable, Any]) -> list[str]:
    """Where the study of OPT's adapters asked and answered in another way."""
    if theirs["system"] != OPT_STUDY:
        return []
    found = []
    if runs.setting(method, "answers") != AS_PUBLISHED:
        found.append("theirs reads bare Yes and No and trains on the whole vocabulary (`answers: as_published`)")
    if runs.kinds[method] == IN_CONTEXT:
        found.append("theirs shows solved validation rows, ours training rows")
    return found


def same_collapse(runs: Runs, method: str, theirs: Mapping[Hashable, Any]) -> bool:
    """Whether ours repeats the mistake that brought the published QLoRA of efficient ELECTRA to the majority class."""
    repeated = runs.kinds[method] == "qlora" and runs.setting(method, "recipe") == AS_PUBLISHED
    return bool(repeated and theirs["system"] == HEAD_PACKED)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def sizes(
    published: pd.DataFrame, runs: Runs, cell: Cell, model: str, systems: Sequence[str], same: Callable[[str], bool]
) -> Iterator[Size]:
    """Trained parameters, their share and the weights in megabytes beside those of published methods of the kind.

    Args:
        published: rows with their kinds.
        runs: ours.
        cell: our method and its task.
        model: our model.
        systems: the studies to compare with.
        same: whether a `model_id` is that of our model; if any is, the others are left out.
    """
    rows = published[published["system"].isin(systems) & (published["kind"] == runs.kinds[cell.method])]
    own = rows[rows["model_id"].map(same).astype(bool)]
    rows = rows if own.empty else own
    trained, base, weights = (
        runs.typical(cell, model, *MEASURED[name])
        for name in ("trainable_parameters", "base_parameters", "weights_bytes")
    )
    for theirs in nearest(rows[rows["task_id"] == "parameters"], runs, cell.method).to_dict("records"):
        if trained is not None:
            yield Size("trainable", trained, theirs, [])
            whole = _whole(published, theirs)
            if base and whole:
                yield Size("trainable_share", trained / base, theirs | {"value": theirs["value"] / whole}, [])
    published_sizes = rows[rows["metric"].isin(("gpu_memory", "size"))]
    for theirs in nearest(published_sizes, runs, cell.method).to_dict("records"):
        if (stored := stored_bytes(weights, trained, runs.kinds[cell.method])) is not None:
            yield Size(theirs["metric"], stored / 1e6, theirs, [WEIGHTS])


def _whole(published: pd.DataFrame, theirs: Mapping[Hashable, Any]) -> float | None:
    """All parameters of a published model, where its study says them."""
    same = published[(published["system"] == theirs["system"]) & (published["model_id"] == theirs["model_id"])]
    known = pd.to_numeric(same["parameters_millions"], errors="coerce").dropna()
    return None if known.empty else float(known.iloc[0]) * 1e6
