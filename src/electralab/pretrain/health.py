"""Whether a pretraining is healthy: told from its own numbers, with what to change where it is not."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

EARLY = 0.25  # of the steps: before, nobody can know
CHANCE = 0.55  # AUC: little better than guessing
WINDOW = 100  # steps that the loss of a step is compared with
JUMP = 1.5  # times their median


class Spikes:
    """Counts steps whose loss jumps far above that of the steps before."""

    def __init__(self, recent: Iterable[float] = (), count: int = 0) -> None:
        self.recent = deque(recent, maxlen=WINDOW)
        self.count = count

    def add(self, loss: float) -> None:
        """Look at the loss of the next step."""
        if len(self.recent) == WINDOW and loss > JUMP * statistics.median(self.recent):
            self.count += 1
        self.recent.append(loss)


def findings(rows: Sequence[Mapping[str, Any]], steps: int) -> list[str]:
    """What is wrong with a run, and what to change; empty while nothing is, or nothing can be known yet.

    Args:
        rows: its evaluations so far, as they stand in `evaluation.csv`.
        steps: of the whole run.
    """
    latest = rows[-1]
    found = []
    spikes = sum(row.get("loss_spikes", 0) for row in rows)
    if spikes:
        found.append(
            f"the loss jumped above {JUMP:g} times its median of {WINDOW} steps {spikes} times: "
            "lower learning_rate or clip_norm, or raise warmup_steps"
        )
    if latest["step"] < EARLY * steps:
        return found
    yardstick = latest["rtd_auc_unigram"]
    if yardstick < CHANCE:
        found.append(
            f"the discriminator has not learnt to detect even random words (AUC {yardstick:.3f}, guessing is .5): "
            "train longer or in larger batches, raise learning_rate, or, in a small model, set unigram_warmup and "
            "initialization: position_aware_init"
        )
    joint_from = max((row["step"] for row in rows if row["phase"] != "joint"), default=0)
    if latest["step"] - joint_from < EARLY * (steps - joint_from):
        return found
    if latest["mlm_loss"] >= latest["unigram_cross_entropy"]:
        found.append(
            f"the generator predicts no better than word frequencies do (loss {latest['mlm_loss']:.2f}, theirs "
            f"{latest['unigram_cross_entropy']:.2f}): train longer, raise learning_rate or generator_weight"
        )
    elif yardstick >= CHANCE and latest["rtd_loss"] >= latest["rtd_base_entropy"]:
        found.append(
            f"the generator is too strong for the discriminator, which knows random words (AUC {yardstick:.3f}) and is "
            f"no better than a constant on the generator's (loss {latest['rtd_loss']:.3f}, the constant's "
            f"{latest['rtd_base_entropy']:.3f}): take a smaller generator (generator_sizes), or train longer"
        )
    return found
