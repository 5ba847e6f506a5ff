"""Whether an adapter fits a model: what is wrong is said before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from electralab.config import AdapterMethod, Lora, Oft, Prefix, Prompt, Qlora
from electralab.errors import Unsuitable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Methods that add to what the layers read, and change no weights.
PROMPTS = (Prefix, Prompt)


def check_fit(base: PreTrainedModel, method: AdapterMethod, targets: Sequence[str]) -> None:
    """Refuse what PEFT would crash on, or silently change.

    Args:
        base: the model, without adapters.
        method: the adapter.
        targets: full names of the layers to adapt.

    Raises:
        Unsuitable: says what does not fit.
    """
    if isinstance(method, PROMPTS):
        _check_prompt(base, method)
    rank = getattr(method, "initial_rank", getattr(method, "rank", 0))
    for name in targets:
        layer = base.get_submodule(name)
        if isinstance(layer, nn.Embedding) and not isinstance(method, Lora | Qlora):
            raise Unsuitable(f"targets: {name} is an embedding, which {method.kind} cannot adapt: name linear layers")
        width = min(_shape(layer))
        if rank > width:
            raise Unsuitable(f"{method.kind}: rank {rank} is above the width {width} of {name}: lower it")
        if isinstance(method, Oft) and _shape(layer)[1] % method.block_size:
            raise Unsuitable(
                f"oft: block_size {method.block_size} does not divide the {_shape(layer)[1]} inputs of {name}: "
                "use a divisor"
            )


def _check_prompt(base: PreTrainedModel, method: Prefix | Prompt) -> None:
    config = base.config
    if isinstance(method, Prefix) and method.gradient_checkpointing:
        raise Unsuitable("prefix: gradient_checkpointing recomputes layers without the prefix: switch it off")
    if isinstance(method, Prefix) and config.model_type == "distilbert":
        raise Unsuitable("prefix: DistilBERT's attention takes no keys and values from outside: use prompt or lora")
    longest = method.virtual_tokens + method.max_length
    if longest > config.max_position_embeddings:
        raise Unsuitable(
            f"{method.kind}: {method.virtual_tokens} virtual tokens and a max_length of {method.max_length} are more "
            f"than the model's {config.max_position_embeddings} positions: lower one of them"
        )


def _shape(layer: nn.Module) -> tuple[int, int]:
    """Outputs and inputs of a linear layer, or width and rows of an embedding, whatever its storage."""
    if isinstance(layer, nn.Embedding):
        return layer.embedding_dim, layer.num_embeddings
    assert isinstance(layer, nn.Linear)
    return layer.out_features, layer.in_features
