"""`reference/published_results.csv`; its README says what each column holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from electralab.errors import UserError
from electralab.report.runs import FULL

NUMBERS = [
    *("value", "pretraining_steps", "parameters_millions", "generator_size", "batch_size", "sequence_length"),
    *("rank", "alpha", "virtual_tokens", "max_length", "sparsity", "kd_alpha", "kd_temperature"),
]
SMALL = "electra-small"  # ELECTRA-Small's shape, pretrained by the source
SMALL_RELEASED = "google/electra-small-discriminator"
# MRPC's official validation rows, of which 279 are paraphrases.
MRPC_ROWS, MRPC_PARAPHRASES = 408, 279


def read_published(path: Path) -> pd.DataFrame:
    """Read published results: what a source does not state is NaN in a column of numbers, else the empty text.

    Raises:
        UserError: the file is missing or is not such a table.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [name for name in NUMBERS if name not in frame]
        if missing:
            raise UserError(f"{path} lacks the columns {', '.join(missing)}: restore it with git checkout")
        return frame.assign(**frame[NUMBERS].apply(pd.to_numeric))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: it belongs to the repository; restore it with git checkout") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): restore it with git checkout") from None


def full_finetunings(published: pd.DataFrame) -> pd.DataFrame:
    """Scores of fully fine-tuned models on a validation or test split."""
    return published[
        (published["method_kind"] == FULL)
        & (published["statistic"] == "score")
        & published["split"].isin(("validation", "test"))
    ]


def studies(published: pd.DataFrame, task: str) -> list[str]:
    """Systems that tuned or compressed in other ways than full fine-tuning on a task."""
    rows = published[(published["finetuned_on"] == task) & ~published["method_kind"].isin(("", FULL))]
    return list(dict.fromkeys(rows["system"]))


def about(published: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Rows about one of these models, by `model_id`."""
    return published[published["model_id"].map(lambda model_id: same_model(model_id, ids)).astype(bool)]


def same_model(model_id: str, ids: Sequence[str]) -> bool:
    """Hub ids have moved under owners (`bert-base-uncased`, `google-bert/bert-base-uncased`): the last part counts."""
    return model_id.rpartition("/")[2].lower() in {one.rpartition("/")[2].lower() for one in ids}


def published_sizes(published: pd.DataFrame) -> str:
    """What the sizes of compressed models in two studies are sizes of, as printed and in MB."""
    sizes = published[published["metric"].isin(("size", "parameter_memory"))]

    def said(system: str, storage: str) -> tuple[str, str]:
        row = sizes[(sizes["system"] == system) & sizes["storage"].eq(storage)].iloc[0]
        return row["printed"], f"{row['value']:.1f}"

    electra, electra_mb = said("electra_pytorch_hpml", "int8")
    whole, fp32 = said("electra_pytorch_hpml", ""), said("tinybert_hpml", "fp32")
    nf4, int8 = said("tinybert_hpml", "nf4"), said("tinybert_hpml", "int8")
    return (
        f"Published sizes, here in MB of 1,000,000 bytes: efficient ELECTRA prints {electra} `MB` for int8, which are "
        f"MiB ({electra_mb} MB) of the parameters that stayed in fp32; with the int8 weights it is about 44.5 MB. Its "
        f"{whole[0]} MB for fp32 are MB. TinyBERT prints MiB: {fp32[0]} (fp32), {nf4[0]} (nf4) and {int8[0]} (int8) "
        f"are {fp32[1]}, {nf4[1]} and {int8[1]} MB; `-61 %` is nf4 beside fp32."
    )


def qlora_collapse(published: pd.DataFrame) -> str | None:
    """What the published QLoRA with an untrained head scored on MRPC, beside always answering `paraphrase`."""
    rows = published[(published["method_kind"] == "qlora") & (published["trained_head"] == "no")]
    rows = rows[(rows["task_id"] == "mrpc") & (rows["split"] == "validation")]
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
