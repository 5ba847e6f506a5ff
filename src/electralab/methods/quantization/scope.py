"""Which layers of a network a link quantizes."""

from __future__ import annotations

import re

from torch import nn

from electralab.config import WeightScope
from electralab.methods.onnx.graph import layers_of, part_of


def layers_in_scope(network: nn.Module, scope: WeightScope) -> list[str]:
    """Names of the layers that are to be quantized, in the network's order.

    The positions' table is added as it is and the types' has two rows: neither is ever quantized.
    """
    names = [name for name in layers_of(network) if not name.endswith((".position", ".token_type"))]
    if scope == "published":
        return [name for name in names if re.search(r"\.layers\.\d+\.intermediate$", name) or part_of(name) == "head"]
    parts = {"all": ("linear", "embeddings")}.get(scope, (scope,))
    return [name for name in names if part_of(name) in parts]
