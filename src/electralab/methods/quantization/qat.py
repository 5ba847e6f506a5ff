"""Quantization-aware training: an encoder trained with rounded weights and activations, left as a graph that rounds so.

`as_published` repeats efficient ELECTRA, whose quantizers only watched: its training is that of `full`, bit for bit.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from electralab.artifacts import Left, Reads
from electralab.config import Qat
from electralab.data.example import Example
from electralab.deploy.graphs import ONNX_GRAPH
from electralab.electra.convert import huggingface_config
from electralab.electra.encoder import Encoder
from electralab.errors import RunFailed, Unsuitable
from electralab.files import read_json, staged_folder, write_json
from electralab.finetune.encoder.classifier import Classifier, HuggingFaceHead, with_dropout
from electralab.finetune.encoder.huggingface import label_names
from electralab.finetune.encoder.start import refuse_answers, starting_encoder
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.inference import inference_seconds
from electralab.finetune.loop import predict
from electralab.finetune.metrics import Floats
from electralab.finetune.objective import Regression, objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.continued import FinetunedEncoder, finetuned_encoder
from electralab.methods.job import Job, Outcome
from electralab.methods.onnx.network import PlainEncoder
from electralab.methods.onnx.session import GraphEncoder
from electralab.methods.quantization.fake import error_seen, fake_quantize, fake_quantized
from electralab.methods.quantization.onnx_link import write_graph
from electralab.methods.quantization.qdq import insert_rounding
from electralab.methods.quantization.scope import layers_in_scope
from electralab.methods.training import Kept, ReadsTexts, train
from electralab.model_files import CONFIG, TOKENIZER, copy_tokenizer
from electralab.tokens.tokenizer import load_tokenizer


def run(job: Job) -> Outcome:
    """Train with rounding, write the graph, and answer with what was written.

    Raises:
        Unsuitable: the model is a decoder.
        RunFailed: the loss is no longer a finite number, or other layers are quantized than were to be.
    """
    settings = job.spec.settings
    assert isinstance(settings, Qat)
    if job.starts_from_decoder:
        raise Unsuitable(f"{job.spec.title}: qat is for encoders, and {job.spec.model} is a decoder: use qlora")
    refuse_answers(job.spec)
    approach = Rounded(job, settings)
    outcome = train(job, settings, approach)
    graph = GraphEncoder(job.artifact)

    def answer(examples: list[Example]) -> Floats:
        encoded = approach.encode(examples, job.data.regression)
        return predict(graph, approach.objective, encoded, np.arange(len(encoded)), "cpu", job.spec.title)

    return replace(outcome, answer=answer)


class Rounded(ReadsTexts):
    """A classifier whose layers in scope are fake-quantized; see `training.Approach`."""

    def __init__(self, job: Job, settings: Qat) -> None:
        self.job, self.settings = job, settings
        self.objective = objective_of(job.data, settings)
        self._before: FinetunedEncoder | None = None
        if len(job.spec.chain) > 1:
            self._before = finetuned_encoder(job, job.start, settings)
            self._tokenizer_folder, self.source = self._before.folder, self._before.source
        else:
            assert job.tokenizer is not None, "every encoder has one"
            self._tokenizer_folder = job.tokenizer.parent
            self._encoder, self.source = starting_encoder(job.spec, load_tokenizer(job.tokenizer), job.start)
        super().__init__(settings, load_tokenizer(self._tokenizer_folder / TOKENIZER))

    def fresh(self, _: int) -> Classifier:
        """The classifier that `full` would train, or the fine-tuned one, with its layers in scope fake-quantized."""
        settings, seed = self.settings, self.job.spec.seed
        if self._before is not None:
            model = self._before.classifier(Classifier, settings, self.objective, seed)
        else:
            encoder = with_dropout(self._encoder, settings.dropout)
            torch.manual_seed(seed)
            model = Classifier(encoder, self.objective.outputs, settings.pooling, settings.dropout, settings.head)
            model.head = _as_sequence(model.head)
        wanted = layers_in_scope(model, settings.scope)
        fake_quantize(model, wanted, settings.per_channel, settings.recipe == "fixed")
        found = fake_quantized(model)
        if set(found) != set(wanted):
            raise RunFailed(f"{self.job.spec.title}: {len(found)} of {len(wanted)} layers are fake-quantized")
        return model

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The graph; how far training was from fp32, and the graph from what was trained."""
        assert isinstance(model, Classifier)
        trained = sum(parameter.numel() for parameter in model.parameters())
        metrics: dict[str, float] = {"fake_quantization_error": error_seen(model)}
        network = deepcopy(model).cpu().eval()
        for layer in fake_quantized(network).values():  # converted as it was watched
            layer.rounds = True
        wanted = list(fake_quantized(network))
        with staged_folder(folder) as staging:
            metrics |= write_graph(
                staging,
                plain(network),
                wanted,
                lambda graph, _, file: _save(graph, network, file),
                self.job.spec.title,
            )
            write_json(staging / CONFIG, self._config(network))
            copy_tokenizer(self._tokenizer_folder, staging, reads.max_length)
        graph = GraphEncoder(folder)
        rows, title = np.arange(len(validation)), self.job.spec.title
        answers = [predict(answering, self.objective, validation, rows, "cpu", title) for answering in (network, graph)]
        if not isinstance(self.objective, Regression):
            same = answers[0].argmax(axis=1) == answers[1].argmax(axis=1)
            metrics["agreement_with_fake_quantized"] = float(same.mean())
        metrics |= {
            "trainable_parameters": trained,
            "base_parameters": trained,
            "head_parameters": sum(parameter.numel() for parameter in model.head.parameters()),
            "weights_bytes": (folder / ONNX_GRAPH).stat().st_size,
            "inference_seconds": inference_seconds({"graph": graph}, self.objective, validation, "cpu")["graph"],
        }
        notes = []
        if self.settings.recipe == "as_published":
            notes.append("training saw no rounding (as_published): this is post-training quantization")
        left = Left(form="onnx", reads=reads)
        return Kept(left, metrics, {"total": trained, "trainable": trained}, notes)

    def _config(self, model: Classifier) -> dict[str, object]:
        if self._before is not None:
            found: dict[str, object] = read_json(self._tokenizer_folder / CONFIG)
            return found
        shape = huggingface_config(model.encoder.config, "ElectraForSequenceClassification")
        return shape | label_names(self.job.data.labels)


def _as_sequence(head: nn.Module) -> nn.Sequential:
    """The same layers, named as those of `PlainEncoder`."""
    if isinstance(head, HuggingFaceHead):
        return nn.Sequential(head.dense, nn.GELU(), head.dropout, head.out_proj)
    return nn.Sequential(head)


def plain(model: Classifier) -> PlainEncoder:
    """The network in fp32 of a fake-quantized classifier, made of `nn.Linear` and `nn.Embedding` alone."""
    encoder = Encoder(model.encoder.config)
    encoder.load_state_dict(model.encoder.state_dict())
    head = nn.Sequential(*(_plain_layer(layer) for layer in model.head.children()))
    return PlainEncoder(encoder, head, model.pooling == "mean").eval().requires_grad_(False)


def _plain_layer(layer: nn.Module) -> nn.Module:
    if not isinstance(layer, nn.Linear):
        return layer
    new = nn.Linear(layer.in_features, layer.out_features)
    new.load_state_dict(layer.state_dict())
    return new


def _save(graph: onnx.ModelProto, network: nn.Module, file: Path) -> None:
    insert_rounding(graph, network)
    onnx.save(graph, file)
