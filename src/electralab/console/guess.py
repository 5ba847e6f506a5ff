"""How long a job takes, guessed from what it is told before any of its kind has run.

A start, a time for every step, and floating-point operations: 6 a parameter and token in training, 2 in scoring,
embeddings left out (Kaplan et al. 2020). The constants are those of one core of a server and of a data-centre GPU.
"""

from __future__ import annotations

import json
from typing import Any

from electralab.config import GlueTask, InContext, PackageModel, Search, Shape, Training, WordOrderTask
from electralab.names import NO_MODEL
from electralab.plan import DECODER_PACKAGES, Plan
from electralab.specs import PretrainSpec, RunSpec

UNKNOWN = 3.0  # seconds of a job that is told nothing, or nothing of training
START = {"full": 3.5, "tfidf": 5.0}  # seconds: Python, libraries, reading the inputs
START_WITH_TRANSFORMERS = 13.5
STEP = 0.025  # seconds beside the arithmetic
TRIAL = 1.5  # the same of a trial of a search
FLOPS = {"cpu": 5.5e10, "gpu": 2e13}  # a second
PARAMETERS = {"encoder": 1.1e7, "decoder": 1.1e8}  # of a model whose shape its spec does not tell
TRAIN_ROWS, VALIDATION_ROWS = 10_000, 1_000  # of a task whose size the config does not tell
FILLED = 0.2  # share of `max_length` that the rows of most tasks fill
TOKENS = 25  # of a row in a prompt, or scored by a method without a length of its own


def guessed_seconds(plan: Plan, spec: str | None, gpu: int = 0) -> float:
    """Seconds of a job by its spec, canonical JSON; rarely wrong by more than a factor of three.

    Args:
        plan: the experiment's, which knows shapes and tasks that the spec only names.
        spec: what the job is told; None if it is told nothing.
        gpu: the GPUs that it asks for.
    """
    told: dict[str, Any] = json.loads(spec) if spec else {}
    speed = FLOPS["gpu" if gpu else "cpu"]
    if "generator_size" in told:
        return _pretraining(PretrainSpec.model_validate(told), speed)
    if "base" in told:
        base, trials = RunSpec.model_validate(told["base"]), Search.model_validate(told["settings"]).trials
        return _start(base) + trials * (TRIAL + _run(plan, base, speed))
    if "chain" in told:
        run = RunSpec.model_validate(told)
        return _start(run) + _run(plan, run, speed)
    return UNKNOWN


def _pretraining(spec: PretrainSpec, speed: float) -> float:
    settings = spec.settings
    parameters = _parameters(settings.discriminator) * (1 + spec.generator_size**2)
    tokens = settings.steps * settings.batch_size * settings.sequence_length
    return START["full"] + settings.steps * settings.gradient_accumulation * STEP + 6 * parameters * tokens / speed


def _start(spec: RunSpec) -> float:
    return START.get(spec.settings.kind, START_WITH_TRANSFORMERS)


def _run(plan: Plan, spec: RunSpec, speed: float) -> float:
    """Training and scoring."""
    settings, parameters = spec.settings, _parameters_of(plan, spec)
    train_rows, scored = _rows(plan, spec.task)
    length, seconds = float(TOKENS), 0.0
    if isinstance(settings, Training):
        length = FILLED * settings.max_length
        rows = min(train_rows, settings.max_train_rows or train_rows) * settings.epochs * len(settings.learning_rates)
        seconds = rows / settings.batch_size * STEP + 6 * parameters * rows * length / speed
    if isinstance(settings, InContext):
        scored, length = min(scored, settings.max_validation_rows or scored), length * (1 + settings.shots)
    return seconds + 2 * parameters * scored * length / speed


def _rows(plan: Plan, task: str) -> tuple[int, int]:
    """To train on and to score."""
    settings = plan.experiment.tasks[task]
    if isinstance(settings, WordOrderTask):
        return settings.train_rows, settings.validation_rows
    if isinstance(settings, GlueTask):
        from electralab.data.glue import GLUE

        rows = GLUE[settings.task].rows
        return rows["train"], rows["validation"]
    return TRAIN_ROWS, VALIDATION_ROWS


def _parameters_of(plan: Plan, spec: RunSpec) -> float:
    if spec.model == NO_MODEL:
        return 0.0
    if spec.downloaded is None:
        return _parameters(plan.experiment.pretraining_of(spec.model).discriminator)
    packaged = isinstance(spec.downloaded, PackageModel) and spec.downloaded.package in DECODER_PACKAGES
    return PARAMETERS["decoder" if packaged or isinstance(spec.settings, InContext) else "encoder"]


def _parameters(shape: Shape) -> float:
    """Of the layers of an encoder."""
    return float(shape.layers * (4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size))
