"""The Transformer encoder of both networks: BERT's, with factorised embeddings (ELECTRA paper, section 3.1).

Post-LayerNorm, exact GELU, absolute learned positions. Shapes: B sequences, S positions, N selected positions,
E embedding size, D hidden size, H heads, F intermediate size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from electralab.errors import UserError
from electralab.speed.dropout import Dropout


@dataclass(frozen=True)
class ElectraConfig:
    """Shape of one network, with the meaning of the Hugging Face `ElectraConfig` fields."""

    vocab_size: int
    embedding_size: int
    hidden_size: int
    layers: int
    attention_heads: int
    intermediate_size: int
    max_positions: int = 512
    type_vocab_size: int = 2
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        if self.hidden_size % self.attention_heads:
            raise UserError(
                f"hidden size {self.hidden_size} is not a multiple of {self.attention_heads} attention heads: "
                "change one of them"
            )


def generator_config(
    discriminator: ElectraConfig, size: float, head_size: int = 64, layers: int | None = None
) -> ElectraConfig:
    """Shape of a generator whose width is `size` times the discriminator's (`configure_pretraining.py`).

    Hidden, intermediate size and heads shrink; layers, embedding size and vocabulary do not. Heads are
    `max(1, hidden // head_size)`, lowered to a divisor of the hidden size.

    Raises:
        UserError: `size` is outside (0, 1] or leaves no hidden unit.
    """
    hidden = round(size * discriminator.hidden_size)
    if not 0 < size <= 1 or hidden < 1:
        raise UserError(f"generator size {size:g} of a discriminator {discriminator.hidden_size} wide: use (0, 1]")
    heads = max(1, hidden // head_size)
    while hidden % heads:
        heads -= 1
    return replace(
        discriminator,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        attention_heads=heads,
        layers=discriminator.layers if layers is None else layers,
    )


class Embeddings(nn.Module):
    """Sum of word, position and token-type embeddings, normalised."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.embedding_size)
        self.position = nn.Embedding(config.max_positions, config.embedding_size)
        self.token_type = nn.Embedding(config.type_vocab_size, config.embedding_size)
        self.norm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """input_ids [B, S], token_type_ids [B, S] or None (all of type 0) -> [B, S, E]."""
        # Adding type 0 to the [S, E] positions rather than to [B, S, E] saves a pass over the batch.
        positions = self.position.weight[: input_ids.shape[1]]
        if token_type_ids is None:
            embedded = self.word(input_ids) + (positions + self.token_type.weight[0])
        else:
            embedded = self.word(input_ids) + positions + self.token_type(token_type_ids)
        normed: Tensor = self.dropout(self.norm(embedded))
        return normed


class Layer(nn.Module):
    """Self-attention and feed-forward network, each followed by dropout, residual and LayerNorm."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.attention_heads
        self.head_size = width // config.attention_heads  # stays when heads are taken out, and `width` does too
        self.attention_dropout = config.attention_dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(width, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, width)
        self.output_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None, positions: Tensor | None = None) -> Tensor:
        """[B, S, D] -> [B, S, D], or with flat `positions` [N] -> [N, D]: the new states of these alone."""
        attended = self.attend(hidden, attention_mask)
        if positions is not None:
            attended = attended.flatten(0, 1).index_select(0, positions)
            hidden = hidden.flatten(0, 1).index_select(0, positions)
        hidden = self.attention_norm(hidden + self.dropout(self.attention_output(attended)))
        expanded = F.gelu(self.intermediate(hidden))
        normed: Tensor = self.output_norm(hidden + self.dropout(self.output(expanded)))
        return normed

    def attend(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """[B, S, D] -> [B, S, H * head size]: the heads' weighted values, before the output projection."""
        batch, length, _ = hidden.shape
        qkv = self.qkv(hidden).view(batch, length, 3, self.heads, self.head_size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, dropout_p=dropout)
        return mixed.transpose(1, 2).reshape(batch, length, self.heads * self.head_size)


class Encoder(nn.Module):
    """Embeddings, a projection where E differs from D, and the layers."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.embeddings_project = (
            nn.Linear(config.embedding_size, config.hidden_size)
            if config.embedding_size != config.hidden_size
            else nn.Identity()
        )
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Encode a batch.

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S], true (or 1) at real tokens; None when no sequence is padded.
            token_type_ids: [B, S] int64; None means all of type 0.
            positions: [N] int64 indices into the flattened [B * S]; the last layer then computes these alone, which
                is what the generator needs.

        Returns:
            [B, S, D], or [N, D] with `positions`.

        Raises:
            UserError: the sequences are longer than `max_positions`.
        """
        if input_ids.shape[1] > self.config.max_positions:
            raise UserError(
                f"sequences of {input_ids.shape[1]} tokens for a model of {self.config.max_positions} positions: "
                "truncate them or raise max_positions"
            )
        key_mask = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
        hidden: Tensor = self.embeddings_project(self.embeddings(input_ids, token_type_ids))
        for layer in self.layers[:-1]:
            hidden = layer(hidden, key_mask)
        last: Tensor = self.layers[-1](hidden, key_mask, positions)
        return last
