"""A pretrained encoder that is pruned before it is fine-tuned, as efficient ELECTRA did."""

from __future__ import annotations

from pathlib import Path

from electralab.artifacts import Reads
from electralab.config import PruneFull
from electralab.errors import Unsuitable
from electralab.finetune.encoder.start import refuse_answers, starting_encoder
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.objective import objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.full import WholeEncoder
from electralab.methods.job import Job, Outcome
from electralab.methods.pruning.masked import MaskedClassifier, chosen_masks, dense_layers
from electralab.methods.pruning.prune import check_shapes
from electralab.methods.pruning.sparsity import counted
from electralab.methods.training import Kept, train
from electralab.tokens.tokenizer import load_tokenizer


def run(job: Job) -> Outcome:
    """Prune the encoder under its fresh head, and train what is left.

    Raises:
        Unsuitable: the model is a decoder, or every row or column would go.
    """
    settings = job.spec.settings
    assert isinstance(settings, PruneFull)
    if job.starts_from_decoder:
        raise Unsuitable(f"{job.spec.title}: prune_full is for encoders: let prune follow a fine-tuned decoder")
    refuse_answers(job.spec)
    assert job.tokenizer is not None, "every encoder has one"
    text_encoder = load_tokenizer(job.tokenizer)
    encoder, source = starting_encoder(job.spec, text_encoder, job.start)
    approach = PrunedEncoder(job, settings, encoder, source, text_encoder, objective_of(job.data, settings))
    return train(job, settings, approach)


class PrunedEncoder(WholeEncoder):
    """The classifier that `full` would train, with zeros that stay."""

    settings: PruneFull

    def fresh(self, _: int) -> MaskedClassifier:
        """A copy with a head, a dropout stream and, of `random`, masks that depend on the seed alone."""
        settings, seed = self.settings, self.job.spec.seed
        model = self.classifier(MaskedClassifier)
        layers = dense_layers(model, settings.parts)
        check_shapes(layers, settings.structure, settings.sparsity, self.job.spec.title)
        model.keep_zero(chosen_masks(model, settings, seed))
        return model

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The model, and what of it is zero."""
        assert isinstance(model, MaskedClassifier)
        kept = super().keep(model, folder, reads, validation)
        found = counted(folder) if kept.left.form is not None else {}
        return kept._replace(metrics=kept.metrics | found | {"sparsity.eligible": model.zeros()})
