"""Published numbers (`reference/published_results.csv`, described in `reference/README.md`)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from electralab.errors import UserError

COLUMNS = (
    "system",
    "model",
    "model_id",
    "pretraining_corpus",
    "pretraining_steps",
    "method",
    "task_id",
    "split",
    "metric",
    "statistic",
    "value",
    "unit",
    "protocol",
    "source",
    "notes",
)
FULL_FINETUNING = "full fine-tuning"
SMALL = "electra-small"  # ELECTRA-Small's shape, pretrained by the source
SMALL_RELEASED = "google/electra-small-discriminator"


def read_published(path: Path) -> pd.DataFrame:
    """Read published results; text columns hold no missing values.

    Raises:
        UserError: the file is missing or is not such a table.
    """
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values={"value": [""], "pretraining_steps": [""]})
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: it belongs to the repository; restore it with git checkout") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): restore it with git checkout") from None
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: restore it with git checkout")
    return frame


def full_finetunings(published: pd.DataFrame) -> pd.DataFrame:
    """Scores of fully fine-tuned models on a validation or test split."""
    return published[
        (published["method"] == FULL_FINETUNING)
        & (published["statistic"] == "score")
        & published["split"].isin(("validation", "test"))
    ]
