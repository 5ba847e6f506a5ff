"""A frozen model under a linear head."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import Form
from electralab.config.methods.training import Training


class LinearProbe(Training):
    """A linear head on a frozen encoder is all that is trained: the head of `full`, and the floor of every adapter."""

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["linear_probe"] = "linear_probe"
    pooling: Literal["cls", "mean"] = Field("cls", description="`cls`: the first token; `mean`: over real tokens.")
