"""Training after pruning: what is zero stays zero."""

from __future__ import annotations

from pathlib import Path

from electralab.artifacts import Reads
from electralab.config import Recover
from electralab.errors import Unsuitable
from electralab.finetune.encoder.start import refuse_answers
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.objective import objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.continued import finetuned_encoder
from electralab.methods.full import whole_model
from electralab.methods.job import Job, Outcome
from electralab.methods.pruning.masked import MaskedClassifier, zero_masks
from electralab.methods.pruning.sparsity import counted
from electralab.methods.teacher import read_teacher, teacher_checksum
from electralab.methods.training import Kept, ReadsTexts, train
from electralab.model_files import TOKENIZER
from electralab.tokens.tokenizer import load_tokenizer


def run(job: Job) -> Outcome:
    """Go on training with zeros in place.

    Raises:
        Unsuitable: the model is a decoder.
        RunFailed: the loss is no longer a finite number.
    """
    settings = job.spec.settings
    assert isinstance(settings, Recover)
    if job.starts_from_decoder:
        raise Unsuitable(f"{job.spec.title}: recover is for encoders, and {job.spec.model} is a decoder: leave it out")
    refuse_answers(job.spec)
    outcome = train(job, settings, Recovering(job, settings))
    outcome.checksums.update(teacher_checksum(job))
    return outcome


class Recovering(ReadsTexts):
    """A fine-tuned encoder that is trained on; see `training.Approach`."""

    def __init__(self, job: Job, settings: Recover) -> None:
        self.job, self.settings = job, settings
        self.objective = objective_of(job.data, settings)
        self.before = finetuned_encoder(job, job.start, settings)
        self.source = self.before.source
        super().__init__(settings, load_tokenizer(self.before.folder / TOKENIZER))
        self.teacher = read_teacher(job, settings, self.tokenizer)

    def fresh(self, _: int) -> MaskedClassifier:
        """The fine-tuned model, whose zeros will stay."""
        model = self.before.classifier(MaskedClassifier, self.settings, self.objective, self.job.spec.seed)
        model.keep_zero(zero_masks(model))
        model.teacher = self.teacher
        return model

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """A folder of the same architecture, and what of it is zero."""
        assert isinstance(model, MaskedClassifier)
        left = self.before.save(folder, model, self.objective, reads)
        kept = whole_model(model, model.head, left, self.objective, validation, self.job.device)
        return kept._replace(metrics=kept.metrics | counted(folder))
