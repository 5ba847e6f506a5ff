"""A training step with an adapter: ElectraLab beside Hugging Face and PEFT as they come.

    python benchmarks/adapter_step.py --check

A BERT in MiniLM's shape (6 layers, 384 wide) with random weights, 32 rows of 56 tokens, dropout 0.1, one thread. Both
variants are the same PEFT model with the same weights; ours has its dense layers computed by oneDNN, where that is
faster, and its dropout drawn from 16 random bits an element. Before anything is timed, the logits of both are compared.
Rounds are interleaved (A B A B ...), so that another load on the machine hits both alike.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import BertConfig, BertModel

from electralab.config import AdapterMethod, Lora, Oft, Qlora
from electralab.methods.adapters.adapt import AdaptedModel, adapt
from electralab.methods.base_models import load_base
from electralab.speed.dropout import Dropout
from electralab.speed.onednn import Linear, onednn_is_faster

MINILM = BertConfig(
    hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, max_position_embeddings=128
)
METHODS: dict[str, AdapterMethod] = {
    "lora, attention": Lora(),
    "lora, attention+ffn": Lora(targets="attention+ffn"),
    "oft, attention+ffn": Oft(targets="attention+ffn"),
    "qlora, attention+ffn": Qlora(targets="attention+ffn"),
}
TARGET = 1.5  # of LoRA on all dense layers
ROWS, LENGTH = 32, 56


def main() -> int:
    """Compare, time, print a table; with `--check`, fail where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    products = "oneDNN" if onednn_is_faster() else "PyTorch's default"
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread, products by {products}\n"
    )
    print("| method | theirs, ms a step | ours, ms a step | ratio, median (quartiles) |\n|---|---|---|---|")
    ratios = {name: _row(name, method, arguments.rounds) for name, method in METHODS.items()}
    missed = onednn_is_faster() and ratios["lora, attention+ffn"] < TARGET
    if arguments.check:
        print(f"\ntarget of {TARGET} for LoRA on all dense layers {'missed' if missed else 'met'}")
    return int(arguments.check and missed)


def _row(name: str, method: AdapterMethod, rounds: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        BertModel(MINILM).save_pretrained(folder)
        ours, theirs = (_adapted(Path(folder), method) for _ in range(2))
    _as_it_comes(theirs)
    batch = torch.randint(1000, 20000, (ROWS, LENGTH)), torch.ones(ROWS, LENGTH, dtype=torch.bool)
    labels = torch.randint(0, 2, (ROWS,))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(*batch), theirs.eval()(*batch), atol=1e-5, rtol=1e-4)
    pairs = [(_seconds(theirs, batch, labels), _seconds(ours, batch, labels)) for _ in range(rounds + 1)][1:]
    low, middle, high = statistics.quantiles([one / other for one, other in pairs], n=4)
    times = [1e3 * statistics.median(column) for column in zip(*pairs)]
    print(f"| {name} | {times[0]:.0f} | {times[1]:.0f} | {middle:.2f} ({low:.2f}-{high:.2f}) |", flush=True)
    return middle


def _adapted(folder: Path, method: AdapterMethod) -> AdaptedModel:
    return adapt(load_base(folder, 2, method, seed=0), method, steps=100)


def _as_it_comes(model: AdaptedModel) -> None:
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = torch.nn.Linear
        elif type(module) is Dropout:
            module.__class__ = torch.nn.Dropout


def _seconds(model: AdaptedModel, batch: tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor) -> float:
    """CPU time of a forward and a backward pass."""
    model.train()
    started = time.process_time()
    F.cross_entropy(model(*batch), labels).backward()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
