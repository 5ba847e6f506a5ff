"""How large a model is: bytes in memory, and parameters, of which few-bit layers pack several into a number."""

from __future__ import annotations

import torch
from torch import nn


def weights_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers as they lie in memory, the scales of few-bit layers included."""
    tensors = [*model.parameters(), *model.buffers()]
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        if state is not None:
            tensors += [state.absmax, state.code]
            # Double quantization: the scales have scales.
            tensors += [state.offset, state.state2.absmax, state.state2.code] if state.nested else []
        scales = getattr(weight, "SCB", None)
        tensors += [] if scales is None else [scales]
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())  # layers share some


def parameter_count(model: nn.Module) -> int:
    """Number of parameters; packed 4-bit weights count as what they stand for."""
    return sum(unpacked_size(parameter) for parameter in model.parameters())


def unpacked_size(parameter: nn.Parameter) -> int:
    """Number of weights in a parameter, which in 4-bit storage is not that of its elements."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(torch.Size(state.shape).numel())
