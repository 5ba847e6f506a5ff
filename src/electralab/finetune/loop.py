"""The fine-tuning loop and the evaluation pass."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from electralab.config import Training
from electralab.deploy.rows import EVALUATION_BATCH_SIZE
from electralab.errors import RunFailed
from electralab.finetune.examples import EncodedExamples, Integers, LabelledBatch, evaluation_batches, training_batches
from electralab.finetune.objective import Objective
from electralab.finetune.optimizer import CLIP_NORM, build_optimizer, schedule_factor, set_learning_rate
from electralab.finetune.trained_model import TrainedModel
from electralab.progress import Progress
from electralab.speed.bf16 import has_bf16, multiplies_bf16

CHECK_LOSS_EVERY = 50  # steps: reading the loss of every step would stall a GPU
REMEDY = "use a lower learning rate or a longer warm-up, and check that the pretrained model is sound"


def train_model(
    model: TrainedModel,
    objective: Objective,
    examples: EncodedExamples,
    rows: Integers,
    settings: Training,
    learning_rate: float,
    seed: int,
    device: str,
    run: str,
    after_epoch: Callable[[int], None] | None = None,
) -> int:
    """Train in place on the given rows; return the number of real tokens read.

    Dropout draws from torch's global generator, which the caller seeds; the order of rows is a function of `seed`.

    Args:
        model: the model, on `device`.
        objective: what its outputs mean.
        examples: the training split.
        rows: row numbers to train on.
        settings: epochs, batch size, schedule and decays.
        learning_rate: peak rate of the head.
        seed: draws the batches.
        device: where to compute.
        run: names the run in progress and errors.
        after_epoch: called with the number of every finished epoch, from 1; may evaluate the model.

    Raises:
        RunFailed: the loss is no longer a finite number.
    """
    optimizer = build_optimizer(model, learning_rate, settings)
    in_bf16 = trains_in_bf16(settings, device)
    lengths = examples.lengths
    steps = settings.epochs * math.ceil(len(rows) / settings.batch_size)
    warmup_steps = int(settings.warmup_fraction * steps)
    model.train()
    step = 0
    with Progress(run, steps) as progress:
        for epoch in range(settings.epochs):
            unchecked: list[Tensor] = []
            total = 0.0
            batches = training_batches(rows, lengths, settings.batch_size, seed, epoch, examples.read_first)
            for index, batch_rows in enumerate(batches):
                factor = schedule_factor(settings.schedule, step, steps, warmup_steps)
                set_learning_rate(optimizer, settings, step, factor)
                batch = examples.batch(batch_rows).to(device)
                unchecked.append(_training_step(model, objective, optimizer, batch, step + 1, in_bf16))
                step += 1
                if len(unchecked) == CHECK_LOSS_EVERY or index == len(batches) - 1:
                    total += _checked_sum(unchecked, step, steps, run)
                    unchecked = []
                    progress.update(step, f"epoch {epoch + 1}/{settings.epochs}, loss {total / (index + 1):.3f}")
            if after_epoch is not None:
                after_epoch(epoch + 1)
                model.train()
                progress.pause()
    return settings.epochs * int(lengths[rows].sum())


def trains_in_bf16(settings: Training, device: str) -> bool:
    """Whether a step multiplies in bf16: on a GPU that has it, and on a CPU that has it where that is asked for."""
    return multiplies_bf16(device) if settings.precision == "bf16_where_native" else has_bf16(device)


def predict(
    model: nn.Module, objective: Objective, examples: EncodedExamples, rows: Integers, device: str, run: str
) -> npt.NDArray[np.float64]:
    """Answers to the given rows in the order of `rows`: log-probabilities [rows, classes], or scores [rows].

    Raises:
        RunFailed: the model answers with something that is not a finite number.
    """
    model.eval()
    batches = evaluation_batches(np.arange(len(rows)), examples.lengths[rows], EVALUATION_BATCH_SIZE)
    answers: list[npt.NDArray[np.float64]] = []
    with torch.inference_mode():
        for batch in batches:
            input_ids, attention_mask, token_type_ids, _ = examples.batch(rows[batch]).to(device)
            with _autocast(device, has_bf16(device)):
                logits = model(input_ids, attention_mask, token_type_ids)
            answers.append(objective.answers(logits).cpu().numpy())
    result = np.concatenate(answers)[np.argsort(np.concatenate(batches))]
    if not np.isfinite(result).all():
        raise RunFailed(f"{run}: the trained model answers with NaN or infinity: {REMEDY}")
    return result


def _training_step(
    model: TrainedModel,
    objective: Objective,
    optimizer: torch.optim.AdamW,
    batch: LabelledBatch,
    step: int,
    in_bf16: bool,
) -> Tensor:
    """One update; the loss is returned without waiting for it."""
    # Not around more than one step: autocast keeps its bf16 copies of the weights until it ends.
    with _autocast(batch.input_ids.device.type, in_bf16):
        logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    loss = model.loss(objective, logits, batch)
    penalty = model.penalty()
    (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimizer.step()
    model.after_update(step)
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _autocast(device: str, in_bf16: bool) -> torch.autocast:
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=in_bf16)


def _checked_sum(losses: list[Tensor], done: int, steps: int, run: str) -> float:
    """Sum of the latest losses, the last of which is that of step `done`."""
    values = torch.stack(losses).tolist()
    for step, value in enumerate(values, start=done - len(values) + 1):
        if not math.isfinite(value):
            raise RunFailed(f"{run}: the loss is {value} at step {step} of {steps}: {REMEDY}")
    return float(sum(values))
