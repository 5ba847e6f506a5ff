"""Encoders with a head as Hugging Face folders: ours written as one, and any of them called as ours are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from electralab.electra.convert import encoder_state, huggingface_config, write_model
from electralab.finetune.encoder.classifier import Classifier, HuggingFaceHead, mean_over_tokens
from electralab.finetune.objective import Objective, Regression
from electralab.finetune.trained_model import TrainedModel
from electralab.speed.onednn import use_onednn

TYPED = ("electra", "bert")  # architectures that tell the texts of a pair apart
Pooling = Literal["sequence", "first_token", "mean_over_tokens"]


def save_classifier(folder: Path, model: Classifier, labels: Sequence[str], objective: Objective) -> Pooling:
    """Write a classifier as a Hugging Face directory, which `transformers` opens with equal answers.

    On the first token it is an `ElectraForSequenceClassification`, also with a linear head: since
    gelu(z) - gelu(-z) = z, two rows of that class's dense layer a class hold W and -W and its output layer takes their
    difference. With `pooling: mean`, or more classes than half of the width, it is an
    `ElectraForTokenClassification`, whose logits are averaged over the tokens, or read at the first.

    Args:
        folder: where to.
        model: the classifier.
        labels: names of the classes; none for a regression.
        objective: what its outputs mean. A regression is written so that it answers in the task's own scores.

    Returns:
        How a text's logits are read from what the class of `config.json` gives.

    Raises:
        UserError: the disk does not take it.
    """
    head = {name: tensor.detach().clone() for name, tensor in model.head.state_dict().items()}
    pooling: Pooling = "sequence"
    if isinstance(model.head, HuggingFaceHead):
        assert model.pooling == "cls", "the configuration leaves no artifact of the other"
    elif model.pooling == "cls" and 2 * model.outputs <= model.encoder.config.hidden_size:
        head = _as_two_layers(head["weight"], head["bias"])
    else:
        pooling = "mean_over_tokens" if model.pooling == "mean" else "first_token"
    if isinstance(objective, Regression):
        last = "" if pooling != "sequence" else "out_proj."
        head[f"{last}weight"] *= objective.scale
        head[f"{last}bias"] = head[f"{last}bias"] * objective.scale + objective.offset
    kind = "Sequence" if pooling == "sequence" else "Token"
    config = {
        **huggingface_config(model.encoder.config, f"ElectraFor{kind}Classification"),
        "classifier_dropout": model.dropout.p,
        **label_names(labels),
    }
    named = {f"classifier.{name}": value for name, value in head.items()}
    write_model(folder, config, encoder_state(model.encoder) | named)
    return pooling


def label_names(labels: Sequence[str]) -> dict[str, Any]:
    """What `config.json` says of the classes; a regression is a single output without a softmax."""
    if not labels:
        return {"id2label": {"0": "score"}, "label2id": {"score": 0}, "problem_type": "regression"}
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


def rescale_output(head: nn.Module, objective: Objective) -> None:
    """Let the last layer of a head answer in the task's own scores, where the task is a regression."""
    if isinstance(objective, Regression):
        last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():
            last.weight.mul_(objective.scale)
            last.bias.mul_(objective.scale).add_(objective.offset)


class HuggingFaceEncoder(TrainedModel):
    """An encoder of `transformers` with a head."""

    def __init__(self, network: Any, pooling: Pooling) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling
        self._reads_types = network.config.model_type in TYPED
        use_onednn(self)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits [B, outputs]; arguments as in `Classifier`."""
        inputs = {"input_ids": input_ids, "attention_mask": None if attention_mask is None else attention_mask.long()}
        if self._reads_types and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        logits: Tensor = self.network(**inputs).logits
        if self.pooling == "sequence":
            return logits
        return logits[:, 0] if self.pooling == "first_token" else mean_over_tokens(logits, attention_mask)


def _as_two_layers(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A linear head [C, D] as `dense` [D, D] and `out_proj` [C, D] with GELU between them."""
    classes, width = weight.shape
    dense, dense_bias = weight.new_zeros(width, width), weight.new_zeros(width)
    dense[: 2 * classes] = torch.cat([weight, -weight])
    dense_bias[: 2 * classes] = torch.cat([bias, -bias])
    output = weight.new_zeros(classes, width)
    output[:, : 2 * classes] = torch.cat([torch.eye(classes), -torch.eye(classes)], dim=1)
    return {
        **{"dense.weight": dense, "dense.bias": dense_bias},
        **{"out_proj.weight": output, "out_proj.bias": weight.new_zeros(classes)},
    }
