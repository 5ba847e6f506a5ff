"""One fine-tuning run: a model, a task, a method and a seed go in; predictions and a run record come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from electralab.data.tasks import TaskData, read_task
from electralab.finetune.examples import encode_examples, sample_examples
from electralab.finetune.loop import predict
from electralab.finetune.metrics import classification_metrics
from electralab.finetune.predictions import write_predictions
from electralab.finetune.start import starting_encoder
from electralab.finetune.tuning import Tuned, train_best
from electralab.plan import FinetuneSpec
from electralab.records import Meter, RunRecord, write_record
from electralab.tokens.tokenizer import load_tokenizer


def run_finetuning(
    spec: FinetuneSpec, record_path: Path, task: Path, tokenizer: Path, model: Path | None, threads: int, device: str
) -> RunRecord:
    """Fine-tune, score the validation rows once, write `predictions.csv` and then the run record.

    The same spec and inputs give bit-identical predictions on a CPU with the same number of threads.

    Args:
        spec: what to run.
        record_path: where the run record goes; predictions go beside it.
        task: the task's manifest.
        tokenizer: the `tokenizer.json` that the model was trained with.
        model: run record of the pretraining, beside its `discriminator/`; None for the untrained control.
        threads: CPU threads.
        device: `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: model and tokenizer do not fit, or the loss is no longer a finite number.
    """
    torch.set_num_threads(threads)
    meter = Meter(device, threads)
    settings = spec.settings
    run = f"{spec.model} on {spec.task}, {spec.method}, seed {spec.seed}"

    data, text_encoder = read_task(task), load_tokenizer(tokenizer)
    encoder, encoder_source = starting_encoder(spec, text_encoder, model)
    meter.data = {"task": data.checksum, "tokenizer": text_encoder.checksum, "model": encoder_source}

    sample = sample_examples(data.train, settings.max_train_rows, spec.seed)
    train = encode_examples(sample, text_encoder, settings.max_length)
    tuned = train_best(spec, encoder, train, len(data.labels), device, run)

    validation = encode_examples(data.validation, text_encoder, settings.max_length)
    log_probabilities = predict(tuned.classifier, validation, np.arange(len(validation)), device, run)
    metrics = classification_metrics(validation.labels, log_probabilities) | {
        "train_rows": tuned.train_rows,
        "tuning_rows": tuned.tuning_rows,
        "validation_rows": len(validation),
        "learning_rate": tuned.learning_rate,
        "epochs": settings.epochs,
    }
    for trial in tuned.trials:
        metrics[f"tuning_accuracy_at_{trial.learning_rate:g}"] = trial.accuracy
        metrics[f"tuning_loss_at_{trial.learning_rate:g}"] = trial.loss

    write_predictions(record_path.with_name("predictions.csv"), data.validation, log_probabilities)
    record = _record(spec, data, tuned, metrics, meter)
    write_record(record_path, record)
    return record


def _record(spec: FinetuneSpec, data: TaskData, tuned: Tuned, metrics: dict[str, float], meter: Meter) -> RunRecord:
    parameters = sum(parameter.numel() for parameter in tuned.classifier.parameters())
    on_gpu = meter.device.startswith("cuda")
    return RunRecord(
        stage="finetune",
        model=spec.model,
        task=spec.task,
        method=spec.method,
        seed=spec.seed,
        recipe=spec.pretraining_recipe,
        extensions=spec.extensions,
        synthetic=data.synthetic,
        metrics=metrics,
        predictions="predictions.csv",
        notes=_notes(tuned, metrics),
        cost=meter.cost(
            parameters={"total": parameters, "trainable": parameters},
            tokens=tuned.tokens,
            peak_gpu_bytes=torch.cuda.max_memory_allocated(meter.device) if on_gpu else None,
        ),
        provenance=meter.provenance(),
        spec=spec.model_dump(mode="json"),
    )


def _notes(tuned: Tuned, metrics: dict[str, float]) -> list[str]:
    notes = []
    if tuned.trials:
        scores = ", ".join(f"{trial.learning_rate:g}: {trial.accuracy:.3f}" for trial in tuned.trials)
        notes.append(
            f"learning rate {tuned.learning_rate:g} chosen by accuracy on {tuned.tuning_rows} training rows that were "
            f"set aside ({scores})"
        )
    if metrics["majority_class"]:
        notes.append("every prediction is the same class: this run has learnt nothing")
    return notes
