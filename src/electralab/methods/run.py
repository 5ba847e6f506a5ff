"""Which way a run goes: our encoder trained whole, an adapter beside a frozen model, a decoder, or no training.

PEFT and transformers are imported by the runs that need them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from electralab.config import AdapterMethod, FullFinetuning, InContext, Training
from electralab.data.models import DECODERS
from electralab.data.tasks import TaskData
from electralab.errors import UserError
from electralab.files import read_json
from electralab.finetune.encoder.start import starting_encoder, weights_folder
from electralab.finetune.objective import objective_of
from electralab.methods.full import Approach, WholeEncoder
from electralab.methods.scoring import run_finetuning
from electralab.records import RunRecord
from electralab.specs import FinetuneSpec
from electralab.tokens.tokenizer import load_tokenizer


def run_method(
    spec: FinetuneSpec,
    record_path: Path,
    task: Path,
    tokenizer: Path,
    model: Path | None,
    threads: int,
    device: str,
    after_epoch: Callable[[int, float], None] | None = None,
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
        after_epoch: called with the number of every finished epoch and the score of the validation rows.

    Raises:
        UserError: model, tokenizer and method do not fit, a row to be scored has no label, the loss is no longer a
            finite number, or the GPU's memory is full.
    """
    try:
        if isinstance(spec.settings, InContext):
            from electralab.methods.decoder import run_in_context

            return run_in_context(spec, record_path, task, model, threads, device)
        make = partial(_approach, spec, tokenizer, model, device)
        return run_finetuning(spec, record_path, task, model, make, threads, device, after_epoch)
    except torch.OutOfMemoryError as error:
        smaller = "max_length or shots" if isinstance(spec.settings, InContext) else "batch_size or max_length"
        recompute = getattr(spec.settings, "gradient_checkpointing", True)
        remedy = f"lower {smaller}" + ("" if recompute else ", or switch gradient_checkpointing on")
        raise UserError(f"{spec.title}: the GPU's memory is full: {remedy}") from error


def _approach(spec: FinetuneSpec, tokenizer: Path, model: Path | None, device: str, data: TaskData) -> Approach:
    settings = spec.settings
    assert isinstance(settings, Training), "nothing else is trained"
    if model is not None and _is_decoder(weights_folder(spec, model)):
        from electralab.methods.decoder import decoder_approach

        return decoder_approach(spec, settings, model, data, device)
    if settings.answers != "label_words":
        raise UserError(f"method {spec.method}: answers is for decoders, and {spec.model} is an encoder: leave it out")
    text_encoder, objective = load_tokenizer(tokenizer), objective_of(data, settings)
    encoder, source = starting_encoder(spec, text_encoder, model)
    if isinstance(settings, FullFinetuning):
        return WholeEncoder(encoder, source, text_encoder, settings, objective, spec.seed, device)
    assert isinstance(settings, AdapterMethod)
    if model is None:
        raise UserError(f"method {spec.method} adapts a pretrained model, and {spec.model} is untrained")
    from electralab.methods.adapters.run import adapted_encoder

    return adapted_encoder(settings, weights_folder(spec, model), source, text_encoder, objective, spec.seed, device)


def _is_decoder(folder: Path) -> bool:
    return read_json(folder / "config.json").get("model_type") in DECODERS
