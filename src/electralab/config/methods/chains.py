"""Whether the links of a chain fit, as far as their settings tell; weights are not looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from electralab.config.methods import AdapterMethod, Method
from electralab.config.methods.link import FEW_BITS, Form, Link
from electralab.config.methods.pruning import Pruning

# What a user calls the forms.
CALLED: dict[Form, str] = {
    "nothing": "no model",
    "pretrained": "a pretrained model",
    "huggingface": "a fine-tuned Hugging Face model",
    "adapter": "an adapter",
    "low_bit": "a model whose weights are in few bits",
    "onnx": "an ONNX graph",
    "openvino": "an OpenVINO graph",
}


def with_prefixes(chains: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Every chain after the shorter ones that it goes on from, each once: every prefix is a run of its own."""
    return list(dict.fromkeys(tuple(chain[:length]) for chain in chains for length in range(1, len(chain) + 1)))


def check_chain(methods: Sequence[Link], names: Sequence[str]) -> str | None:
    """What is wrong with a chain and what would be right, or None.

    Args:
        methods: the links in their order, at least one.
        names: what the config calls them.
    """
    first, start = methods[0], names[0]
    if not first.opens & {"nothing", "pretrained"}:
        return f"{start} cannot be first, because it opens {_called(first.opens)}: {_remedy(first)}"
    for index in range(1, len(methods)):
        link, name, last, last_name = methods[index], names[index], methods[index - 1], names[index - 1]
        if last.leaves is None:
            return f"{last_name} leaves nothing that {name} could go on from: end the chain there"
        if last.leaves not in link.opens:
            opens, left = _called(link.opens), CALLED[last.leaves]
            return f"{name} opens {opens}, and {last_name} leaves {left}: {_remedy(link, methods[:index])}"
        if last.no_artifact:
            return f"{name} has nothing to go on from after {last_name}: {last.no_artifact}"
        reason = link.unsuitable_after(methods[:index])
        if reason:
            return f"{name} does not fit after {last_name}: {reason}: leave {name} out"
    return None


def compresses(method: Link | type[Link]) -> bool:
    """Whether a link makes a fine-tuned model smaller: it leaves one after another, or one in few bits."""
    return method.leaves in FEW_BITS or (method.leaves == "huggingface" and "huggingface" in method.opens)


def compressing_kinds() -> frozenset[str]:
    """The kinds of such links."""
    return frozenset(kind for method in _classes() if compresses(method) for kind in _kinds(method))


def class_of(kind: str) -> type[Link] | None:
    """The class of the methods of a kind; None for an unknown one."""
    return next((method for method in _classes() if kind in _kinds(method)), None)


def _called(forms: Iterable[Form]) -> str:
    return " or ".join(CALLED[form] for form in CALLED if form in forms)


def _remedy(link: Link, before: Sequence[Link] = ()) -> str:
    """Where a link may stand, and what tunes a low-rank update of a model that is pruned."""
    if isinstance(link, AdapterMethod) and any(isinstance(one, Pruning) for one in before):
        return "a method of kind prune_as_you_tune prunes and tunes a low-rank update at once, and its zeros stay"
    if link.opens & {"nothing", "pretrained"}:
        return "put it first"
    kinds = [kind for method in _classes() if method.leaves in link.opens for kind in _kinds(method)]
    others = [kind for kind in kinds if kind not in _kinds(type(link))]
    return f"put one of these kinds before it: {', '.join(others)}"


def _classes() -> Iterator[type[Link]]:
    union, _ = get_args(Method)
    yield from get_args(union)


def _kinds(method: type[Link]) -> tuple[str, ...]:
    return get_args(method.model_fields["kind"].annotation)
