"""One run on a task, whatever its method: read the task, run the method, score, write. Knows every method by its kind.

A module is imported by the runs that need it, and with it torch, PEFT or scikit-learn.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from electralab.artifacts import Left, read_manifest, weights_in, write_manifest
from electralab.data.tasks import TaskData, read_task
from electralab.errors import RunFailed, Unsuitable, UserError
from electralab.finetune.evaluation import check_labels, evaluate, evaluation_notes, row_counts, write_answers
from electralab.finetune.metrics import Floats
from electralab.finetune.predictions import predictions_name, read_predictions
from electralab.methods.job import Job, Method
from electralab.records import Meter, RunRecord, read_record, write_record
from electralab.specs import RunSpec
from electralab.weight_bytes import bytes_of

# Modules of the kinds that are not called like theirs.
ADAPTERS = ("lora", "rslora", "dora", "qlora", "adalora", "prefix", "prompt", "ia3", "loha", "lokr", "oft")
MODULES = {
    **{"linear_probe": "full"},
    **dict.fromkeys(ADAPTERS, "adapters.run"),
    **{kind: f"quantization.{kind}" for kind in ("dynamic_int8", "static_int8", "openvino_int8", "qat")},
    **dict.fromkeys(("weight_only_int8", "weight_only_int4"), "quantization.weight_only"),
    **dict.fromkeys(("nf4", "bnb_int8"), "quantization.low_bit"),
    **{kind: f"pruning.{kind}" for kind in ("prune", "prune_full", "recover", "prune_as_you_tune")},
    **dict.fromkeys(("remove", "remove_heads"), "pruning.remove"),
}


class Inputs(NamedTuple):
    """The files that a run reads; see `Job`."""

    task: Path
    start: Path | None = None
    tokenizer: Path | None = None
    teacher: Path | None = None
    corpus: Path | None = None


def run_job(
    spec: RunSpec,
    record_path: Path,
    inputs: Inputs,
    threads: int = 1,
    device: str = "cpu",
    after_epoch: Callable[[int, float], None] | None = None,
) -> RunRecord:
    """Run one link of a chain; write its predictions and its artifact, and then its record.

    The same spec and inputs give bit-identical predictions on a CPU with the same number of threads. A run that comes
    to nothing by itself, or whose method cannot be run here, is a record with that status and the reason.

    Args:
        spec: what to run.
        record_path: where the run record goes; predictions and the artifact go beside it.
        inputs: what it reads.
        threads: CPU threads.
        device: `cpu`, `cuda` or `cuda:N`.
        after_epoch: as in `Job`.

    Raises:
        UserError: an input is missing, damaged or does not belong to the others, or a row to be scored has no label.
    """
    meter = Meter(device, threads)
    data = read_task(inputs.task)
    if spec.scored_on == "tuning":
        from electralab.methods.tuning import on_tuning_rows

        data = on_tuning_rows(data, spec.seed)
    check_labels(data)
    meter.data = {"task": data.checksum}
    folder = record_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    others = {"teacher": inputs.teacher, "corpus": inputs.corpus}
    job = Job(spec, data, inputs.start, inputs.tokenizer, folder, device, threads, after_epoch, **others)
    try:
        record = _finished(job, inputs, meter)
    except (RunFailed, Unsuitable) as error:
        status: Literal["failed", "skipped"] = "failed" if isinstance(error, RunFailed) else "skipped"
        reason = str(error).removeprefix(spec.title).lstrip(",: ")  # which rows and lines of their own begin with
        shutil.rmtree(job.artifact, ignore_errors=True)  # a model that answers with NaN was written before it was asked
        _write_artifact(job, Left(form=None, reason=f"the run is {status}: {reason}"))
        write_answers(folder, data, {})
        record = _record(job, meter).model_copy(update={"status": status, "reason": reason, "cost": meter.cost()})
    return write_record(record_path, record)


def _finished(job: Job, inputs: Inputs, meter: Meter) -> RunRecord:
    spec, folder = job.spec, job.folder
    previous = _previous(job)
    try:
        outcome = method_of(spec.settings.kind)(job)
        metrics, answers = evaluate(outcome.scored, outcome.answer, outcome.mnli_validation)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch may not be imported
            raise RunFailed(_out_of_memory(spec, error)) from error
        raise
    meter.data |= outcome.checksums
    metrics |= row_counts(inputs.task, outcome.scored) | outcome.metrics
    if previous is not None:
        metrics |= _agreement(previous, outcome.scored, answers["validation"])
    write_answers(folder, outcome.scored, answers)
    _write_artifact(job, outcome.left)
    weights = weights_in(job.artifact)
    metrics |= bytes_of(job.artifact, weights)
    return _record(job, meter).model_copy(
        update={
            "metrics": metrics,
            "predictions": predictions_name("validation"),
            "notes": [*outcome.notes, *evaluation_notes(outcome.scored, metrics)],
            "cost": meter.cost(
                parameters=outcome.parameters,
                tokens=outcome.tokens,
                bytes_on_disk=sum(path.stat().st_size for path in weights),
                **outcome.peaks,
            ),
        }
    )


def method_of(kind: str) -> Method:
    """What runs the methods of a kind."""
    run: Method = import_module(f"electralab.methods.{MODULES.get(kind, kind)}").run
    return run


def _previous(job: Job) -> Path | None:
    """The predictions of the link before; there is one if the run is not the first of its chain.

    Raises:
        Unsuitable: it left nothing to go on from.
        UserError: its artifact is missing or damaged.
    """
    if len(job.spec.chain) == 1:
        _check_pretraining(job)
        return None
    if job.start is None:
        raise UserError(f"{job.spec.title}: name the manifest of what the link before left with --start")
    manifest = read_manifest(job.start)
    if manifest.form is None:
        raise Unsuitable(f"{job.spec.title}: {manifest.method} left nothing to go on from ({manifest.reason})")
    return job.start.parent.parent / predictions_name("validation")


def _check_pretraining(job: Job) -> None:
    """Skip a run whose pretraining came to nothing."""
    if job.start is not None and job.spec.downloaded is None and job.start.exists():
        pretraining = read_record(job.start)
        if pretraining.status != "ok":
            raise Unsuitable(f"{job.spec.title}: its pretraining is {pretraining.status} ({pretraining.reason})")


def _agreement(previous: Path, scored: TaskData, answers: Floats) -> dict[str, float]:
    """Share of the rows that are answered as the link before answered them; of classes only."""
    if scored.regression:
        return {}
    before = read_predictions(previous)
    said = [scored.labels[number] for number in answers.argmax(axis=1)]
    same = [before[row.id] == answer for row, answer in zip(scored.validation, said) if row.id in before]
    return {"agreement_with_previous": float(np.mean(same))} if same else {}


def _write_artifact(job: Job, left: Left) -> None:
    spec = job.spec
    job.artifact.mkdir(parents=True, exist_ok=True)
    write_manifest(
        job.artifact,
        left,
        model=spec.model,
        task=spec.task,
        method=spec.method,
        seed=spec.seed,
        settings=spec.settings.model_dump(mode="json"),
        labels=list(job.data.labels),
        score_range=job.data.score_range,
    )


def _record(job: Job, meter: Meter) -> RunRecord:
    """What is known of a run before it is finished."""
    spec = job.spec
    return RunRecord(
        stage="run",
        model=spec.model,
        task=spec.task,
        method=spec.method,
        seed=spec.seed,
        recipe=getattr(spec.settings, "recipe", spec.settings.kind),
        primary_metric=job.data.metrics[0],
        glue=job.data.glue,
        extensions=spec.extensions,
        synthetic=job.data.synthetic,
        cost=meter.cost(),
        provenance=meter.provenance(),
        spec=spec.model_dump(mode="json"),
    )


def _out_of_memory(spec: RunSpec, error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"{spec.title}: the machine's memory is full"
    options = [name for name in ("batch_size", "max_length", "shots") if hasattr(spec.settings, name)]
    remedy = f"lower {' or '.join(options)}" if options else "use a device with more"
    recompute = getattr(spec.settings, "gradient_checkpointing", True)
    more = "" if recompute else ", or switch gradient_checkpointing on"
    return f"{spec.title}: the GPU's memory is full: {remedy}{more}"
