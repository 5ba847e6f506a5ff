"""From the settings of a pretraining to its parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from electralab.config import Pretraining
from electralab.electra.corruption import Corruption
from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.initialization import initialize
from electralab.electra.objective import ElectraObjective
from electralab.electra.pair import ElectraPair
from electralab.specs import PretrainSpec
from electralab.tokens.batches import Batch, Batches, make_batches
from electralab.tokens.cache import TokenCache


def build_batches(settings: Pretraining, cache: TokenCache, seed: int) -> Batches:
    """Micro-batches of a part of the token cache."""
    size = settings.batch_size // settings.gradient_accumulation
    return make_batches(settings.batches, cache, settings.sequence_length, size, seed)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device, without waiting for the copy."""
    return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in batch))  # type: ignore[arg-type]


def build_corruption(settings: Pretraining) -> Corruption:
    """How tokens are masked and replaced."""
    return Corruption(settings.mask_probability, settings.keep_probability, settings.mask_selection, settings.replace)


def build_objective(settings: Pretraining, special_ids: Sequence[int], unigram: Tensor) -> ElectraObjective:
    """The joint loss."""
    return ElectraObjective(
        settings.generator_weight,
        settings.discriminator_weight,
        settings.discriminator_loss_tokens,
        tuple(special_ids),
        unigram,
    )


def build_pair(spec: PretrainSpec, vocab_size: int, unigram: Tensor) -> ElectraPair:
    """Generator and discriminator, initialised from the run's seed."""
    settings = spec.settings
    discriminator = discriminator_config(settings, vocab_size)
    generator = generator_config(discriminator, spec.generator_size, settings.discriminator.head_size)
    pair = ElectraPair(discriminator, generator, settings.tied_embeddings)
    randomness = torch.Generator().manual_seed(spec.seed)
    initialize(pair, settings.initialization, randomness, unigram, settings.sequence_length)
    return pair


def discriminator_config(settings: Pretraining, vocab_size: int) -> ElectraConfig:
    """The discriminator's shape with this vocabulary."""
    dropout, attention_dropout = settings.dropout, settings.attention_dropout
    return ElectraConfig(
        vocab_size, **settings.discriminator.network, hidden_dropout=dropout, attention_dropout=attention_dropout
    )


def smoothed_unigram(cache: TokenCache) -> Tensor:
    """Counts [V] of the training tokens plus one: a word piece never seen still has a finite cross entropy."""
    return torch.from_numpy(cache.unigram_counts()).double() + 1.0
