"""What the layers of two encoders give, and how far one is from the other (TinyBERT: Jiao et al. 2020, section 3.1).

Shapes: B rows, S positions, D the width of an encoder. Nothing here is in the way of an encoder that nobody watches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from electralab.electra.encoder import Encoder


class HiddenStates:
    """The states of an encoder's last forward pass: embeddings, projected to the layers' width, and after every layer.

    Each is [B, S, D]; of a last layer that computes the first position alone, [B, D].
    """

    def __init__(self, encoder: Encoder) -> None:
        self.states: list[Tensor] = []
        self._hooks = [layer.register_forward_pre_hook(self._before) for layer in encoder.layers]
        self._hooks.append(encoder.layers[-1].register_forward_hook(self._after))
        self._first = encoder.layers[0]

    def release(self) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()
        self.states = []

    def _before(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if layer is self._first:
            self.states = []
        self.states.append(inputs[0])

    def _after(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        self.states.append(output)


class HiddenLoss(nn.Module):
    """Mean squared error between a student's states, projected, and a teacher's, summed over embeddings and layers.

    As TinyBERT, one learned projection for the embeddings and one for all layers, also where widths are equal; there
    they begin with the identity, because copied layers are near already.
    """

    def __init__(self, student: Encoder, told: HiddenStates, width: int, layer_map: Sequence[int]) -> None:
        """Watch a student.

        Args:
            student: its encoder.
            told: the states of the teacher.
            width: of the teacher.
            layer_map: number of the teacher's layer for each of the student's.
        """
        super().__init__()
        self.own, self.told, self.layer_map = HiddenStates(student), told, layer_map
        self.embeddings, self.layers = (_projection(student.config.hidden_size, width) for _ in range(2))

    def forward(self, attention_mask: Tensor | None) -> Tensor:
        """How far the states of the last batch are, on average over real positions and dimensions.

        Where either last layer computed the first position alone, which is all that a head reads, that is compared.

        Args:
            attention_mask: [B, S] bool, True for real tokens; None = no padding.
        """
        own, told = self.own.states, self.told.states
        loss = _distance(self.embeddings(own[0].float()), told[0], attention_mask)
        for state, number in zip(own[1:], self.layer_map, strict=True):
            loss = loss + _distance(self.layers(state.float()), told[number + 1], attention_mask)
        return loss


def uniform_map(student: int, teacher: int) -> list[int]:
    """Layers of a teacher for those of a student that has no more: 3 of 6 -> 1, 3, 5, numbered from 0."""
    return [(number + 1) * teacher // student - 1 for number in range(student)]


def _projection(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.bias)
    if inputs == outputs:
        nn.init.eye_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=0.02)  # TinyBERT's code, as BERT's layers
    return layer


def _distance(own: Tensor, told: Tensor, attention_mask: Tensor | None) -> Tensor:
    if own.ndim != told.ndim:
        own, told = (state[:, 0] if state.ndim == 3 else state for state in (own, told))
    squares = (own - told.float()).square().mean(dim=-1)  # [B, S] or [B]
    if attention_mask is None or squares.ndim == 1:
        return squares.mean()
    return squares[attention_mask].mean()
