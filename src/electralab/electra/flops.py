"""Floating-point operations of a run, in two named conventions, and parameter counts.

`electra_paper` counts as google-research/electra's `flops_computation.py`, the source of the paper's figures: a
multiply-add is 2, element-wise operations count, embedding look-ups count as dense products with one-hot vectors, the
MLM softmax is applied to 20 of 128 tokens, and the backward pass costs as much as the forward pass.

`matmul_3x` counts matrix products only, look-ups as free, and the backward pass as twice the forward pass: what the
hardware does, as usually reported.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from electralab.electra.encoder import ElectraConfig
from electralab.electra.pair import ElectraPair

Convention = Literal["electra_paper", "matmul_3x"]
Role = Literal["discriminator", "generator"]

TRAINING_FACTOR: dict[Convention, int] = {"electra_paper": 2, "matmul_3x": 3}
"""Forward and backward pass over the forward pass."""

# Operations per element in `electra_paper`.
DROPOUT = 4
LAYER_NORM = 5
GELU = 8
SOFTMAX = 5
PAPER_PREDICTED_SHARE = 20 / 128


def training_flops(
    pair: ElectraPair,
    sequence_length: int,
    batch_size: int,
    steps: float,
    joint_from: int = 0,
    mask_probability: float = 0.15,
) -> dict[Convention, float]:
    """Operations of a pretraining in every convention.

    Args:
        pair: the networks; only their shapes matter.
        sequence_length: tokens per sequence.
        batch_size: sequences per step.
        steps: optimizer steps.
        joint_from: first step in which the generator runs; before it, replacements cost nothing.
        mask_probability: share of predicted tokens; `electra_paper` has its own.
    """
    totals: dict[Convention, float] = {}
    for convention, factor in TRAINING_FACTOR.items():
        how = (convention, mask_probability)
        discriminator = forward_flops(pair.discriminator.config, sequence_length, "discriminator", *how)
        generator = forward_flops(pair.generator.config, sequence_length, "generator", *how)
        totals[convention] = factor * batch_size * (discriminator * steps + generator * (steps - joint_from))
    return totals


def forward_flops(
    config: ElectraConfig,
    sequence_length: int,
    role: Role,
    convention: Convention,
    mask_probability: float = 0.15,
) -> float:
    """Operations of one network on one sequence, with its head."""
    if convention == "matmul_3x":
        return _matmul_flops(config, sequence_length, role, mask_probability)
    body = config.layers * _paper_layer(config, sequence_length) + _paper_embeddings(config, sequence_length)
    if role == "discriminator":
        return sequence_length * (body + _paper_discriminator_head(config))
    return sequence_length * (body + PAPER_PREDICTED_SHARE * _paper_generator_head(config))


def petaflop_s_days(flops: float) -> float:
    """Operations as days at 10^15 per second."""
    return flops / (1e15 * 86_400)


def count_parameters(pair: ElectraPair) -> dict[str, int]:
    """Parameters with their heads, and of the discriminator's backbone; `total` counts shared ones once."""
    return {
        "discriminator": _count(pair.discriminator, pair.discriminator_head),
        "discriminator_backbone": _count(pair.discriminator),
        "generator": _count(pair.generator, pair.generator_head),
        "total": _count(pair),
    }


def _count(*modules: nn.Module) -> int:
    unique = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(unique.values())


def _matmul_flops(config: ElectraConfig, length: int, role: Role, mask_probability: float) -> float:
    d, e, i = config.hidden_size, config.embedding_size, config.intermediate_size
    per_token = config.layers * (8 * d * d + 4 * d * length + 4 * d * i)
    if e != d:
        per_token += 2 * e * d
    if role == "discriminator":
        return length * (per_token + 2 * d * d + 2 * d)
    predicted = max(1, round(mask_probability * length))
    return length * per_token + predicted * (2 * d * e + 2 * e * config.vocab_size)


def _paper_layer(config: ElectraConfig, length: int) -> int:
    """Per token. The first LayerNorm counts once, not per element, as in the script (google-research/electra#121)."""
    d, i, heads = config.hidden_size, config.intermediate_size, config.attention_heads
    projections = 3 * 2 * d * d + 3 * d
    scores = 2 * d * length + (SOFTMAX + DROPOUT + 1) * length * heads
    values = 2 * d * length
    attention_output = 2 * d * d + d + DROPOUT * d + d + LAYER_NORM
    feed_forward = 2 * d * i + GELU * i + i + 2 * d * i + d
    return projections + scores + values + attention_output + feed_forward + DROPOUT * d + d + LAYER_NORM * d


def _paper_embeddings(config: ElectraConfig, length: int) -> int:
    d, e = config.hidden_size, config.embedding_size
    lookups = 2 * e * config.vocab_size + 2 * e * (length + 2)
    projection = 2 * d * e + d if e != d else 0
    return lookups + 2 * e + (LAYER_NORM + DROPOUT) * e + projection


def _paper_discriminator_head(config: ElectraConfig) -> int:
    d = config.hidden_size
    return 2 * d * d + d + GELU * d + 2 * d


def _paper_generator_head(config: ElectraConfig) -> int:
    d, e, v = config.hidden_size, config.embedding_size, config.vocab_size
    hidden = 2 * d * e + e + (GELU + LAYER_NORM) * e
    return hidden + 2 * e * v + (SOFTMAX + 2) * v
