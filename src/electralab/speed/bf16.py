"""Which devices multiply bf16 in hardware."""

from __future__ import annotations

import torch


def has_bf16(device: torch.device | str) -> bool:
    """Whether a device is a GPU that has bf16. GPUs before Ampere (V100, T4) emulate it, slower than fp32."""
    device = torch.device(device)
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
