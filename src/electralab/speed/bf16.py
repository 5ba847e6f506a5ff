"""Which devices multiply bf16 in hardware."""

from __future__ import annotations

import torch

# Instructions that multiply bf16, as PyTorch calls them on x86 and on ARM.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def multiplies_bf16(device: torch.device | str) -> bool:
    """Whether a device multiplies bf16 in hardware: a GPU that has it, or a CPU with instructions for it."""
    if torch.device(device).type != "cpu":
        return has_bf16(device)
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name, False)) for name in INSTRUCTIONS)


def has_bf16(device: torch.device | str) -> bool:
    """Whether a device is a GPU that has bf16. GPUs before Ampere (V100, T4) emulate it, slower than fp32."""
    device = torch.device(device)
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
