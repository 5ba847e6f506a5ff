"""Our side of the comparison: medians over seeds, as ELECTRA's numbers are, and what the runs were told."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import pandas as pd

from electralab.config import Shape
from electralab.names import whole_run
from electralab.report.published.reference import SMALL, SMALL_RELEASED
from electralab.report.runs import FULL, Cell, Runs
from electralab.report.scores import AVERAGES, Average, Score, averages, scores


@dataclass(frozen=True)
class Ours:
    """One number: `id` and `metric` are those of published results, `value` is the median over `seeds` seeds.

    An average over `tasks` is the mean of its tasks' medians; what is no score (`trainable`) is a median too.
    """

    model: str
    id: str
    metric: str
    method: str
    cells: tuple[Cell, ...]
    tasks: tuple[str, ...]
    value: float
    seeds: int

    @property
    def methods(self) -> list[str]:
        """The methods behind the number; an average may have several."""
        return list(dict.fromkeys(cell.method for cell in self.cells))


def our_numbers(runs: Runs) -> list[Ours]:
    """Scores of trained models, then averages; an untrained control has no published counterpart."""
    found = []
    every, of_sets = scores(runs), averages(runs)
    for model in [model for model in runs.finetuned_models if model not in runs.random_models]:
        for score in every:
            # The study of OPT reports weighted F1 beside accuracy.
            more = {"f1_weighted": runs.by_seed(score.cell, model, "f1_weighted")} if score.main else {}
            for metric, by_seed in ({score.metric: score.by_seed(runs, model)} | more).items():
                if values := list(by_seed.values()):
                    own = ((score.cell,), (score.id,), median(values), len(values))
                    found.append(Ours(model, score.id, metric, score.cell.method, *own))
        found += [_average(runs, average, every) for average in of_sets if average.model == model]
    return found


def _average(runs: Runs, average: Average, every: list[Score]) -> Ours:
    parts = [s for s in every if s.main and s.cell in average.cells and s.id in AVERAGES[average.id]]
    by_seed = [score.by_seed(runs, average.model) for score in parts]
    return Ours(
        average.model,
        average.id,
        "mean",
        average.method,
        average.cells,
        tuple(score.id for score in parts),
        fmean(median(values.values()) for values in by_seed),
        len(set.intersection(*map(set, by_seed))),
    )


def published_ids(runs: Runs, model: str) -> tuple[str, ...]:
    """The `model_id` of published rows about a model: its hub id, or ELECTRA-Small for one of that shape."""
    if runs.is_downloaded(model):
        return (runs.origins[model],)
    told = pretraining_options(runs, model)
    shape = {name: told[name] for name in Shape.model_fields if name in told}
    small = {"layers", "hidden_size"} <= shape.keys() and shape.items() <= Shape().model_dump().items()
    return (SMALL, SMALL_RELEASED) if small else ()


def pretraining_options(runs: Runs, model: str) -> dict[str, Any]:
    """What the pretraining that a model comes from was told, a snapshot's included; without what runs do not say."""
    rows = runs.pretrainings[runs.pretrainings["model"] == whole_run(model)]
    row = rows.iloc[0].to_dict() if len(rows) else {}
    told = {str(name): value for name, value in row.items() if not pd.isna(value) and value != ""}
    for prefix in ("spec.settings.", "spec.settings.discriminator."):
        told |= {name.removeprefix(prefix): value for name, value in told.items() if name.startswith(prefix)}
    return told


def has_adapters(runs: Runs, ours: Ours) -> bool:
    """Whether the model has other methods than full fine-tuning on the task: they are read against it."""
    rows = runs.finetuned
    rows = rows[(rows["model"] == ours.model) & rows["task"].isin({cell.task for cell in ours.cells})]
    return bool((rows["kind"] != FULL).any())
