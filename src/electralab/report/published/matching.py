"""Which published rows stand beside a number of ours."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from electralab.report.compression import chain_kind, compressed, lines
from electralab.report.entries import MEASURED, stored_bytes
from electralab.report.pruning import AS_YOU_TUNE, NO_TEACHER, teacher
from electralab.report.published.comparability import MNLI_VARIANTS, PRUNED_FIRST, Verdict, judge, judge_size, teaching
from electralab.report.published.ours import Ours, has_adapters, our_numbers, published_ids
from electralab.report.published.reference import SMALL, SMALL_RELEASED, about, studies
from electralab.report.runs import FULL, Runs

# What a model without published numbers of its own is shown against: the paper and its authors' code.
YARDSTICKS = ("electra_paper", "google_electra")
SMALL_STEPS = 1_000_000
# Kinds of bitsandbytes and how published rows of models that are stored so, with an adapter or without, call it.
BITSANDBYTES = {"nf4": "nf4", "bnb_int8": "int8"}
APART = ["rank", "alpha", "protocol", "schedule", "kd_alpha", "kd_temperature"]
SAME_TABLE = ["system", "model_id", "task_id", "metric", "split"]
Row = Mapping[Hashable, Any]


def pairs(runs: Runs, published: pd.DataFrame) -> Iterator[tuple[Ours, Row, Verdict]]:
    """Every number of ours with every published counterpart, and whether the two may be compared."""
    for ours in our_numbers(runs):
        ids = published_ids(runs, ours.model)
        for theirs in _scores(published, runs, ours, ids).to_dict("records"):
            yield ours, theirs, judge(runs, ours, theirs, ids)
        for size, row in _sizes(published, runs, ours, ids):
            yield size, row, judge_size(runs, size, row, ids)


def _scores(published: pd.DataFrame, runs: Runs, ours: Ours, ids: Sequence[str]) -> pd.DataFrame:
    """Rows about the same model and kind of method; where there is none, other models', for scale."""
    kinds = {runs.kinds[method] for method in ours.methods}
    kind = kinds.pop() if len(kinds) == 1 else None
    own_kinds = _kinds(runs, ours.method) if kind else ()
    task_ids = (ours.id, *MNLI_VARIANTS) if ours.id == "mnli" else (ours.id,)
    rows = published[published["method_kind"].isin(own_kinds) & (published["statistic"] == "score")]
    rows = rows[rows["task_id"].isin(task_ids)].drop_duplicates([*SAME_TABLE, "value", *APART])
    same = about(rows, ids)
    same = same[same["metric"].isin((ours.metric, "unstated"))]
    of_metric = rows[rows["metric"] == ours.metric]
    of_studies = of_metric[of_metric["system"].isin(studies(published, ours.id))]
    if kind != FULL:
        return _nearest(of_studies if same.empty else same, runs, ours.method)
    if not same.empty:
        return same
    finished = of_metric["system"].isin(YARDSTICKS) & (of_metric["pretraining_steps"] >= SMALL_STEPS)
    small = of_metric["model_id"].isin((SMALL, SMALL_RELEASED)) & (of_metric["split"] == "validation")
    found = of_metric[finished & small]
    return pd.concat([found, of_studies]) if has_adapters(runs, ours) else found


def _sizes(published: pd.DataFrame, runs: Runs, ours: Ours, ids: Sequence[str]) -> Iterator[tuple[Ours, Row]]:
    """Trained parameters, their share and the stored megabytes beside those of the same kind, once a task."""
    cell = ours.cells[0]
    if ours.method in compressed(runs):
        yield from _compressed_sizes(published, runs, ours, ids)
        return
    if len(ours.cells) != 1 or ours.metric != runs.metric(cell.task) or not has_adapters(runs, ours):
        return
    rows = published[(published["finetuned_on"] == ours.id) & (published["method_kind"] == runs.kinds[cell.method])]
    own = about(rows, ids)
    rows = rows if own.empty else own
    trained, base, weights = (
        runs.typical(cell, ours.model, *MEASURED[name])
        for name in ("trainable_parameters", "base_parameters", "weights_bytes")
    )
    size = replace(ours, id="parameters", metric="trainable")
    for theirs in _nearest(rows[rows["task_id"] == "parameters"], runs, cell.method).to_dict("records"):
        if trained is not None:
            yield replace(size, value=trained), theirs
            if base and (whole := _whole(published, theirs)):
                share = replace(size, metric="trainable_share", value=trained / base)
                yield share, theirs | {"value": theirs["value"] / whole}
    stored = stored_bytes(weights, trained, runs.kinds[cell.method])
    megabytes = rows[rows["metric"].isin(("gpu_memory", "size", "parameter_memory"))]
    for theirs in _nearest(megabytes, runs, cell.method).to_dict("records"):
        if stored is not None:
            yield replace(ours, id=theirs["task_id"], metric=theirs["metric"], value=stored / 1e6), theirs


