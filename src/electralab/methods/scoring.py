"""One fine-tuning run: a model, a task, a method and a seed go in; predictions and a run record come out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from electralab.config import FinetuningMethod, Training
from electralab.data.example import Example
from electralab.data.tasks import TaskData, read_task
from electralab.files import read_json
from electralab.finetune.evaluation import (
    MISMATCHED,
    check_labels,
    evaluate,
    evaluation_notes,
    row_counts,
    without_test,
    write_answers,
)
from electralab.finetune.examples import sample_examples, swapped_pairs
from electralab.finetune.inference import TIMED_ROWS
from electralab.finetune.loop import predict
from electralab.finetune.metrics import Floats, task_metrics
from electralab.finetune.objective import objective_of
from electralab.finetune.predictions import predictions_name
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.full import Approach
from electralab.methods.tuning import Tuned, train_best
from electralab.records import Meter, RunRecord, write_record
from electralab.specs import FinetuneSpec


def run_finetuning(
    spec: FinetuneSpec,
    record_path: Path,
    task: Path,
    model: Path | None,
    make_approach: Callable[[TaskData], Approach],
    threads: int,
    device: str,
    after_epoch: Callable[[int, float], None] | None = None,
) -> RunRecord:
    """Fine-tune, score the validation rows once, write the predictions of every split and then the run record.

    The same spec and inputs give bit-identical predictions on a CPU with the same number of threads.

    Args:
        spec: what to run.
        record_path: where the run record goes; predictions go beside it.
        task: the task's manifest.
        model: the file that vouches for the weights beside it: the run record of a pretraining, or the manifest of a
            downloaded model; None for the untrained control.
        make_approach: what the kind of model and method do with a task.
        threads: CPU threads.
        device: `cpu`, `cuda` or `cuda:N`.
        after_epoch: called with the number of every finished epoch and the score of the validation rows.

    Raises:
        UserError: model and tokenizer do not fit, a row to be scored has no label, or the loss is no longer a finite
            number.
    """
    torch.set_num_threads(threads)
    meter = Meter(device, threads)
    settings = spec.settings
    assert isinstance(settings, Training), "a method that trains nothing has its own way"

    data = read_task(task)
    check_labels(data)
    data = data if settings.answer_test else without_test(data)
    approach = make_approach(data)
    meter.data = {"task": data.checksum, "tokenizer": approach.tokenizer, "model": approach.source}

    sample = sample_examples(data.train, settings.max_train_rows, spec.seed)
    doubled = settings.double_unordered and data.unordered
    twins = swapped_pairs(sample) if doubled else []
    train = approach.encode([*sample, *twins], data.regression)
    objective = objective_of(data, settings)

    def answer(examples: list[Example], model: TrainedModel) -> Floats:
        encoded = approach.encode(examples, data.regression)
        return predict(model, objective, encoded, np.arange(len(encoded)), device, spec.title)

    def score_epoch(epoch: int, model: TrainedModel) -> None:
        assert after_epoch is not None
        labels = np.array([example.label for example in data.validation])
        scores = task_metrics(data.metrics, labels, answer(data.validation, model), data.score_range)
        after_epoch(epoch, scores["score"])

    on_epoch = None if after_epoch is None else score_epoch
    tuned = train_best(spec, settings, data, approach.fresh, train, len(sample), device, spec.title, on_epoch)

    metrics, answers = evaluate(data, partial(answer, model=tuned.model), settings.mnli_validation)
    metrics |= row_counts(task, data)
    metrics |= {
        "train_rows": tuned.train_rows,
        "tuning_rows": tuned.tuning_rows,
        "learning_rate": tuned.learning_rate,
        "epochs": settings.epochs,
        "train_seconds": tuned.seconds,
    }
    for trial in tuned.trials:
        metrics[f"tuning_{data.metrics[0]}_at_{trial.learning_rate:g}"] = trial.score
        metrics[f"tuning_loss_at_{trial.learning_rate:g}"] = trial.loss

    write_answers(record_path.parent, data, answers)
    timed = approach.encode(sample_examples(data.validation, TIMED_ROWS, 0), data.regression)
    kept = approach.keep(tuned.model, record_path.parent, timed)
    metrics |= kept.metrics
    notes = [*_notes(spec, settings, data, tuned, metrics, model), *kept.notes]
    record = finetuning_record(spec, data, tuned.tokens, kept.parameters, metrics, notes, meter)
    write_record(record_path, record)
    return record


def recipe_of(method: FinetuningMethod) -> str:
    """What the record calls the method's variant."""
    return getattr(method, "recipe", method.kind)


def finetuning_record(
    spec: FinetuneSpec,
    data: TaskData,
    tokens: int,
    parameters: dict[str, int],
    metrics: dict[str, float],
    notes: list[str],
    meter: Meter,
) -> RunRecord:
    """The record of a finished run on a task."""
    on_gpu = meter.device.startswith("cuda")
    return RunRecord(
        stage="finetune",
        model=spec.model,
        task=spec.task,
        method=spec.method,
        seed=spec.seed,
        recipe=recipe_of(spec.settings),
        primary_metric=data.metrics[0],
        glue=data.glue,
        extensions=spec.extensions,
        synthetic=data.synthetic,
        metrics=metrics,
        predictions=predictions_name("validation"),
        notes=notes,
        cost=meter.cost(
            parameters=parameters,
            tokens=tokens,
            peak_gpu_bytes=torch.cuda.max_memory_allocated(meter.device) if on_gpu else None,
        ),
        provenance=meter.provenance(),
        spec=spec.model_dump(mode="json"),
    )


def _notes(
    spec: FinetuneSpec, settings: Training, data: TaskData, tuned: Tuned, metrics: dict[str, float], model: Path | None
) -> list[str]:
    notes = []
    if tuned.trials:
        scores = ", ".join(f"{trial.learning_rate:g}: {trial.score:.3f}" for trial in tuned.trials)
        notes.append(
            f"learning rate {tuned.learning_rate:g} chosen by {data.metrics[0]} on {tuned.tuning_rows} training rows "
            f"that were set aside ({scores})"
        )
    if settings.double_unordered and data.unordered:
        notes.append("every training pair was read both ways round (double_unordered)")
    if MISMATCHED in data.splits and settings.mnli_validation == "matched_and_mismatched":
        notes.append("the score is of the matched and the mismatched validation rows together")
    if spec.downloaded is not None and model is not None:
        manifest = read_json(model)
        seen = manifest["trained_on"].get(data.glue)
        notes += [*manifest["notes"], *([seen] if seen else [])]
    return notes + evaluation_notes(data, metrics)
