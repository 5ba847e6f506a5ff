"""Decoders as an approach to a task: trained whole, with an adapter, or asked in a prompt without any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from electralab.config import AdapterMethod, FullFinetuning, InContext, Training
from electralab.data.example import Example
from electralab.data.tasks import TaskData, read_task
from electralab.errors import UserError
from electralab.finetune.decoder.model import (
    EncodedPrompts,
    VerbalizedDecoder,
    check_positions,
    encode_prompts,
    label_logits,
)
from electralab.finetune.decoder.prompts import PromptTokenizer, template_of
from electralab.finetune.encoder.start import checked_weights, weights_folder
from electralab.finetune.evaluation import check_labels, evaluate, evaluation_notes, row_counts, write_answers
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.objective import Classification, objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.adapters.adapt import AdaptedModel, adapt
from electralab.methods.adapters.run import Adapted
from electralab.methods.base_models import load_causal, parameter_count, quiet, weights_bytes
from electralab.methods.full import Approach, Kept, whole_model
from electralab.methods.in_context import InContextReader, draw_shots, sample_scored
from electralab.methods.scoring import finetuning_record
from electralab.records import Meter, RunRecord, write_record
from electralab.specs import FinetuneSpec

SCORED_SAMPLE = 0  # the same rows whatever the run's seed, so that runs can be compared row by row


def decoder_approach(spec: FinetuneSpec, settings: Training, model: Path, data: TaskData, device: str) -> Approach:
    """A decoder trained whole, or with an adapter, to answer a task in words.

    Args:
        spec: the run.
        settings: how it trains: the spec's own.
        model: the manifest of a downloaded model.
        data: the task.
        device: where to compute.

    Raises:
        UserError: the task has no words to answer with, or the model cannot say them.
    """
    folder = weights_folder(spec, model)
    template, prompts = template_of(data, settings.answers), PromptTokenizer(folder)
    label_ids = prompts.label_ids(template)
    check_positions(folder, settings.max_length, spec.method)
    source = checked_weights(spec, folder, model)

    def encode(examples: list[Example], _: bool) -> EncodedPrompts:
        return encode_prompts(examples, template, prompts, settings.max_length)

    if isinstance(settings, FullFinetuning):
        return WholeDecoder(spec, settings, folder, source, prompts.checksum, encode, label_ids, device)

    assert isinstance(settings, AdapterMethod)

    def fresh(steps: int) -> AdaptedModel:
        base = load_causal(folder, settings, device)
        torch.manual_seed(spec.seed)
        words = torch.tensor(label_ids, device=device)
        return adapt(base, settings, steps, lambda outputs, *_: label_logits(outputs, words, settings.answers))

    return Adapted(settings, source, prompts.checksum, encode, fresh, objective_of(data, settings), device)


class WholeDecoder:
    """A decoder that answers in words; every parameter is trained."""

    def __init__(
        self,
        spec: FinetuneSpec,
        settings: FullFinetuning,
        folder: Path,
        source: str,
        tokenizer: str,
        encode: Callable[[list[Example], bool], EncodedPrompts],
        label_ids: list[int],
        device: str,
    ) -> None:
        if settings.layerwise_lr_decay != 1:
            raise UserError(f"method {spec.method}: a decoder has no layerwise rates: set layerwise_lr_decay to 1")
        self.settings, self.folder, self.source, self.tokenizer = settings, folder, source, tokenizer
        self.encode, self.label_ids, self.seed, self.device = encode, label_ids, spec.seed, device

    def fresh(self, _: int) -> VerbalizedDecoder:
        """Nothing in it is new; dropout depends on the seed alone."""
        network = load_causal(self.folder, self.settings, self.device)
        model = VerbalizedDecoder(network, self.label_ids, self.settings.answers)
        torch.manual_seed(self.seed)
        return model

    def keep(self, model: TrainedModel, folder: Path, validation: EncodedExamples) -> Kept:
        """The model, if asked for; the number of parameters and the time to answer."""
        assert isinstance(model, VerbalizedDecoder)
        if self.settings.leaves_artifact:
            network: Any = model.model
            with quiet():
                network.save_pretrained(folder / "model")
        return whole_model(model, None, Classification(len(self.label_ids)), validation, self.device)


def run_in_context(
    spec: FinetuneSpec, record_path: Path, task: Path, model: Path | None, threads: int, device: str
) -> RunRecord:
    """Score a decoder that answers from its prompt alone; arguments and errors as in `run_method`."""
    torch.set_num_threads(threads)
    method, meter = spec.settings, Meter(device, threads)
    assert isinstance(method, InContext)
    if model is None:
        raise UserError(f"method {spec.method} asks a pretrained decoder, and {spec.model} is untrained")
    folder = weights_folder(spec, model)
    whole = read_task(task)
    check_labels(whole)
    network, prompts = load_causal(folder, method, device), PromptTokenizer(folder)
    template = template_of(whole, method.answers)
    check_positions(folder, method.max_length, spec.method)
    meter.data = {"task": whole.checksum, "tokenizer": prompts.checksum, "model": checked_weights(spec, folder, model)}
    data = sample_scored(whole, method.max_validation_rows, SCORED_SAMPLE)
    reader = InContextReader(
        VerbalizedDecoder(network, prompts.label_ids(template)),
        prompts,
        template,
        draw_shots(whole, method.shots, spec.seed),
        method.max_length,
        device,
        spec.title,
    )
    metrics, answers = evaluate(data, reader.answer, method.mnli_validation)
    metrics |= row_counts(task, data) | {"weights_bytes": weights_bytes(network)}
    write_answers(record_path.parent, data, answers)
    parameters = parameter_count(network)
    notes = [*reader.notes(), *evaluation_notes(data, metrics)]
    record = finetuning_record(spec, data, 0, {"total": parameters, "trainable": 0}, metrics, notes, meter)
    write_record(record_path, record)
    return record
