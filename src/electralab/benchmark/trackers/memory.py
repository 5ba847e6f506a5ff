"""The most memory that a process has had. Run as a program it says its own: that of a process that does nothing."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def high_water() -> int:
    """Bytes of resident memory at most, since the process began or its mark was reset (`/proc/self/clear_refs`).

    Where there is no /proc it is what the system counted, in which the process that forked this one has a part.
    """
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(high_water())
