"""The interval of a paired difference by the two-way table of seeds and rows, without the code of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from report_experiment import made_up_answers
from scipy import stats


def half_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """Half-width for right and wrong answers [seeds, rows] of two arms (test_differences.py has the equations)."""
    d = a - b
    seeds, rows = d.shape
    rest = d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()
    over_rows = d.mean(axis=0).var(ddof=1) / rows - (rest**2).sum() / ((seeds - 1) * (rows - 1) * seeds * rows)
    over_seeds = stats.t.ppf(0.975, seeds - 1) * stats.sem(d.mean(axis=1))
    half = np.hypot(over_seeds, stats.norm.ppf(0.975) * np.sqrt(max(0, over_rows)))
    return float(max(half, stats.norm.ppf(0.975) * stats.sem(d.mean(axis=0))))


def right_answers(model: str, method: str, scores: Sequence[float]) -> np.ndarray:
    """Which rows runs of `Builder.finetune` with these scores, seeds from 0, answer right; [seeds, 1000]."""
    given = [made_up_answers(score, 1000, f"{model} {method} {seed}") for seed, score in enumerate(scores)]
    return np.array([(labels == answers).astype(float) for labels, answers in given])
