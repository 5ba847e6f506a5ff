"""A pretrained encoder that is pruned before it is fine-tuned, as efficient ELECTRA did, or while it is."""

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
from electralab.methods.pruning.schedule import prunings
from electralab.methods.pruning.sparsity import counted
from electralab.methods.training import Kept, train
from electralab.tokens.tokenizer import load_tokenizer


def run(job: Job) -> Outcome:
    """Prune the encoder under its fresh head, and train what is left.

    Raises:
        Unsuitable: the model is a decoder, every row or column would go, or the steps leave no room for pruning.
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


class SparserClassifier(MaskedClassifier):
    """Weights are set to zero as a schedule says, and stay zero."""

    settings: PruneFull
    seed: int
    schedule: dict[int, float]

    def after_update(self, step: int) -> None:
        """Zero again what the optimizer moved, and prune where it is time."""
        super().after_update(step)
        if step in self.schedule:
            chosen = chosen_masks(self, self.settings.model_copy(update={"sparsity": self.schedule[step]}), self.seed)
            self.keep_zero({name: mask & self.masks.get(name, mask).to(mask.device) for name, mask in chosen.items()})


class PrunedEncoder(WholeEncoder):
    """The classifier that `full` would train, with zeros that stay."""

    settings: PruneFull

    def fresh(self, steps: int) -> SparserClassifier:
        """A copy with a head, a dropout stream and, of `random`, masks that depend on the seed alone."""
        settings, seed = self.settings, self.job.spec.seed
        model = self.classifier(SparserClassifier)
        model.encoder.requires_grad_(settings.trained == "all")
        layers = dense_layers(model, settings.parts)
        check_shapes(layers, settings.structure, settings.sparsity, self.job.spec.title)
        model.settings, model.seed, model.schedule = settings, seed, prunings(settings, steps)
        model.after_update(0)
        return model

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The model, and what of it is zero."""
        assert isinstance(model, MaskedClassifier)
        kept = super().keep(model, folder, reads, validation)
        found = counted(folder) if kept.left.form is not None else {}
        return kept._replace(metrics=kept.metrics | found | {"sparsity.eligible": model.zeros()})
