"""Training that goes on from a fine-tuned encoder: its body, its head and how it pools, and back to its folder."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from electralab.artifacts import Left, Reads, read_manifest, weights_in
from electralab.config import WholeTraining
from electralab.electra.architectures import as_stored
from electralab.electra.convert import encoder_state, write_model
from electralab.electra.encoder import Encoder
from electralab.errors import Unsuitable
from electralab.files import files_checksum, read_json, staged_folder
from electralab.finetune.encoder.classifier import Classifier, with_dropout
from electralab.finetune.encoder.huggingface import rescale_output
from electralab.finetune.objective import Objective, Regression
from electralab.methods.job import Job
from electralab.methods.onnx.network import HEADS, PlainEncoder, read_network
from electralab.methods.pruning.huggingface_files import smaller_config
from electralab.methods.training import unit_scores
from electralab.model_files import CONFIG, copy_tokenizer

C = TypeVar("C", bound=Classifier)


@dataclass(frozen=True)
class FinetunedEncoder:
    """What a link goes on from."""

    folder: Path
    network: PlainEncoder
    reads: Reads
    source: str  # checksum of its weights

    @property
    def architecture(self) -> str:
        """What `transformers` calls it."""
        return str(read_json(self.folder / CONFIG)["model_type"])

    def classifier(self, kind: type[C], settings: WholeTraining, objective: Objective, seed: int) -> C:
        """A copy to train, with a dropout stream that depends on the seed alone."""
        encoder = with_dropout(self.network.encoder, settings.dropout)
        torch.manual_seed(seed)
        model = kind(encoder, objective.outputs, settings.pooling, settings.dropout, settings.head)
        model.pooling = "mean" if self.network.mean else "cls"
        model.head = deepcopy(self.network.head).requires_grad_(True)
        if self.architecture == "distilbert":  # which has no token types: a trained table could not be stored
            model.encoder.embeddings.token_type.requires_grad_(False)
        if isinstance(objective, Regression):
            _rescale(model.head, self.reads, objective)
        return model

    def with_encoder(self, encoder: Encoder) -> FinetunedEncoder:
        """The same with another encoder under its head."""
        return replace(self, network=PlainEncoder(encoder, self.network.head, self.network.mean))

    def save(self, folder: Path, model: Classifier, objective: Objective, reads: Reads) -> Left:
        """Write what was trained as a folder of the same architecture, with as many layers and neurons as it has.

        Args:
            folder: where to.
            model: the classifier.
            objective: what its outputs mean.
            reads: how rows are read.
        """
        reads = unit_scores(reads).model_copy(update={"pooling": self.reads.pooling})
        head, shape = deepcopy(model.head), model.encoder.config
        rescale_output(head, objective)
        config = smaller_config(read_json(self.folder / CONFIG), shape.intermediate_size, shape.layers)
        with staged_folder(folder) as staging:
            write_model(staging, config | {"dtype": "float32"}, self._state(model.encoder, head))
            copy_tokenizer(self.folder, staging, reads.max_length)
        return Left(form="huggingface", reads=reads)

    def _state(self, encoder: Encoder, head: nn.Module) -> dict[str, Tensor]:
        """Weights under the names that the folder's have."""
        kind = self.architecture
        names: tuple[str, ...] = ("classifier",)
        if self.reads.pooling == "sequence":
            first, _, last = HEADS[kind]
            names = first, last
        layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
        named = {
            f"{name}.{part}": tensor
            for name, layer in zip(names, layers, strict=True)
            for part, tensor in layer.state_dict().items()
        }
        return as_stored(kind, encoder_state(encoder)) | named


def finetuned_encoder(job: Job, manifest: Path | None, settings: WholeTraining) -> FinetunedEncoder:
    """Read what a run left, which the plan says is a fine-tuned model.

    Raises:
        Unsuitable: the model is a decoder, or reads shorter texts than it would be given.
    """
    assert manifest is not None
    folder, reads = manifest.parent, read_manifest(manifest).reads
    assert reads is not None
    network = read_network(folder, reads, job.spec.title)
    longest = network.encoder.config.max_positions
    if settings.max_length > longest:
        raise Unsuitable(
            f"method {job.spec.method}: max_length {settings.max_length} is longer than the {longest} positions of "
            f"model {job.spec.model}: lower it"
        )
    return FinetunedEncoder(folder, network, reads, files_checksum(weights_in(folder)))


def _rescale(head: nn.Module, reads: Reads, objective: Regression) -> None:
    """Let the last layer of a regression's head answer on the scale that is trained on."""
    last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
    factor = reads.scale / objective.scale
    with torch.no_grad():
        last.weight.mul_(factor)
        last.bias.mul_(factor).add_((reads.offset - objective.offset) / objective.scale)
