"""An adapter beside a frozen model, as an approach to a task, and what it costs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from electralab.artifacts import Base, Left, Reads
from electralab.config import AdapterMethod
from electralab.data.example import Example
from electralab.finetune.decoder.model import label_logits
from electralab.finetune.encoder.start import checked_weights, refuse_answers, starting_encoder
from electralab.finetune.examples import EncodedExamples, encode_examples
from electralab.finetune.inference import inference_seconds
from electralab.finetune.objective import Objective, objective_of
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.adapters.adapt import AdaptedModel, adapt, parameter_counts, save_adapter
from electralab.methods.adapters.merging import Merged, largest_difference, merged
from electralab.methods.base_models import load_base, load_causal
from electralab.methods.decoder import Prompts, prompts_of
from electralab.methods.job import Job, Outcome
from electralab.methods.training import Kept, train
from electralab.tokens.tokenizer import load_tokenizer


def run(job: Job) -> Outcome:
    """Train an adapter on the model that the job starts from."""
    settings = job.spec.settings
    assert isinstance(settings, AdapterMethod) and job.start is not None, "refused by the configuration"
    approach = _decoder(job, settings) if job.starts_from_decoder else _encoder(job, settings)
    return train(job, settings, approach)


class Adapted:
    """An encoder with a new head, or a decoder that answers in words; the adapter and the head are trained."""

    def __init__(
        self,
        job: Job,
        method: AdapterMethod,
        source: str,
        tokenizer: str,
        encode: Callable[[list[Example], bool], EncodedExamples],
        make: Callable[[int], AdaptedModel],
        prompts: Prompts | None = None,
    ) -> None:
        self.job, self.method, self.source, self.tokenizer = job, method, source, tokenizer
        self.encode, self.fresh, self.prompts = encode, make, prompts
        self.objective: Objective = objective_of(job.data, method)

    def keep(self, model: TrainedModel, folder: Path, reads: Reads, validation: EncodedExamples) -> Kept:
        """The adapter as a PEFT directory, and what it costs beside the model and folded into it."""
        assert isinstance(model, AdaptedModel)
        counts, notes, base = parameter_counts(model), [], self.job.weights
        metrics: dict[str, float] = {**counts, "weights_bytes": model.weights_bytes}
        metrics["adapter_bytes"] = save_adapter(model, folder, base, reads.max_length)
        models: dict[str, TrainedModel] = {"unmerged": model}
        network = merged(model)
        if network is None:
            notes.append(f"{self.method.kind} cannot be merged exactly: it is deployed with its adapter")
        else:
            models["merged"] = Merged(model, network)
            metrics["merge_error"] = largest_difference(model, models["merged"], validation, self.job.device)
        seconds = inference_seconds(models, self.objective, validation, self.job.device)
        metrics |= {f"inference_seconds_{name}": value for name, value in seconds.items()}
        deployed = "merged" if self.method.merge_for_inference and "merged" in seconds else "unmerged"
        metrics["inference_seconds"] = seconds[deployed]
        parameters = {"total": counts["base_parameters"], "trainable": counts["trainable_parameters"]}
        if self.prompts is not None:
            reads = reads.model_copy(update={"prompt": self.prompts.described})
        known = Base(folder=os.path.relpath(base, folder), sha256=self.source)
        return Kept(Left(form="adapter", reads=reads, base=known), metrics, parameters, notes)


def _encoder(job: Job, method: AdapterMethod) -> Adapted:
    """An encoder with a new head."""
    refuse_answers(job.spec)
    assert job.tokenizer is not None, "every encoder has one"
    tokenizer = load_tokenizer(job.tokenizer)
    _, source = starting_encoder(job.spec, tokenizer, job.start)
    outputs = objective_of(job.data, method).outputs

    def encode(examples: list[Example], regression: bool) -> EncodedExamples:
        return encode_examples(examples, tokenizer, method.max_length, regression)

    def fresh(steps: int) -> AdaptedModel:
        return adapt(load_base(job.weights, outputs, method, job.spec.seed, job.device), method, steps)

    return Adapted(job, method, source, tokenizer.checksum, encode, fresh)


def _decoder(job: Job, method: AdapterMethod) -> Adapted:
    """A decoder that answers in words."""
    prompts = prompts_of(job, method)
    assert job.start is not None
    source = checked_weights(job.spec, job.weights, job.start)

    def fresh(steps: int) -> AdaptedModel:
        base = load_causal(job.weights, method, job.device)
        torch.manual_seed(job.spec.seed)
        words = torch.tensor(prompts.label_ids, device=job.device)
        return adapt(base, method, steps, lambda outputs, *_: label_logits(outputs, words, method.answers))

    return Adapted(job, method, source, prompts.tokenizer.checksum, prompts.encode, fresh, prompts)
