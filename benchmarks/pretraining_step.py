"""One pretraining step side by side: ElectraLab, plain Hugging Face classes and the `electra-pytorch` package.

    python benchmarks/pretraining_step.py --shape demo --check

All variants run in this one process in interleaved rounds (A B C A B C ...), so that another load on the machine
hits all of them alike; the ratio of each round is taken between neighbours in time. Before anything is timed, the
loss and every gradient of ElectraLab are compared with the Hugging Face networks on the same masks and samples.

`electra-pytorch` is not a dependency; install it with `pip install --no-deps electra-pytorch==0.1.2`.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn

from electralab.electra.convert import discriminator_state, generator_state, huggingface_config
from electralab.electra.corruption import Corruption, Masking, mask_tokens
from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.initialization import initialize
from electralab.electra.objective import ElectraObjective
from electralab.electra.pair import ElectraPair
from electralab.speed.onednn import onednn_is_faster

PAD, CLS, SEP, MASK = 0, 2, 3, 4
SPECIAL = [PAD, 1, CLS, SEP, MASK]


@dataclass(frozen=True)
class Shape:
    discriminator: ElectraConfig
    generator_size: float
    batch_size: int
    targets: dict[str, float]
    """Least acceptable speed-up over each peer."""
    sequence_length: int = 128


SHAPES = {
    "demo": Shape(
        ElectraConfig(8192, 128, 128, 4, 4, 512, hidden_dropout=0.0, attention_dropout=0.0),
        generator_size=0.5,
        batch_size=32,
        targets={"electra-pytorch": 3.0, "huggingface": 2.2},
    ),
    "small": Shape(
        ElectraConfig(30522, 128, 256, 12, 4, 1024, hidden_dropout=0.0, attention_dropout=0.0),
        generator_size=0.25,
        batch_size=8,
        targets={"huggingface": 1.7},
    ),
}


def make_batch(shape: Shape, seed: int) -> Tensor:
    """Packed sequences [B, S] of ordinary tokens between [CLS] and [SEP]."""
    generator = torch.Generator().manual_seed(seed)
    size = (shape.batch_size, shape.sequence_length)
    ids = torch.randint(len(SPECIAL), shape.discriminator.vocab_size, size, generator=generator)
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids


def make_pair(shape: Shape) -> ElectraPair:
    pair = ElectraPair(shape.discriminator, generator_config(shape.discriminator, shape.generator_size))
    initialize(pair, "normal", torch.Generator().manual_seed(0))
    return pair


def make_huggingface(pair: ElectraPair, attention: str) -> tuple[nn.Module, nn.Module]:
    """The same two networks, with the same weights and ties, as Hugging Face classes."""

    def build(config: ElectraConfig, architecture: str, state: dict[str, Tensor]) -> Any:
        hf_config = transformers.ElectraConfig(**huggingface_config(config, architecture))
        hf_config._attn_implementation = attention
        network = getattr(transformers, architecture)(hf_config)
        missing, unexpected = network.load_state_dict(state, strict=False)
        assert not unexpected and set(missing) <= {"generator_lm_head.weight"}, (missing, unexpected)
        return network

    discriminator = build(pair.discriminator.config, "ElectraForPreTraining", discriminator_state(pair))
    generator = build(pair.generator.config, "ElectraForMaskedLM", generator_state(pair))
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.generator_lm_head.weight = generator.electra.embeddings.word_embeddings.weight
    return generator, discriminator


def reference_loss(
    generator: nn.Module, discriminator: nn.Module, ids: Tensor, masking: Masking, samples: Tensor
) -> tuple[Tensor, Tensor]:
    """MLM and RTD loss of the Hugging Face networks on given masks and samples."""
    labels = torch.full_like(ids, -100)
    labels.view(-1)[masking.positions] = ids.view(-1)[masking.positions]
    mlm = generator(input_ids=masking.generator_ids, labels=labels).loss
    corrupted = ids.clone()
    corrupted.view(-1)[masking.positions] = samples
    return mlm, discriminator(input_ids=corrupted, labels=(corrupted != ids).long()).loss


class Gradients(NamedTuple):
    """Losses and gradients of one step, under Hugging Face names."""

    losses: Tensor
    tensors: dict[str, Tensor]


def ours_and_theirs(
    shape: Shape, device: str = "cpu", bf16: tuple[bool, bool] = (False, False)
) -> tuple[Gradients, Gradients]:
    """One step of ElectraLab and of Hugging Face from the same weights, masks and samples; either may be in bf16."""
    pair, ids = make_pair(shape).to(device), make_batch(shape, seed=1)
    masking = mask_tokens(ids, MASK, SPECIAL, Corruption(), torch.Generator().manual_seed(1)).to(torch.device(device))
    generator, discriminator = (network.to(device) for network in make_huggingface(pair, "eager"))
    ids = ids.to(device)
    with torch.no_grad():
        samples = ElectraObjective()(pair, ids, masking).sampled_ids
    with torch.autocast(device, torch.bfloat16, enabled=bf16[0]):
        ours = ElectraObjective()(pair, ids, masking, samples=samples)
    ours.loss.backward()
    with torch.autocast(device, torch.bfloat16, enabled=bf16[1]):
        mlm, rtd = reference_loss(generator, discriminator, ids, masking, samples)
    (mlm + 50 * rtd).backward()

    def gradients(module: nn.Module) -> dict[str, Tensor]:
        return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}

    graded = copy.deepcopy(pair)
    for target, source in zip(graded.parameters(), pair.parameters()):
        target.data = source.grad
    expected = {**prefixed("d.", gradients(discriminator)), **prefixed("g.", gradients(generator))}
    actual = {**prefixed("d.", discriminator_state(graded)), **prefixed("g.", generator_state(graded))}
    assert ours.mlm_loss is not None
    return (
        Gradients(torch.stack([ours.mlm_loss, ours.rtd_loss]), {name: actual[name] for name in expected}),
        Gradients(torch.stack([mlm, rtd]).detach(), expected),
    )


def largest_difference(ours: Gradients, theirs: Gradients) -> float:
    """Of losses, and of gradients relative to each tensor's largest."""
    worst = float((ours.losses - theirs.losses).abs().max())
    largest = max(float(gradient.abs().max()) for gradient in theirs.tensors.values())
    for name, gradient in theirs.tensors.items():
        # Relative, but some gradients (of the key biases) are zero up to rounding.
        scale = max(1e-3 * largest, float(gradient.abs().max()))
        worst = max(worst, float((ours.tensors[name] - gradient).abs().max()) / scale)
    return worst


