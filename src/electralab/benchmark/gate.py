"""The accuracy gate: what is timed answers as the run's own record says, or it is not timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from electralab.artifacts import Manifest
from electralab.data.example import Example
from electralab.errors import RunFailed
from electralab.finetune.predictions import predictions_name, read_predictions

ROWS = 200
LEAST = 0.99  # few-bit kernels round batches of another make-up a little otherwise
CLOSE = 0.02  # of a regression's range


def check_answers(path: Path, rows: Sequence[Example], manifest: Manifest, logits: npt.NDArray[Any]) -> float:
    """The share of rows that a backend answers as the record of its run does.

    Args:
        path: of the manifest, beside whose folder the predictions are.
        rows: validation rows, [N].
        manifest: how logits become answers.
        logits: [N, outputs].

    Raises:
        RunFailed: too few are.
        UserError: there are no predictions.
    """
    before = read_predictions(path.parent.parent / predictions_name("validation"))
    told = [before[row.id] for row in rows]
    if manifest.score_range is None:
        same = [manifest.labels[number] == answer for number, answer in zip(logits.argmax(axis=1), told)]
    else:
        assert manifest.reads is not None, "whatever answers says how it reads"
        low, high = manifest.score_range
        scores = manifest.reads.offset + manifest.reads.scale * logits[:, 0]
        same = [abs(score - float(answer)) <= CLOSE * (high - low) for score, answer in zip(scores, told)]
    share = float(np.mean(same))
    if share < LEAST:
        raise RunFailed(
            f"not timed: it answers {len(same) - sum(same)} of {len(same)} rows otherwise than the record of its run"
        )
    return share
