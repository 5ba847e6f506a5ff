"""Published numbers (`reference/published_results.csv`, described in `reference/README.md`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from electralab.errors import UserError

COLUMNS = (
    "system",
    "model",
    "model_id",
    "pretraining_corpus",
    "pretraining_steps",
    "parameters_millions",
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


# The studies of adapters, and the task of each: efficient ELECTRA, efficient TinyBERT, adapters of OPT.
STUDIES = {"electra_pytorch_hpml": "mrpc", "tinybert_hpml": "mrpc", "opt_adapters": "qqp"}
# How they name their methods; the first that fits counts.
_KINDS = (
    (rf"{FULL_FINETUNING}$|fp32$", "full"),
    (r".* icl$", "in_context"),
    (r"QLoRA\b|.*LoRA.*NF4|NF4.*LoRA|int8 \(bnb", "qlora"),
    *((rf"{name}\b", name.lower()) for name in ("LoRA", "AdaLoRA", "LoHa", "LoKr", "OFT", "IA3")),
    (r"Prefix-tuning\b", "prefix"),
)
# MRPC's official validation rows, of which 279 are paraphrases.
MRPC_ROWS, MRPC_PARAPHRASES = 408, 279


@dataclass(frozen=True)
class PublishedMethod:
    """A published adapter: its kind as in `electralab.config.methods`, and what its name says of its options."""

    kind: str
    rank: float | None = None
    alpha: float | None = None
    storage: str | None = None
    targets: str | None = None


def published_method(name: str) -> PublishedMethod | None:
    """Take apart the name of a published method; None for what is no method of fine-tuning."""
    kind = next((kind for pattern, kind in _KINDS if re.match(pattern, name)), None)
    if kind is None:
        return None
    rank, alpha = re.search(r"\br(\d+)", name), re.search(r"\ba(?:lpha)?(\d+)", name)
    storage = re.search(r"nf4|fp4|int8", name.lower())
    return PublishedMethod(
        kind,
        float(rank[1]) if rank else None,
        float(alpha[1]) if alpha else None,
        storage[0] if storage else None,
        "attention" if "qkv" in name else None,
    )


def qlora_collapse(published: pd.DataFrame) -> str | None:
    """What the published QLoRA of efficient ELECTRA scored on MRPC, beside always answering `paraphrase`."""
    rows = published[(published["system"] == "electra_pytorch_hpml") & (published["task_id"] == "mrpc")]
    rows = rows[rows["method"].str.startswith("QLoRA") & (rows["split"] == "validation")]
    values = dict(zip(rows["metric"], rows["value"]))
    if not {"accuracy", "f1"} <= set(values):
        return None
    rate = MRPC_PARAPHRASES / MRPC_ROWS
    constant = {"accuracy": rate, "f1": 2 * rate / (1 + rate)}
    same = all(abs(values[name] - value) < 5e-4 for name, value in constant.items())
    return (
        f"Published QLoRA of efficient ELECTRA on MRPC: accuracy {values['accuracy']:.3f}, F1 {values['f1']:.3f}; "
        f"{'exactly what' if same else 'while'} always answering `paraphrase` scores on the {MRPC_ROWS} validation "
        f"rows ({constant['accuracy']:.3f}, {constant['f1']:.3f}). Its number of trained parameters lacks half of the "
        "head's dense layer: the head was packed into 4 bits, where nothing can train it."
    )
