"""What a run pays before it trains: CPU seconds of a new process, ours beside PyTorch's.

    python benchmarks/startup.py --check

A process that takes one step of AdamW, with `torch.optim.AdamW` and with ours, which does not import the compiler.
Rounds are interleaved (A B A B ...), and CPU time is compared, so that another load on the machine hits both alike.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

STEP = """
import torch
from {module} import AdamW
model = torch.nn.Linear(4, 2)
optimizer = AdamW(model.parameters(), fused=True)
model(torch.ones(3, 4)).sum().backward()
optimizer.step()
"""
TARGET = 1.5


def main() -> int:
    """Measure, print; with `--check`, fail where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    pairs = [(_cpu_seconds("torch.optim"), _cpu_seconds("electralab.electra.adamw")) for _ in range(arguments.rounds)]
    ratios = [theirs / ours for theirs, ours in pairs]
    low, median, high = statistics.quantiles(ratios, n=4)
    theirs, ours = (statistics.median(column) for column in zip(*pairs))
    print(f"first step, CPU seconds: PyTorch {theirs:.2f}, ours {ours:.2f}, ratio {median:.2f} ({low:.2f}-{high:.2f})")
    missed = median < TARGET
    if arguments.check:
        print(f"target of {TARGET} {'missed' if missed else 'met'}")
    return int(arguments.check and missed)


def _cpu_seconds(module: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", STEP.format(module=module)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
