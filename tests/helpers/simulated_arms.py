"""Fine-tunings of two arms whose true scores are known: right and wrong answers by seed and row."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import multivariate_normal

Floats = npt.NDArray[np.float64]


class Setting(NamedTuple):
    """`agreement`: share of rows on which two seeds of an arm are both right or both wrong, seeds alike otherwise;
    `seed_deviation`: standard deviation of an arm's accuracy over seeds; `own`: share of what rows have by themselves
    that differs between the arms."""

    seeds: int
    rows: int
    agreement: float
    seed_deviation: float
    own: float = 0.1
    accuracy: float = 0.7
    difference: float = 0.0


@cache
def noise_share(agreement: float, accuracy: float) -> float:
    """The share of a seed's own noise in a latent score, so that two seeds are right together as often as wanted."""
    threshold = ndtri(accuracy)
    correlations = np.linspace(0, 0.999, 100)
    both = np.array([multivariate_normal.cdf([threshold] * 2, cov=[[1, r], [r, 1]]) for r in correlations])
    return float(1 - np.interp(agreement, 1 - 2 * accuracy + 2 * both, correlations))


def simulate(generator: np.random.Generator, setting: Setting, repeats: int) -> Floats:
    """Right (1) or wrong (0) answers, [repeats, 2, seeds, rows]; a probit with a common and an own part of each row."""
    noise = noise_share(setting.agreement, setting.accuracy)
    threshold = ndtri(setting.accuracy)
    shift = setting.seed_deviation * np.sqrt(2 * np.pi) * np.exp(threshold**2 / 2)  # accuracy to latent score
    scores = np.array([setting.accuracy + setting.difference / 2, setting.accuracy - setting.difference / 2])
    limits = ndtri(scores) * np.sqrt(1 + shift**2)

    def normal(*shape: int) -> npt.NDArray[np.float32]:
        return generator.standard_normal(shape, dtype=np.float32)

    seeds, rows = setting.seeds, setting.rows
    latent = np.sqrt((1 - noise) * (1 - setting.own)) * normal(repeats, 1, 1, rows)
    latent = latent + np.sqrt((1 - noise) * setting.own) * normal(repeats, 2, 1, rows)
    latent = latent + np.sqrt(noise) * normal(repeats, 2, seeds, rows) + shift * normal(repeats, 2, seeds, 1)
    return (latent + limits[:, None, None] > 0).astype(np.float64)
