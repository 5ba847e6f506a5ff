"""An encoder with a linear head: "a simple linear classifier" (ELECTRA paper, section 3.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from electralab.electra.encoder import Encoder
from electralab.electra.onednn import use_onednn


class Classifier(nn.Module):
    """Dropout and one linear layer on a pooled hidden state.

    The head of `transformers.ElectraForSequenceClassification` has one more dense layer; the paper's has none.
    """

    def __init__(self, encoder: Encoder, labels: int, pooling: Literal["cls", "mean"], dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, labels)
        # google-research/electra leaves the head to tf.layers.dense, whose default is Glorot.
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        use_onednn(self)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits, [B, labels].

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
