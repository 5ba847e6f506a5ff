"""Which way a run goes: our encoder trained whole, an adapter beside a frozen model, a decoder, or no training."""

from __future__ import annotations

from pathlib import Path

from electralab.config import FullFinetuning
from electralab.data.tasks import TaskData
from electralab.finetune.approach import Approach, WholeEncoder
from electralab.finetune.objective import objective_of
from electralab.finetune.start import starting_encoder
from electralab.finetune.trainer import run_finetuning
from electralab.plan import FinetuneSpec
from electralab.records import RunRecord
from electralab.tokens.tokenizer import load_tokenizer


def run_method(
    spec: FinetuneSpec, record_path: Path, task: Path, tokenizer: Path, model: Path | None, threads: int, device: str
) -> RunRecord:
    """Run one method on one task and write its record.

    Args:
        spec: what to run.
        record_path: where the run record goes; predictions and adapters go beside it.
        task: the task's manifest.
        tokenizer: the `tokenizer.json` that the model was trained with.
        model: the file that vouches for the weights beside it: the run record of a pretraining, or the manifest of a
            downloaded model; None for the untrained control.
        threads: CPU threads.
        device: `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: model, tokenizer and method do not fit, a row to be scored has no label, or the loss is no longer a
            finite number.
    """

    def make(data: TaskData) -> Approach:
        settings = spec.settings
        text_encoder = load_tokenizer(tokenizer)
        encoder, source = starting_encoder(spec, text_encoder, model)
        assert isinstance(settings, FullFinetuning)
        outputs = objective_of(data, settings).outputs
        return WholeEncoder(encoder, source, text_encoder, settings, outputs, spec.seed)

    return run_finetuning(spec, record_path, task, model, make, threads, device)
