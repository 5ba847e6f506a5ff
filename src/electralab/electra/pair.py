"""Generator and discriminator with their heads and shared embeddings (ELECTRA paper, sections 2 and 3.2)."""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.errors import UserError
from electralab.speed.onednn import use_onednn

Tied = Literal["all", "word_position", "word", "none"]


class GeneratorHead(nn.Module):
    """Maps hidden states to the embedding space, where the word table is the output softmax."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.norm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., E]."""
        normed: Tensor = self.norm(F.gelu(self.dense(hidden)))
        return normed


class DiscriminatorHead(nn.Module):
    """The log-odds that a token was replaced."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [...]."""
        logits: Tensor = self.prediction(F.gelu(self.dense(hidden)))
        return logits.squeeze(-1)


class ElectraPair(nn.Module):
    """The two networks that are trained together.

    `tied` says what they share: `all` = word, position and token-type embeddings and the embedding LayerNorm
    (google-research/electra, where both networks reuse one variable scope), `word_position` = the paper's text,
    `word` = RC2020, `none`. The projection from E to D is never shared, and the generator's output softmax is its
    own word table in every case. Modules are shared, not copied, so loading, moving and deep-copying keep the tie.

    Raises:
        UserError: the two configs differ in what is to be shared.
    """

    def __init__(self, discriminator: ElectraConfig, generator: ElectraConfig, tied: Tied = "all") -> None:
        super().__init__()
        self.tied = tied
        self.discriminator = Encoder(discriminator)
        self.discriminator_head = DiscriminatorHead(discriminator)
        self.generator = Encoder(generator)
        self.generator_head = GeneratorHead(generator)
        if discriminator.vocab_size != generator.vocab_size:
            raise UserError(
                f"the generator's vocabulary ({generator.vocab_size}) is not the discriminator's "
                f"({discriminator.vocab_size}): use one tokenizer"
            )
        ours, theirs = self.generator.embeddings, self.discriminator.embeddings
        for name in SHARED[tied]:
            _same_shape(name, getattr(ours, name), getattr(theirs, name))
            setattr(ours, name, getattr(theirs, name))
        use_onednn(self)

    @property
    def word_embeddings(self) -> nn.Parameter:
        """The discriminator's word table [V, E]."""
        return cast(nn.Parameter, self.discriminator.embeddings.word.weight)

    def generator_logits(self, hidden: Tensor) -> Tensor:
        """The generator's logits over the vocabulary: [..., D] -> [..., V]."""
        return F.linear(self.generator_head(hidden), self.generator.embeddings.word.weight, self.generator_head.bias)

    def discriminate(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Log-odds [B, S] that each token of `input_ids` [B, S] was replaced."""
        logits: Tensor = self.discriminator_head(self.discriminator(input_ids, attention_mask, token_type_ids))
        return logits


SHARED: dict[Tied, tuple[str, ...]] = {
    "all": ("word", "position", "token_type", "norm"),
    "word_position": ("word", "position"),
    "word": ("word",),
    "none": (),
}


def _same_shape(name: str, ours: nn.Module, theirs: nn.Module) -> None:
    mine, other = (next(module.parameters()).shape for module in (ours, theirs))
    if mine != other:
        raise UserError(
            f"the generator's {name} embedding {tuple(mine)} cannot be tied to the discriminator's {tuple(other)}: "
            "give both networks the same sizes or tie less"
        )
