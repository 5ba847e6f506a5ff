"""Energy, where a counter can be read; otherwise none: an estimate from a processor's name would be made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")


class EnergyCounter(Protocol):
    """Counts joules."""

    source: str

    def joules(self) -> float:
        """Since some fixed time."""


class RaplCounter:
    """Intel's and AMD's counters of whole processor packages, memory apart."""

    source = "RAPL, all packages"

    def __init__(self, packages: list[Path]) -> None:
        self._packages = packages
        self._ranges = [float((package / "max_energy_range_uj").read_text()) for package in packages]
        self._last = [self._read(package) for package in packages]
        self._total = 0.0

    def joules(self) -> float:
        """See `EnergyCounter`; counters wrap round."""
        for place, package in enumerate(self._packages):
            now = self._read(package)
            step = now - self._last[place]
            self._total += step if step >= 0 else step + self._ranges[place]
            self._last[place] = now
        return self._total / 1e6

    @staticmethod
    def _read(package: Path) -> float:
        return float((package / "energy_uj").read_text())


class NvmlCounter:
    """NVIDIA's counter of one GPU since its driver was loaded."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self.source = f"NVML, {nvml.nvmlDeviceGetName(handle)}"

    def joules(self) -> float:
        """See `EnergyCounter`."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3


def energy_counter(device: str, powercap: Path = POWERCAP) -> EnergyCounter | None:
    """The counter of a device, or None where there is none that this user may read."""
    if device.startswith("cuda"):
        return _nvml(int(device.partition(":")[2] or 0))
    packages = sorted(path for path in powercap.glob("*-rapl:*") if path.name.count(":") == 1)
    try:
        return RaplCounter(packages) if packages else None
    except (OSError, ValueError):
        return None


def _nvml(number: int) -> NvmlCounter | None:
    try:
        import pynvml  # type: ignore[import-not-found]

        pynvml.nvmlInit()
        return NvmlCounter(pynvml, pynvml.nvmlDeviceGetHandleByIndex(number))
    except Exception:  # of a library that may be missing, and whose driver may be
        return None
