"""Which layers an adapter touches: roles, named for every architecture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import nn

from electralab.errors import Unsuitable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BERT = {
    "query_value": ("query", "value"),
    "attention": ("query", "key", "value"),
    "attention+ffn": ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"),
}
# Ends of module names by role; `all-linear` needs no names.
ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "electra": _BERT,
    "bert": _BERT,
    "distilbert": {
        "query_value": ("q_lin", "v_lin"),
        "attention": ("q_lin", "k_lin", "v_lin"),
        "attention+ffn": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    },
    "opt": {
        "query_value": ("q_proj", "v_proj"),
        "attention": ("q_proj", "k_proj", "v_proj"),
        "attention+ffn": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    },
    "llama": {
        "query_value": ("q_proj", "v_proj"),
        "attention": ("q_proj", "k_proj", "v_proj"),
        "attention+ffn": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    },
}
# What (IA)3 rescales (Liu et al. 2022, section 3.3), as regular expressions: keys and values, which are outputs, and
# the feed-forward layer's hidden values, which are the input of its second layer.
IA3_OUTPUTS = {
    "electra": r".*\.(key|value)",
    "bert": r".*\.(key|value)",
    "distilbert": r".*\.(k_lin|v_lin)",
    "opt": r".*\.(k_proj|v_proj)",
    "llama": r".*\.(k_proj|v_proj)",
}
IA3_INPUTS = {
    "electra": r".*\.layer\.\d+\.output\.dense",
    "bert": r".*\.layer\.\d+\.output\.dense",
    "distilbert": r".*\.lin2",
    "opt": r".*\.fc2",
    "llama": r".*\.down_proj",
}


def target_modules(base: PreTrainedModel, targets: str | list[str], head: Sequence[str]) -> list[str]:
    """Full names of the layers that `targets` means, in the order of the model.

    Args:
        base: the model, without adapters.
        targets: a role, or ends of module names (`fc1` means every layer's).
        head: modules that are trained in full, which no adapter touches.

    Raises:
        Unsuitable: a role is unknown, or a name is that of no linear or embedding layer of the body.
    """
    body = dict(_body_layers(base, head))
    if targets == "all-linear":
        return [name for name, layer in body.items() if isinstance(layer, nn.Linear) and not _is_output(base, layer)]
    if isinstance(targets, str):
        roles = ROLES[base.config.model_type]
        if targets not in roles:
            raise Unsuitable(f"targets: {targets!r} is no role: use one of {', '.join([*roles, 'all-linear'])}")
        targets = list(roles[targets])
    for end in targets:
        if not any(_ends_with(name, end) for name in body):
            known = sorted({name.rpartition(".")[2] for name in body})
            raise Unsuitable(
                f"targets: {end!r} matches no linear or embedding layer in the body of this {base.config.model_type} "
                f"model: use a role or ends of its names ({', '.join(known)})"
            )
    return [name for name in body if any(_ends_with(name, end) for end in targets)]


def _body_layers(base: PreTrainedModel, head: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    for name, module in base.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding) and not any(f"{name}.".startswith(f"{part}.") for part in head):
            yield name, module


def _is_output(base: PreTrainedModel, layer: nn.Module) -> bool:
    output: nn.Module | None = base.get_output_embeddings()  # type: ignore[no-untyped-call]
    return layer is output


def _ends_with(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")
