"""How much faster an encoder is without heads and neurons, and without layers: interleaved rounds on one thread.

    python benchmarks/removal_speed.py

The shape is MiniLM's (6 layers, 384 wide, 12 heads, 1536 neurons). Every round times the dense network and both smaller
ones one after another, so that another load on the machine hits all of them alike; ratios are of the same round.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.methods.onnx.network import PlainEncoder
from electralab.methods.pruning.removal import choose, shrunken, without_layers

MINILM = ElectraConfig(30522, 384, 384, 6, 12, 1536)
LENGTH = 128
BATCHES = (1, 8)
HEADS, NEURONS = MINILM.attention_heads // 4, MINILM.intermediate_size // 4
LAYERS = (2, 4)


def main() -> None:
    """Time and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    dense = _network()
    smaller = {
        f"{HEADS} of 12 heads, {NEURONS} of 1536 neurons": shrunken(dense, choose(dense, HEADS, NEURONS)),
        "2 of 6 layers": without_layers(dense, LAYERS),
    }
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread, length {LENGTH}\n")
    print("| removed | batch | dense, ms | left, ms | ratio, median (quartiles) |\n|---|--:|--:|--:|--:|")
    for size in BATCHES:
        ids = torch.randint(1000, 20000, (size, LENGTH))
        times = _times([dense, *smaller.values()], ids, rounds)
        for name, left in zip(smaller, times[1:], strict=True):
            print(_row(name, size, times[0], left), flush=True)


def _network() -> PlainEncoder:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(MINILM.hidden_size, 2))
    return PlainEncoder(Encoder(MINILM), head, mean=False).eval().requires_grad_(False)


def _times(networks: Sequence[PlainEncoder], ids: Tensor, rounds: int) -> list[list[float]]:
    """Seconds of CPU time of every network in every round; the first, which warms up, is left out."""
    mask = torch.ones_like(ids)
    found = [[_seconds(network, ids, mask) for network in networks] for _ in range(rounds + 1)][1:]
    return [list(column) for column in zip(*found, strict=True)]


def _seconds(network: PlainEncoder, ids: Tensor, mask: Tensor) -> float:
    started = time.process_time()
    with torch.inference_mode():
        network(ids, mask, torch.zeros_like(ids))
    return time.process_time() - started


def _row(name: str, size: int, dense: list[float], left: list[float]) -> str:
    low, middle, high = statistics.quantiles([one / other for one, other in zip(dense, left, strict=True)], n=4)
    milliseconds = [1e3 * statistics.median(times) for times in (dense, left)]
    return f"| {name} | {size} | {milliseconds[0]:.0f} | {milliseconds[1]:.0f} | {middle:.2f} ({low:.2f}-{high:.2f}) |"


if __name__ == "__main__":
    main()
