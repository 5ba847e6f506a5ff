"""From the settings of a pretraining to its parts."""

from __future__ import annotations

import torch
from torch import Tensor

from electralab.config import Pretraining
from electralab.electra.corruption import Corruption
from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.initialization import initialize
from electralab.electra.objective import ElectraObjective
from electralab.electra.pair import ElectraPair
from electralab.pretrain.masked_batches import MaskedBatches
from electralab.specs import PretrainSpec
from electralab.tokens.batches import make_batches
from electralab.tokens.cache import TokenCache


def build_batches(settings: Pretraining, cache: TokenCache, batch_size: int, seed: int) -> MaskedBatches:
    """Batches of a part of the token cache, with the tokens to be predicted."""
    corruption = Corruption(
        settings.mask_probability, settings.keep_probability, settings.mask_selection, settings.replace
    )
    never = set(cache.special_ids) - ({cache.unk_id} if settings.mask_unknown else set())
    batches = make_batches(settings.batches, cache, settings.sequence_length, batch_size, seed)
    return MaskedBatches(batches, corruption, cache.mask_id, tuple(sorted(never)))


def build_objective(settings: Pretraining, cache: TokenCache, unigram: Tensor) -> ElectraObjective:
    """The joint loss."""
    return ElectraObjective(
        settings.generator_weight,
        settings.discriminator_weight,
        settings.discriminator_loss_tokens,
        tuple(cache.special_ids),
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
