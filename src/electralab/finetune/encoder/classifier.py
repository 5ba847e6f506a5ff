"""An encoder with a head: "a simple linear classifier" (ELECTRA paper, section 3.1), or Hugging Face's."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from electralab.electra.encoder import Encoder
from electralab.finetune.trained_model import TrainedModel
from electralab.speed.dropout import Dropout
from electralab.speed.onednn import use_onednn


class HuggingFaceHead(nn.Module):
    """Dense layer, GELU, dropout and output layer: `transformers.ElectraClassificationHead` after its first dropout."""

    def __init__(self, width: int, outputs: int, dropout: float, scale: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.out_proj = nn.Linear(width, outputs)
        for layer in (self.dense, self.out_proj):
            nn.init.normal_(layer.weight, std=scale)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """[B, D] -> [B, outputs]."""
        outputs: Tensor = self.out_proj(self.dropout(F.gelu(self.dense(pooled))))
        return outputs


class Classifier(TrainedModel):
    """Dropout and a head on a pooled hidden state; a regression is a head with one output."""

    def __init__(
        self,
        encoder: Encoder,
        outputs: int,
        pooling: Literal["cls", "mean"],
        dropout: float,
        head: Literal["linear", "huggingface"] = "linear",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.encoder_layers = len(encoder.layers)
        self.pooling = pooling
        self.outputs = outputs
        self.dropout = Dropout(dropout)
        width = encoder.config.hidden_size
        self.head: nn.Module
        if head == "huggingface":
            self.head = HuggingFaceHead(width, outputs, dropout, encoder.config.initializer_range)
        else:
            self.head = glorot_linear(width, outputs)
        use_onednn(self)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits, [B, outputs].

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S] bool, True for real tokens; None = no padding.
            token_type_ids: [B, S] int64; None = one segment.
        """
        if self.pooling == "cls":
            # The last layer computes the first position alone: nothing else of it is read.
            first = torch.arange(0, input_ids.numel(), input_ids.shape[1], device=input_ids.device)
            pooled = self.encoder(input_ids, attention_mask, token_type_ids, first)
        else:
            pooled = mean_over_tokens(self.encoder(input_ids, attention_mask, token_type_ids), attention_mask)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def glorot_linear(width: int, outputs: int) -> nn.Linear:
    """google-research/electra leaves the head to tf.layers.dense, whose default is Glorot."""
    linear = nn.Linear(width, outputs)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def mean_over_tokens(hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Mean of hidden states [B, S, D] over real tokens -> [B, D] (cccwam/rc2020_electra)."""
    if attention_mask is None:
        return hidden.mean(dim=1)
    weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def with_dropout(encoder: Encoder, rate: float) -> Encoder:
    """A copy that drops hidden states and attention weights at `rate`, whatever it was pretrained with."""
    copied = Encoder(replace(encoder.config, hidden_dropout=rate, attention_dropout=rate))
    copied.load_state_dict(encoder.state_dict())
    return copied