def _kinds(runs: Runs, method: str) -> tuple[str, ...]:
    """What published rows may call a method: of a compressed model its chain, or the last link."""
    kind = runs.kinds[method]
    if kind == PRUNED_FIRST:
        return (_pruned_first(runs, method),) if _at_once(runs, method) else ()
    if kind == AS_YOU_TUNE:
        return _as_you_tune(runs, method)
    return (chain_kind(runs, method), kind) if method in compressed(runs) else (kind,)


def _pruned_first(runs: Runs, method: str) -> str:
    """`unstructured_l1_layer+full`, `structured_l2_rows+full`: what is pruned and then fine-tuned."""
    structure, criterion, among = (runs.setting(method, name) for name in ("structure", "criterion", "among"))
    single = structure == "unstructured"
    return f"{'unstructured' if single else 'structured'}_{criterion}_{among if single else structure}+full"


def _at_once(runs: Runs, method: str) -> bool:
    """Nobody published pruning while a whole model is trained, or under a head that alone is."""
    return runs.setting(method, "growth") in (None, "once") and runs.setting(method, "trained") in (None, "all")


def _as_you_tune(runs: Runs, method: str) -> tuple[str, ...]:
    """Interleaved, with a teacher, with data mixing, or pruned first; of single weights alone."""
    taught, first = teacher(runs, method) != NO_TEACHER, runs.setting(method, "growth") == "once"
    if runs.setting(method, "structure") != "unstructured" or (first and taught):
        return ()
    if runs.setting(method, "mix_corpus"):
        return ("payt_data_mixing",)
    if first:
        return (f"unstructured_l1_global+{'rslora' if runs.setting(method, 'rank_stabilized') else 'lora'}",)
    return ("payt_kd" if taught else "payt",)


def _compressed_sizes(
    published: pd.DataFrame, runs: Runs, ours: Ours, ids: Sequence[str]
) -> Iterator[tuple[Ours, Row]]:
    """The megabytes of a smaller model, and their share of the whole one's, beside those of the same kind."""
    cell = ours.cells[0]
    own = next((o for o in lines(runs).get((cell.task, ours.model), []) if o.chain == ours.method), None)
    if ours.metric != runs.metric(cell.task) or own is None or own.bytes is None:
        return
    kind = runs.kinds[ours.method]
    stored = published["storage"].eq(BITSANDBYTES[kind]) if kind in BITSANDBYTES else False
    same_kind = published["method_kind"].isin(_kinds(runs, ours.method)) | stored
    rows = published[same_kind & (published["finetuned_on"] == ours.id)]
    rows = rows[rows["metric"].isin(("size", "parameter_memory"))]
    same = about(rows, ids)
    for theirs in (rows if same.empty else same).to_dict("records"):
        size = replace(ours, id=theirs["task_id"], metric=theirs["metric"], value=own.bytes / 1e6)
        yield size, theirs
        fp32 = _fp32(published, theirs)
        if theirs["metric"] == "size" and own.share is not None and fp32 is not None:
            yield replace(size, metric="size_share", value=own.share), theirs | {"value": theirs["value"] / fp32}


def _fp32(published: pd.DataFrame, theirs: Row) -> float | None:
    """The size of the same published model before it was made smaller."""
    same = published[["system", "model_id", "metric"]].eq([theirs[n] for n in ("system", "model_id", "metric")])
    values = published.loc[same.all(axis=1) & (published["method_kind"] == FULL), "value"]
    return None if values.empty else float(values.iloc[0])


def _whole(published: pd.DataFrame, theirs: Row) -> float | None:
    """All parameters of a published model, where its study says them."""
    same = published[(published["system"] == theirs["system"]) & (published["model_id"] == theirs["model_id"])]
    known = same["parameters_millions"].dropna()
    return None if known.empty else float(known.iloc[0]) * 1e6


def _nearest(rows: pd.DataFrame, runs: Runs, method: str) -> pd.DataFrame:
    """Of every published table the rows whose storage, rank, alpha and sparsity are nearest to those of our method."""
    if rows.empty:
        return rows
    far = rows.assign(distance=[_distance(runs, method, row) for row in rows.to_dict("records")])
    return far[far["distance"] == far.groupby(SAME_TABLE)["distance"].transform("min")].drop(columns="distance")


def _distance(runs: Runs, method: str, theirs: Row) -> float:
    """Doublings between two ranks and two alphas, and zeros; another storage is further than any of them."""
    sparsity = runs.setting(method, "sparsity")
    total = 0.0 if sparsity is None or pd.isna(theirs["sparsity"]) else abs(float(sparsity) - theirs["sparsity"])
    for name in ("rank", "alpha"):
        own = runs.setting(method, name)
        if own and not pd.isna(theirs[name]):
            total += abs(math.log2(float(own) / theirs[name]))
    for name, own in teaching(runs, method).items():
        total += 0.0 if theirs[name] in ("", own) or pd.isna(theirs[name]) else 1.0
    storage = runs.setting(method, "storage")
    return total + (1000 if storage and theirs["storage"] not in ("", storage) else 0)
