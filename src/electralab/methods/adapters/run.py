"""An adapter beside a frozen model, as an approach to a task, and what it costs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from electralab.config import AdapterMethod
from electralab.data.example import Example
from electralab.finetune.examples import EncodedExamples, encode_examples
from electralab.finetune.inference import inference_seconds
from electralab.finetune.objective import Objective
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.adapters.adapt import AdaptedModel, adapt, parameter_counts, save_adapter
from electralab.methods.adapters.merging import merged
from electralab.methods.base_models import load_base
from electralab.methods.full import Kept
from electralab.tokens.tokenizer import TextEncoder


class Adapted:
    """An encoder with a new head, or a decoder that answers in words, of which the adapter (and the head) is trained.

    Args:
        method: the adapter.
        source: checksum of the frozen weights.
        tokenizer: checksum of the tokenizer.
        encode: examples to token ids.
        make: the adapted model for a number of optimizer steps.
        objective: what the outputs mean.
        device: where to compute.
    """

    def __init__(
        self,
        method: AdapterMethod,
        source: str,
        tokenizer: str,
        encode: Callable[[list[Example], bool], EncodedExamples],
        make: Callable[[int], AdaptedModel],
        objective: Objective,
        device: str,
    ) -> None:
        self.method, self.source, self.tokenizer = method, source, tokenizer
        self.encode, self.fresh, self.objective, self.device = encode, make, objective, device

    def keep(self, model: TrainedModel, folder: Path, validation: EncodedExamples) -> Kept:
        """The adapter as a PEFT directory, and what it costs, alone and merged."""
        assert isinstance(model, AdaptedModel)
        counts, notes = parameter_counts(model), []
        metrics: dict[str, float] = {**counts, "weights_bytes": model.weights_bytes}
        metrics["adapter_bytes"] = save_adapter(model, folder / "adapter")
        models: dict[str, TrainedModel] = {"unmerged": model}
        network = merged(model)
        if network is None:
            notes.append(f"{self.method.kind} cannot be merged exactly: it is deployed with its adapter")
        else:
            models["merged"] = Merged(model, network)
            metrics["merge_error"] = largest_difference(model, models["merged"], validation, self.device)
        seconds = inference_seconds(models, self.objective, validation, self.device)
        metrics |= {f"inference_seconds_{name}": value for name, value in seconds.items()}
        deployed = "merged" if self.method.merge_for_inference and "merged" in seconds else "unmerged"
        metrics["inference_seconds"] = seconds[deployed]
        return Kept(metrics, {"total": counts["base_parameters"], "trainable": counts["trainable_parameters"]}, notes)


def adapted_encoder(
    method: AdapterMethod,
    folder: Path,
    source: str,
    tokenizer: TextEncoder,
    objective: Objective,
    seed: int,
    device: str,
) -> Adapted:
    """An encoder with a new head; arguments as in `Adapted` and `load_base`."""

    def encode(examples: list[Example], regression: bool) -> EncodedExamples:
        return encode_examples(examples, tokenizer, method.max_length, regression)

    def fresh(steps: int) -> AdaptedModel:
        return adapt(load_base(folder, objective.outputs, method, seed, device), method, steps)

    return Adapted(method, source, tokenizer.checksum, encode, fresh, objective, device)


class Merged(TrainedModel):
    """A merged network, called as the adapted one is."""

    def __init__(self, adapted: AdaptedModel, network: nn.Module) -> None:
        super().__init__()
        self.adapted = copy.copy(adapted)
        self.adapted._modules = {"network": network}

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits [B, outputs]."""
        logits: Tensor = self.adapted(input_ids, attention_mask, token_type_ids)
        return logits


def largest_difference(one: TrainedModel, other: TrainedModel, examples: EncodedExamples, device: str) -> float:
    """Largest difference of two models' logits on the first rows."""
    input_ids, attention_mask, token_type_ids, _ = examples.batch(np.arange(min(32, len(examples)))).to(device)
    with torch.inference_mode():
        first, second = (model.eval()(input_ids, attention_mask, token_type_ids) for model in (one, other))
    return float((first - second).abs().max())
