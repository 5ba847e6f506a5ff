"""Which options of a search mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from electralab.config import Range


def importances(space: Mapping[str, Range | list[Any]], scored: list[dict[str, Any]]) -> dict[str, float]:
    """Share of the scores' variance that each option explains on its own (functional ANOVA, Hutter et al. 2014).

    A range of logarithms counts by its logarithm, as it was drawn; Optuna's own would weigh it by its values, nearly
    all of which lie near the upper end. Empty where scores do not vary.
    """
    from optuna.importance import FanovaImportanceEvaluator  # imports scikit-learn, which workers do without

    if len({trial["score"] for trial in scored}) < 2:
        return {}
    distributions = {name: _distribution(values) for name, values in space.items()}
    study = optuna.create_study(direction="maximize")
    for trial in scored:
        options = {name: math.log(value) if _is_log(space[name]) else value for name, value in trial["options"].items()}
        study.add_trial(optuna.trial.create_trial(params=options, distributions=distributions, value=trial["score"]))
    found = FanovaImportanceEvaluator(seed=0).evaluate(study)
    return {name: float(share) for name, share in found.items()}


def _distribution(values: Range | list[Any]) -> BaseDistribution:
    if isinstance(values, list):
        return CategoricalDistribution(values)
    if values.log:
        return FloatDistribution(math.log(values.low), math.log(values.high))
    return FloatDistribution(values.low, values.high)


def _is_log(values: Range | list[Any]) -> bool:
    return isinstance(values, Range) and values.log
