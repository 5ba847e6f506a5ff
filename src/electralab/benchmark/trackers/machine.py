"""What a machine is doing while it is measured: load, clocks, governor, temperature."""

from __future__ import annotations

import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
ZONES = Path("/sys/class/thermal")


def machine_state() -> dict[str, float | str]:
    """What can be read now; what cannot is left out."""
    found: dict[str, float | str] = {"load_average": round(os.getloadavg()[0], 2)}
    clocks = [float(line.split(":")[1]) for line in _lines(Path("/proc/cpuinfo")) if line.startswith("cpu MHz")]
    if clocks:
        found["clock_mhz"] = round(sum(clocks) / len(clocks))
    governors = {line for path in CPUS.glob("cpu*/cpufreq/scaling_governor") for line in _lines(path)}
    if governors:
        found["governor"] = ", ".join(sorted(governors))
    heats = [float(line) / 1000 for path in ZONES.glob("thermal_zone*/temp") for line in _lines(path)]
    if heats:
        found["temperature_celsius"] = max(heats)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
