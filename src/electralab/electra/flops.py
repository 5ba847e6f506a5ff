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
    discriminator: ElectraConfig,
    generator: ElectraConfig,
    sequence_length: int,
    sequences: float,
    convention: Convention,
    generator_sequences: float | None = None,
    mask_probability: float = 0.15,
) -> float:
    """Operations of a pretraining.

    Args:
        discriminator: its shape.
        generator: its shape.
        sequence_length: tokens per sequence.
        sequences: batch size times steps.
        convention: how to count.
        generator_sequences: those that the generator ran on; all of them by default.
        mask_probability: share of predicted tokens; `electra_paper` has its own.
    """
    per_sequence = forward_flops(discriminator, sequence_length, "discriminator", convention, mask_probability)
    of_generator = forward_flops(generator, sequence_length, "generator", convention, mask_probability)
    seen_by_generator = sequences if generator_sequences is None else generator_sequences
    return TRAINING_FACTOR[convention] * (per_sequence * sequences + of_generator * seen_by_generator)


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


def count_parameters(module: nn.Module, trainable: bool = False) -> int:
    """Parameters, shared ones once; with `trainable`, those that require a gradient."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not trainable)


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
    """Per token. As in the script, the first LayerNorm is counted once, not per element (google-research/electra#121)."""
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