def check_equality(shape: Shape, tolerance: float = 1e-5) -> None:
    """Compare losses and gradients with Hugging Face; exit 1 if they differ by more than `tolerance`."""
    ours, theirs = ours_and_theirs(shape)
    worst = largest_difference(ours, theirs)
    print(f"equality with Hugging Face: largest difference of losses and {len(ours.tensors)} gradients {worst:.1e}")
    if not worst <= tolerance:
        sys.exit(f"FAILED: the difference is above {tolerance:g}, so the variants do not compute the same thing")


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def electralab_step(shape: Shape) -> Callable[[Tensor], Any]:
    pair, objective, options = make_pair(shape), ElectraObjective(), Corruption()
    optimizer = torch.optim.AdamW(pair.parameters(), lr=5e-4, weight_decay=0.01, fused=True)
    random = torch.Generator().manual_seed(0)

    def step(ids: Tensor) -> Tensor:
        result = objective(pair, ids, mask_tokens(ids, MASK, SPECIAL, options, random))
        result.loss.backward()
        nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return result.loss.detach()

    return step


def huggingface_step(
    shape: Shape,
    attention: str = "eager",
    device: str = "cpu",
    bf16: bool = False,
    fused: bool = False,
    compiler: str | None = None,
) -> Callable[[Tensor], Any]:
    """What a user writes first: logits at all positions, eager attention, Gumbel sampling, AdamW in a loop.

    The options are what a user finds next; `compiler` is a backend of `torch.compile`.
    """
    generator, discriminator = (network.to(device) for network in make_huggingface(make_pair(shape), attention))
    networks = nn.ModuleList([generator, discriminator])
    optimizer_options: dict[str, Any] = {"fused": True} if fused else {"foreach": False}
    optimizer = torch.optim.AdamW(networks.parameters(), lr=5e-4, weight_decay=0.01, **optimizer_options)
    if compiler is not None:
        generator, discriminator = (torch.compile(network, backend=compiler) for network in networks)

    def step(ids: Tensor) -> Tensor:
        masking = mask_tokens(ids, MASK, SPECIAL, Corruption(), torch.default_generator).to(torch.device(device))
        ids = ids.to(device)
        labels = torch.full_like(ids, -100)
        labels.view(-1)[masking.positions] = ids.view(-1)[masking.positions]
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            output = generator(input_ids=masking.generator_ids, labels=labels)
            with torch.no_grad():
                selected = output.logits.flatten(0, 1)[masking.positions].float()
                gumbel = -torch.log(-torch.log(torch.rand_like(selected).clamp_(1e-9, 1 - 1e-7)))
                sampled = (selected + gumbel).argmax(-1)
            corrupted = ids.masked_scatter(labels != -100, sampled)
            rtd = discriminator(input_ids=corrupted, labels=(corrupted != ids).long()).loss
        loss = output.loss + 50 * rtd
        loss.backward()
        nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def electra_pytorch_step(shape: Shape) -> Callable[[Tensor], Any] | None:
    """The package around the same Hugging Face networks, set up as its OpenWebText script does."""
    try:
        from electra_pytorch import Electra
    except ImportError:
        print("electra-pytorch is not installed, not timed: pip install --no-deps electra-pytorch==0.1.2")
        return None

    class Logits(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, ids: Tensor) -> Tensor:
            return self.network(input_ids=ids).logits

    generator, discriminator = make_huggingface(make_pair(shape), "sdpa")
    model = Electra(
        Logits(generator),
        Logits(discriminator),
        num_tokens=shape.discriminator.vocab_size,
        mask_token_id=MASK,
        pad_token_id=PAD,
        mask_ignore_token_ids=SPECIAL,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01)

    def step(ids: Tensor) -> Tensor:
        loss = model(ids).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def time_rounds(steps: dict[str, Callable[[Tensor], Any]], shape: Shape, rounds: int) -> dict[str, Any]:
    """Seconds of every step: {"cpu": {variant: [...]}, "wall": {variant: [...]}}."""
    seconds: dict[str, Any] = {clock: {name: [] for name in steps} for clock in ("cpu", "wall")}
    for index in range(-1, rounds):  # round -1 warms up
        ids = make_batch(shape, seed=100 + index)
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step(ids)
            if index >= 0:
                seconds["cpu"][name].append(time.process_time() - cpu)
                seconds["wall"][name].append(time.perf_counter() - wall)
    return seconds


