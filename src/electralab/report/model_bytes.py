"""How large a fine-tuned model is, by one rule for all pages that put models of other kinds side by side."""

from __future__ import annotations

from electralab.names import NO_MODEL
from electralab.report.runs import Cell, Runs

SIZES = (
    "MB of 1,000,000 bytes of the files of weights, the tokenizer's not among them; an adapter with the frozen weights "
    "under it, TF-IDF as 4 bytes a coefficient."
)


def model_bytes(runs: Runs, cell: Cell, model: str) -> float | None:
    """Median over seeds of the bytes of all weights that answering needs; None where nothing was kept."""
    if model == NO_MODEL:
        rows = runs.baseline
        rows = rows[(rows["task"] == cell.task) & (rows["method"] == cell.method)].reindex(columns=["parameters.total"])
        counted = rows["parameters.total"].dropna()
        return None if counted.empty else 4 * float(counted.iloc[0])
    stored = runs.typical(cell, model, "cost.bytes_on_disk") or 0.0
    frozen = runs.typical(cell, model, "metric.weights_bytes") or 0.0
    of_adapter = runs.typical(cell, model, "metric.adapter_bytes") is not None
    return (stored + frozen if of_adapter else stored or frozen) or None
