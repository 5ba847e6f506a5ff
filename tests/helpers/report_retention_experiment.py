"""Constructed measurements of retention. The numbers are invented and are results of nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from report_experiment import Builder, cost, provenance

from electralab.config import Retention
from electralab.records import RunRecord, write_record
from electralab.specs import RetentionSpec

DOCUMENTS = 50


def influences(scale: float, seed: int) -> np.ndarray:
    """Of every document; all models find the same documents hard."""
    common = np.random.default_rng(0).normal(size=DOCUMENTS)
    own = np.random.default_rng(seed).normal(size=DOCUMENTS)
    found = scale * (common + 0.3 * own)
    return np.asarray(found - found.mean())


def measured(
    builder: Builder,
    model: str,
    value: float | None,
    *,
    run: tuple[str, str, int] | None = None,
    metric: str = "rtd_auc",
    influence: np.ndarray | None = None,
    reason: str | None = None,
    retention: str = "held_out",
    **metrics: float,
) -> Path:
    """One measurement of a model, or of a run (task, method, seed) of it; without a value it is skipped."""
    task, method, seed = run or (None, None, 0)
    settings = Retention(corpus="prose")
    spec = RetentionSpec(name=retention, model=model, task=task, method=method, seed=seed, settings=settings)
    path = builder.folder / "retention" / f"{len(builder.retentions):03d}" / "run.json"
    path.parent.mkdir(parents=True)
    own = influences(0.05, len(builder.retentions)) if influence is None else influence
    rows = [] if value is None else [f"{number},{each}" for number, each in enumerate(own.tolist())]
    (path.parent / "documents.csv").write_text("\n".join(["document,influence", *rows, ""]))
    known = {} if value is None else {metric: value, f"{metric}_low": value - 0.02, f"{metric}_high": value + 0.02}
    known |= {"documents": float(DOCUMENTS), "windows": 200.0, "tokens": 9000.0} if value is not None else {}
    write_record(
        path,
        RunRecord(
            stage="retention",
            model=model,
            task=task,
            method=method,
            seed=seed,
            status="skipped" if value is None else "ok",
            reason=reason,
            recipe=retention,
            primary_metric=None if value is None else metric,
            metrics=known | metrics,
            cost=cost(),
            provenance=provenance(),
            spec=spec.model_dump(mode="json"),
        ),
    )
    builder.retentions.append(path)
    return path
