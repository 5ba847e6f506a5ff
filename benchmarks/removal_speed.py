"""How much faster an encoder is without heads and neurons, without layers, and with zeros: interleaved rounds.

    python benchmarks/removal_speed.py

The shape is MiniLM's (6 layers, 384 wide, 12 heads, 1536 neurons), on one thread. Every round times the dense network
and the others one after another in an order of its own, so that another load hits all of them alike; ratios
are of the same round. Their interval is that of the median by order statistics, whatever their distribution.
"""

from __future__ import annotations

import argparse
import copy
import math
import platform
import random
import statistics
import time
from collections.abc import Sequence

import torch
from safetensors.torch import save
from torch import Tensor, nn

from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.methods.onnx.network import PlainEncoder
from electralab.methods.pruning.removal import choose, shrunken, without_layers

MINILM = ElectraConfig(30522, 384, 384, 6, 12, 1536)
LENGTH = 128
BATCHES = (1, 8)
HEADS, NEURONS = MINILM.attention_heads // 4, MINILM.intermediate_size // 4
LAYERS = (2, 4)
FEWEST = 6  # the range of five values covers their median with 94 %


def main() -> None:
    """Time and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    if rounds < FEWEST:
        parser.error(f"fewer than {FEWEST} rounds have no 95 % interval")
    torch.set_num_threads(1)
    dense = _network()
    others = {
        f"{HEADS} of 12 heads, {NEURONS} of 1536 neurons removed": shrunken(dense, choose(dense, HEADS, NEURONS)),
        "2 of 6 layers removed": without_layers(dense, LAYERS),
        "half of the weights zero": _masked(dense),
    }
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread, length {LENGTH}\n")
    print("| | parameters | MB |\n|---|--:|--:|")
    for name, network in {"dense": dense, **others}.items():
        parameters = sum(parameter.numel() for parameter in network.parameters())
        print(f"| {name} | {parameters:,} | {len(save(network.state_dict())) / 1e6:.1f} |")
    print("\n| | batch | dense, ms | this, ms | dense / this | 95 % interval | range |\n|---|--:|--:|--:|--:|--:|--:|")
    for size in BATCHES:
        ids = torch.randint(1000, 20000, (size, LENGTH))
        times = _times([dense, *others.values()], ids, rounds)
        for name, own in zip(others, times[1:], strict=True):
            print(_row(name, size, times[0], own), flush=True)


def _network() -> PlainEncoder:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(MINILM.hidden_size, 2))
    return PlainEncoder(Encoder(MINILM), head, mean=False).eval().requires_grad_(False)


def _masked(dense: PlainEncoder) -> PlainEncoder:
    """The same network, of every dense layer the smaller half of the weights zero, in the same kernels."""
    masked = copy.deepcopy(dense)
    for layer in masked.encoder.layers.modules():
        if isinstance(layer, nn.Linear):
            layer.weight[layer.weight.abs() < layer.weight.abs().median()] = 0.0
    return masked


def _times(networks: Sequence[PlainEncoder], ids: Tensor, rounds: int) -> list[list[float]]:
    """Seconds of CPU time of every network in every round; the first, which warms up, is left out."""
    mask = torch.ones_like(ids)
    found: list[list[float]] = [[] for _ in networks]
    order = random.Random(0)
    for _ in range(rounds + 1):
        for place in order.sample(range(len(networks)), len(networks)):
            found[place].append(_seconds(networks[place], ids, mask))
    return [times[1:] for times in found]


def _seconds(network: PlainEncoder, ids: Tensor, mask: Tensor) -> float:
    started = time.process_time()
    with torch.inference_mode():
        network(ids, mask, torch.zeros_like(ids))
    return time.process_time() - started


def _row(name: str, size: int, dense: list[float], own: list[float]) -> str:
    ratios = sorted(one / other for one, other in zip(dense, own, strict=True))
    low, high = _interval(ratios)
    milliseconds = " | ".join(f"{1e3 * statistics.median(times):.0f}" for times in (dense, own))
    ends = f"{low:.2f}-{high:.2f} | {ratios[0]:.2f}-{ratios[-1]:.2f}"
    return f"| {name} | {size} | {milliseconds} | {statistics.median(ratios):.2f} | {ends} |"


def _interval(ordered: list[float]) -> tuple[float, float]:
    """Of the median: the innermost order statistics with 95 % between them (binomial, p = 1/2)."""
    n, below, place = len(ordered), 0.5 ** len(ordered), 0
    while below + math.comb(n, place + 1) * 0.5**n <= 0.025:
        place += 1
        below += math.comb(n, place) * 0.5**n
    return ordered[place], ordered[n - 1 - place]


if __name__ == "__main__":
    main()
