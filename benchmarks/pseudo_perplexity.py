"""Pseudo-perplexity: ours beside `transformers` with one forward pass a token, which is how it is defined.

    python benchmarks/pseudo_perplexity.py --check
    python benchmarks/pseudo_perplexity.py --model artifacts/models/pretrained/tiny-g25/seed-0/generator --sentences 50

Without `--model` it is a BERT in MiniLM's shape (6 layers, 384 wide, 30,522 pieces) with random weights. Sentences are
random pieces: only their lengths matter. Both compute on one thread; their numbers are compared first. Rounds are
interleaved (A B A B ...), so that another load on the machine hits both alike, and CPU time is counted.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from electralab.electra.convert import load_encoder, load_language_head
from electralab.retention.pseudo_perplexity import LanguageModel, token_losses
from electralab.retention.windows import Windows, stream_windows

MINILM = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
SHORTEST, LONGEST = 12, 108  # tokens of a sentence, uniform
MASK = 103
BATCH_TOKENS = 4096
TARGET, CLOSE = 3.0, 1e-6


def main() -> int:
    """Compare, time, print a table; with `--check`, fail where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a model with a head for masked words")
    parser.add_argument("--sentences", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.model or _written(Path(place))
        theirs, ours = AutoModelForMaskedLM.from_pretrained(folder).eval(), _ours(folder)
    rows = _sentences(arguments.sentences, theirs.config.vocab_size)
    windows = _windows(rows)
    both: tuple[Callable[[], float], ...] = (lambda: _naive(theirs, rows), lambda: _batched(ours, windows))
    found = [[_timed(one) for one in both] for _ in range(arguments.rounds)]
    (_, expected), (_, perplexity) = found[0]
    apart = abs(perplexity / expected - 1)
    low, middle, high = statistics.quantiles([naive / fast for (naive, _), (fast, _) in found], n=4)
    tokens = sum(len(row) - 2 for row in rows)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread")
    print(f"{len(rows)} sentences, {tokens} tokens, perplexity {perplexity:.4f}, relative difference {apart:.1e}\n")
    print("| one pass a token, s | ours, s | ratio, median (quartiles) |\n|---|---|---|")
    seconds = [statistics.median(times[place][0] for times in found) for place in (0, 1)]
    print(f"| {seconds[0]:.2f} | {seconds[1]:.2f} | {middle:.2f} ({low:.2f}-{high:.2f}) |")
    met = middle >= TARGET and apart <= CLOSE
    if arguments.check:
        print(f"\ntarget of {TARGET} at a relative difference of at most {CLOSE} {'met' if met else 'missed'}")
    return int(arguments.check and not met)


def _written(folder: Path) -> Path:
    torch.manual_seed(0)
    BertForMaskedLM(MINILM).save_pretrained(folder)
    return folder


def _ours(folder: Path) -> LanguageModel:
    encoder, head = load_encoder(folder)[0], load_language_head(folder)
    if head is None:
        sys.exit(f"{folder} has no head for masked words")
    return LanguageModel(encoder, head, encoder.embeddings.word.weight.detach()).eval()


def _sentences(count: int, vocabulary: int) -> list[list[int]]:
    torch.manual_seed(1)
    lengths = torch.randint(SHORTEST, LONGEST, (count,)).tolist()
    return [torch.randint(5, vocabulary, (length,)).tolist() for length in lengths]


def _windows(rows: list[list[int]]) -> Windows:
    """Each sentence as a window, padded."""
    longest = max(map(len, rows))
    each = [stream_windows(row, longest, longest, 0) for row in rows]
    parts = ("input_ids", "scored")
    padded = [
        torch.cat([F.pad(getattr(one, part), (0, longest - len(row))) for one, row in zip(each, rows)])
        for part in parts
    ]
    return Windows(padded[0], torch.cat([one.lengths for one in each]), padded[1], torch.arange(len(rows)))


def _naive(model: torch.nn.Module, rows: list[list[int]]) -> float:
    losses = []
    with torch.inference_mode():
        for row in rows:
            for place in range(1, len(row) - 1):
                ids = torch.tensor([row])
                target = ids[:, place].clone()
                ids[0, place] = MASK
                losses.append(float(F.cross_entropy(model(ids).logits[:, place], target)))
    return math.exp(statistics.fmean(losses))


def _batched(model: LanguageModel, windows: Windows) -> float:
    losses = token_losses(model, windows, MASK, BATCH_TOKENS)
    return math.exp(float(losses[windows.scored].mean()))


def _timed(call: Callable[[], float]) -> tuple[float, float]:
    """CPU seconds, and what came out."""
    started = time.process_time()
    value = call()
    return time.process_time() - started, value


if __name__ == "__main__":
    sys.exit(main())
