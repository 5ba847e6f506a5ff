"""A fine-tuned encoder as one plain network from token ids to logits: what is exported, and what is quantized.

The backbone is our own encoder, whose graph is a third shorter than that of `transformers`; the heads are those of the
Hugging Face classes that artifacts are stored as.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from electralab.artifacts import Reads
from electralab.data.models import DECODERS
from electralab.electra.convert import load_encoder
from electralab.electra.encoder import Encoder
from electralab.errors import Unsuitable
from electralab.files import read_json
from electralab.finetune.encoder.classifier import mean_over_tokens
from electralab.model_files import CONFIG, WEIGHTS

HIDDEN = -1e4  # added to the attention scores of padding: exp(-1e4) is 0 in fp32

# The two layers of a classification head, and what stands between them.
HEADS: dict[str, tuple[str, Callable[[], nn.Module], str]] = {
    "electra": ("classifier.dense", nn.GELU, "classifier.out_proj"),
    "bert": ("bert.pooler.dense", nn.Tanh, "classifier"),
    "distilbert": ("pre_classifier", nn.ReLU, "classifier"),
}


class PlainEncoder(nn.Module):
    """Logits [B, outputs] from `input_ids`, `attention_mask` and `token_type_ids`, all [B, S]; see `Classifier`."""

    def __init__(self, encoder: Encoder, head: nn.Sequential, mean: bool) -> None:
        super().__init__()
        self.encoder, self.head, self.mean = encoder, head, mean

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """The first token's state, or the mean over real tokens, through the head."""
        encoder = self.encoder
        # A mask of booleans would export as guards against rows that are all padding.
        added = None if attention_mask is None else (1.0 - attention_mask.float())[:, None, None, :] * HIDDEN
        hidden = encoder.embeddings_project(encoder.embeddings(input_ids, token_type_ids))
        for layer in encoder.layers[:-1]:
            hidden = layer(hidden, added)
        if self.mean:
            pooled = mean_over_tokens(encoder.layers[-1](hidden, added), attention_mask)
        else:  # the last layer computes the first position alone: nothing else of it is read
            first = torch.arange(input_ids.shape[0], device=input_ids.device) * input_ids.shape[1]
            pooled = encoder.layers[-1](hidden, added, first)
        return cast(Tensor, self.head(pooled))


def read_network(folder: Path, reads: Reads, title: str) -> PlainEncoder:
    """The network of a Hugging Face artifact, to be used and not trained; 16-bit weights are unpacked.

    Raises:
        Unsuitable: the model is a decoder.
        UserError: a file is missing or damaged.
    """
    kind = read_json(folder / CONFIG).get("model_type")
    if kind in DECODERS:
        raise Unsuitable(
            f"{title}: {kind} is a decoder, and only encoders are quantized through ONNX: use nf4 or bnb_int8"
        )
    encoder, _ = load_encoder(folder)
    weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    first, activation, last = HEADS[kind]
    if reads.pooling == "sequence":
        head = nn.Sequential(_linear(weights, first), activation(), _linear(weights, last))
    else:
        head = nn.Sequential(_linear(weights, "classifier"))
    return PlainEncoder(encoder, head, reads.pooling == "mean_over_tokens").eval().requires_grad_(False)


def _linear(weights: dict[str, Tensor], name: str) -> nn.Linear:
    outputs, inputs = weights[f"{name}.weight"].shape
    layer = nn.Linear(inputs, outputs)
    layer.load_state_dict({kind: weights[f"{name}.{kind}"] for kind in ("weight", "bias")})
    return layer
