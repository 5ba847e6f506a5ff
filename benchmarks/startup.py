"""What a short run pays beside its training: CPU seconds of a new process, ours beside a library's.

    python benchmarks/startup.py --check

The first step of AdamW, with `torch.optim.AdamW` and with ours, which does not import the compiler; the metrics of a
split, with scikit-learn and with ours. Rounds are interleaved (A B A B ...), and CPU time is compared, so that another
load on the machine hits both alike.
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
SPLIT = """
import numpy as np
import torch
labels, answers = np.array([0, 1, 1, 0]), np.log([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
"""
LIBRARY_METRICS = """
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
said = answers.argmax(axis=1)
accuracy_score(labels, said), f1_score(labels, said), matthews_corrcoef(labels, said)
"""
OUR_METRICS = """
from electralab.finetune.metrics import classification_metrics
classification_metrics(labels, answers)
"""
# What, the library's way, ours, and by what factor ours must be cheaper.
CASES = (
    ("first step of AdamW", STEP.format(module="torch.optim"), STEP.format(module="electralab.speed.adamw"), 1.5),
    ("PyTorch and the metrics of a split", SPLIT + LIBRARY_METRICS, SPLIT + OUR_METRICS, 1.3),
)


def main() -> int:
    """Measure, print; with `--check`, fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    missed = 0
    for name, library, own, target in CASES:
        pairs = [(_cpu_seconds(library), _cpu_seconds(own)) for _ in range(arguments.rounds)]
        low, ratio, high = statistics.quantiles([theirs / ours for theirs, ours in pairs], n=4)
        theirs, ours = (statistics.median(column) for column in zip(*pairs))
        print(f"{name}, CPU seconds: library {theirs:.2f}, ours {ours:.2f}, ratio {ratio:.2f} ({low:.2f}-{high:.2f})")
        if arguments.check:
            print(f"target of {target} {'missed' if ratio < target else 'met'}")
        missed += ratio < target
    return int(arguments.check and missed > 0)


def _cpu_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
