"""Initial values of a pair: the two usual ones, and one that starts with heads on the neighbouring tokens.

`normal` is Hugging Face's, `truncated_normal` google-research/electra's (both 0.02 wide). `position_aware_init` is an
EXTENSION that is not in the paper: with absolute positions, attention has no notion of "the next token" at the start,
and small networks spend most of a short training finding it. Here some heads begin there; everything stays trainable
and the architecture is unchanged.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Literal, cast

import torch
from torch import Tensor, nn

from electralab.electra.encoder import Embeddings, Encoder, Layer
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError

Initialization = Literal["normal", "truncated_normal", "position_aware_init"]

WORD_SCALE = 0.1  # standard deviation of word embeddings
QUIET = 0.1  # what the dimensions and heads that carry positions keep of their random values
REPLACED_SHARE = 0.14  # typical share of replaced tokens: the discriminator starts at the base rate
MOST_FREQUENCIES = 16
FREQUENCY_EXPONENT = 1.271
OFFSETS = (-1, 1, -2, 2)
PEAK_LOGIT = 5.7  # attention logit of the wanted token at 64 positions
PEAK_LENGTH = 64


def initialize(
    pair: ElectraPair,
    method: Initialization,
    generator: torch.Generator,
    unigram: Tensor | None = None,
    sequence_length: int = 128,
) -> None:
    """Set every parameter of `pair`, in place.

    Args:
        pair: on the CPU.
        method: see the module.
        generator: the only source of randomness.
        unigram: [V] token counts, for `position_aware_init`: the generator's output bias becomes their log frequency.
        sequence_length: tokens per training sequence, for `position_aware_init`.

    Raises:
        UserError: the networks are too narrow for `position_aware_init`.
    """
    for module in pair.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.Embedding):
            _draw(module, method, pair.discriminator.config.initializer_range, generator)
    nn.init.zeros_(pair.generator_head.bias)
    if method == "position_aware_init":
        with torch.no_grad():
            _make_position_aware(pair, unigram, sequence_length, generator)


def _draw(module: nn.Linear | nn.Embedding, method: Initialization, scale: float, generator: torch.Generator) -> None:
    weight = module.weight
    if method == "truncated_normal":
        nn.init.trunc_normal_(weight, std=scale, a=-2 * scale, b=2 * scale, generator=generator)
    elif method == "normal":
        nn.init.normal_(weight, std=scale, generator=generator)
    else:
        fan_in = isinstance(module, nn.Linear)
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5 if fan_in else WORD_SCALE, generator=generator)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def position_frequencies(count: int) -> Tensor:
    """`count` angles per token, spread over (0, pi) so that no distance below 512 looks like distance 0.

    Equally spaced angles are harmonics of one another: mean_k cos(theta_k d) returns to +-1 at d = 2 * count. The
    power law breaks that; for 16 angles the exponent keeps the mean below 0.41 for every 1 <= d < 512.
    """
    return math.pi * ((torch.arange(count, dtype=torch.float64) + 0.5) / count) ** FREQUENCY_EXPONENT


def best_frequencies(angles: Tensor, count: int, distances: int) -> list[int]:
    """Indices of the `count` angles whose largest mean_k cos(theta_k d), 1 <= d < `distances`, is smallest."""
    if count >= len(angles):
        return list(range(len(angles)))
    waves = torch.cos(torch.arange(1, distances, dtype=torch.float64)[:, None] * angles)
    choices = torch.tensor(list(combinations(range(len(angles)), count)))
    chosen = torch.zeros(len(choices), len(angles), dtype=torch.float64).scatter_(1, choices, 1.0)
    return choices[(waves @ chosen.T).amax(0).argmin()].tolist()


def _make_position_aware(
    pair: ElectraPair, unigram: Tensor | None, sequence_length: int, generator: torch.Generator
) -> None:
    count = min(MOST_FREQUENCIES, pair.discriminator.config.embedding_size // 8)
    narrowest = min(pair.generator.config.hidden_size, pair.discriminator.config.hidden_size)
    if count < 1 or narrowest < 4 or pair.generator.config.embedding_size != pair.discriminator.config.embedding_size:
        raise UserError(
            "position_aware_init needs an embedding size of at least 8, the same in both networks, and a hidden size "
            "of at least 4: use a larger shape or another initialization"
        )
    angles = position_frequencies(count)
    for encoder in (pair.discriminator, pair.generator):
        _write_positions(encoder.embeddings, angles, generator)
        _point_heads_at_neighbours(encoder, angles, sequence_length)
    pair.discriminator_head.prediction.bias.fill_(math.log(REPLACED_SHARE / (1 - REPLACED_SHARE)))
    if unigram is not None:
        # Half a count keeps the bias of unseen tokens finite.
        counts = unigram.double() + 0.5
        pair.generator_head.bias.copy_((counts / counts.sum()).log())


def _write_positions(embeddings: Embeddings, angles: Tensor, generator: torch.Generator) -> None:
    """Put cos and sin of angle * position into the first dimensions, which the word embeddings then leave quiet.

    Shared embeddings are visited twice, so values are drawn anew rather than scaled.
    """
    dims = 2 * len(angles)
    word, position, token_type = embeddings.word.weight, embeddings.position.weight, embeddings.token_type.weight
    nn.init.normal_(word[:, :dims], std=WORD_SCALE * QUIET, generator=generator)
    nn.init.normal_(position, std=WORD_SCALE * QUIET, generator=generator)
    nn.init.normal_(token_type, std=WORD_SCALE * QUIET, generator=generator)
    phase = torch.arange(len(position), dtype=torch.float64)[:, None] * angles
    waves = torch.stack([phase.cos(), phase.sin()], 2).flatten(1)
    position[:, :dims] = (WORD_SCALE * math.sqrt(2) * waves).to(position.dtype)


def _point_heads_at_neighbours(encoder: Encoder, angles: Tensor, sequence_length: int) -> None:
    """Make the first heads of layer 1 and of layer 2 attend at fixed offsets."""
    config = encoder.config
    if isinstance(encoder.embeddings_project, nn.Linear):
        kept = best_frequencies(angles, config.hidden_size // 4, sequence_length)
        weight = encoder.embeddings_project.weight
        rows = [2 * index + part for index in kept for part in (0, 1)]
        weight[: len(rows)] = torch.eye(config.embedding_size)[rows]
        angles = angles[kept]
    in_head = best_frequencies(angles, config.hidden_size // config.attention_heads // 2, sequence_length)
    first, second = OFFSETS[: config.attention_heads], OFFSETS[: min(2, config.attention_heads)]
    if config.attention_heads == 1:
        second = OFFSETS[1:2]  # the single head of layer 1 looks back, that of layer 2 ahead
    for layer, offsets in zip(encoder.layers, (first, second)):
        for head, offset in enumerate(offsets):
            _point_head(cast(Layer, layer), head, offset, angles, in_head, sequence_length)


def _point_head(layer: Layer, head: int, offset: int, angles: Tensor, in_head: list[int], sequence_length: int) -> None:
    """Key = position vector, query = position vector turned by `offset`: their product peaks at that distance.

    The peak grows with log(length), as the number of competing tokens does.
    """
    width = layer.qkv.in_features
    size = layer.head_size
    peak = PEAK_LOGIT + math.log(sequence_length / PEAK_LENGTH)
    gain = math.sqrt(peak * math.sqrt(size) / (2 * len(in_head)))
    query = layer.qkv.weight[head * size : (head + 1) * size]
    key = layer.qkv.weight[width + head * size : width + (head + 1) * size]
    query.mul_(QUIET)
    key.mul_(QUIET)
    for slot, index in enumerate(in_head):
        turn = float(angles[index]) * offset
        rows, columns = slice(2 * slot, 2 * slot + 2), slice(2 * index, 2 * index + 2)
        rotation = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        query[rows, columns] += gain * torch.tensor(rotation)
        key[rows, columns] += gain * torch.eye(2)
