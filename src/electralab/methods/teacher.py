"""The teacher of a run: what another run left, or a copy of the student that nothing has trained."""

from __future__ import annotations

from electralab.artifacts import read_manifest, weights_in
from electralab.config import Taught, Training
from electralab.errors import Unsuitable, UserError
from electralab.files import files_checksum
from electralab.finetune.distillation import Teacher
from electralab.finetune.objective import Classification, Objective, Regression
from electralab.methods.job import Job
from electralab.methods.onnx.network import read_network
from electralab.model_files import TOKENIZER
from electralab.speed.onednn import use_onednn
from electralab.tokens.tokenizer import load_tokenizer


def read_teacher(job: Job, settings: Taught, tokenizer: str) -> Teacher | None:
    """The teacher that the plan gave a run; None if it has none.

    Args:
        job: the run.
        settings: its weight, and how long rows are.
        tokenizer: checksum of the student's tokenizer.

    Raises:
        Unsuitable: it is a decoder, left nothing, or reads other tokens or shorter texts.
        UserError: it was left by a run on another task, or is damaged.
    """
    if not settings.teacher:
        return None
    if job.teacher is None:
        raise UserError(f"{job.spec.title}: name the manifest of what its teacher left with --teacher")
    manifest = read_manifest(job.teacher)
    if manifest.form is None or manifest.reads is None:
        raise Unsuitable(f"{job.spec.title}: its teacher {manifest.method} left nothing ({manifest.reason})")
    if (manifest.task, manifest.labels) != (job.spec.task, list(job.data.labels)):
        raise UserError(
            f"{job.spec.title}: its teacher {job.teacher} was trained on {manifest.task} with the labels "
            f"{', '.join(manifest.labels) or 'of a regression'}: name one of this task"
        )
    if load_tokenizer(job.teacher.with_name(TOKENIZER)).checksum != tokenizer:
        raise Unsuitable(
            f"{job.spec.title}: its teacher {manifest.method} of {manifest.model} reads with another tokenizer: name "
            "one with the student's"
        )
    network = read_network(job.teacher.parent, manifest.reads, job.spec.title)
    longest = network.encoder.config.max_positions
    if isinstance(settings, Training) and settings.max_length > longest:
        raise Unsuitable(
            f"{job.spec.title}: max_length {settings.max_length} is longer than the {longest} positions of its "
            f"teacher {manifest.method} of {manifest.model}: lower it"
        )
    use_onednn(network)
    reads = manifest.reads
    objective: Objective = Classification(len(manifest.labels))
    if job.data.regression:
        objective = Regression(reads.offset, reads.scale)
    return Teacher(network.to(job.device), objective, settings.distillation_alpha, settings.temperature)


def teacher_checksum(job: Job) -> dict[str, str]:
    """Of the teacher's weights, for the record."""
    return {} if job.teacher is None else {"teacher": files_checksum(weights_in(job.teacher.parent))}