def report(seconds: dict[str, Any], shape: Shape, clock: str) -> dict[str, float]:
    """Print the milliseconds and the ratios to ElectraLab; return each peer's median ratio."""
    ratios = {}
    print(f"\n{clock} ms per step {'min':>10} {'median':>8} {'IQR':>8}   speed-up of ElectraLab: median (quartiles)")
    for name, values in seconds[clock].items():
        low, middle, high = statistics.quantiles(values, n=4)
        line = f"  {name:<18} {min(values) * 1e3:>10.1f} {middle * 1e3:>8.1f} {(high - low) * 1e3:>8.1f}"
        if name != "electralab":
            by_round = [theirs / ours for theirs, ours in zip(values, seconds[clock]["electralab"])]
            first, ratios[name], third = statistics.quantiles(by_round, n=4)
            line += f"   {ratios[name]:.2f}x ({first:.2f}-{third:.2f})"
        print(line)
    tokens = shape.batch_size * shape.sequence_length
    print(f"  ElectraLab: {tokens / min(seconds[clock]['electralab']):.0f} tokens per {clock} second")
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="demo")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit 1 when a speed-up in CPU time misses its target")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]

    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    processor = torch.cpu.get_capabilities().get("cpu_name", platform.machine())
    products = "oneDNN" if onednn_is_faster() else "PyTorch's default"
    print(f"shape {arguments.shape}, {arguments.threads} thread(s), fp32, {processor}")
    print(f"ElectraLab's dense layers: {products}; the peers' are PyTorch's default")
    print(f"{versions}, load average {os.getloadavg()}")
    check_equality(shape)

    built = {
        "electralab": electralab_step(shape),
        "huggingface": huggingface_step(shape),
        "electra-pytorch": electra_pytorch_step(shape),
    }
    steps = {name: step for name, step in built.items() if step is not None}
    seconds = time_rounds(steps, shape, arguments.rounds)
    report(seconds, shape, "wall")
    ratios = report(seconds, shape, "cpu")
    print(f"load average after: {os.getloadavg()}")

    if arguments.check:
        missed = [
            f"{name} {f'{ratios[name]:.2f}x' if name in ratios else 'was not timed'}, target {target}x"
            for name, target in shape.targets.items()
            if ratios.get(name, 0.0) < target
        ]
        if missed:
            sys.exit("FAILED: " + "; ".join(missed))
        print("all targets met: " + ", ".join(f"{name} >= {target}x" for name, target in shape.targets.items()))


if __name__ == "__main__":
    main()
