"""The parts of `gpu.py`. Each yields its report line by line, so that what was measured before a failure is kept."""

from __future__ import annotations

import copy
import gc
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from gpu_models import (
    Setup,
    classifiers,
    make_trainer,
    our_pretraining_step,
    sampler,
    their_pretraining_step,
)
from pretraining_step import Gradients, largest_difference, ours_and_theirs
from torch import Tensor, nn

Step = Callable[[], Any]
OURS = "ElectraLab, bf16"
COMPILE_SECONDS = 100.0
BINS = 16
CURVE_POINTS = 10


class OutOfTimeError(Exception):
    """A part used up its seconds."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError inside the block after so many seconds; a limit around it goes on."""

    def stop(*_: object) -> None:
        raise OutOfTimeError(f"stopped after its {seconds:.0f} s")

    started, previous = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds)[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, outer - (time.monotonic() - started)))


def correctness(setup: Setup) -> Iterator[str]:
    """Losses, gradients and samples against Hugging Face and fp32, and an interrupted run against a whole one."""
    yield from ("| check | found | wanted | |", "|---|---|---|---|")
    device = setup.device.type
    ours, theirs = ours_and_theirs(setup.exact, device)
    found = largest_difference(ours, theirs)
    yield _checked("losses and gradients in fp32 against Hugging Face", f"{found:.1e}", "≤ 1e-4", found <= 1e-4)
    our_bf16, their_bf16 = ours_and_theirs(setup.exact, device, bf16=(True, True))
    for name, low, high in (
        ("ElectraLab, bf16 against its fp32", our_bf16, ours),
        ("Hugging Face, bf16 against its fp32", their_bf16, theirs),
        ("bf16, ElectraLab against Hugging Face", our_bf16, their_bf16),
    ):
        loss, cosine = _distance(low, high)
        good = loss <= 1e-2 and cosine >= 0.99
        yield _checked(name, f"loss {loss:.1e}, cosine {cosine:.5f}", "≤ 1e-2, ≥ .99", good)
    for bf16 in (False, True):
        probabilities, draw = sampler(setup, bf16)
        for what, value in _chi_square(probabilities, draw, setup.draws).items():
            name = f"{setup.draws} × {len(probabilities)} samples in {'bf16' if bf16 else 'fp32'}, {what}"
            yield _checked(name, f"p = {value:.3f}", "≥ .001", value >= 1e-3)
    yield from _resume(setup)


def _checked(name: str, found: str, wanted: str, good: bool) -> str:
    return f"| {name} | {found} | {wanted} | {'ok' if good else '**FAILED**'} |"


def _distance(low: Gradients, high: Gradients) -> tuple[float, float]:
    """Largest relative difference of the losses, and the cosine between whole gradients."""
    loss = float(((low.losses - high.losses) / high.losses).abs().max())
    flat = [torch.cat([tensor.flatten().double() for tensor in side.tensors.values()]) for side in (low, high)]
    return loss, float(F.cosine_similarity(flat[0], flat[1], dim=0))


def _chi_square(probabilities: Tensor, draw: Callable[[int], Tensor], draws: int) -> dict[str, float]:
    """p-values of all positions together, the vocabulary binned in blocks (coarse) and by remainder (fine)."""
    vocabulary = probabilities.shape[1]
    ids = torch.arange(vocabulary, device=probabilities.device)
    binnings = {"in blocks of ids": ids * BINS // vocabulary, "by id modulo 16": ids % BINS}
    samples = torch.stack([draw(seed) for seed in range(draws)], 1)  # [N, draws]
    values = {}
    for what, bins in binnings.items():
        expected = draws * torch.zeros(len(probabilities), BINS, dtype=torch.float64, device=ids.device).index_add_(
            1, bins, probabilities
        )
        observed = F.one_hot(bins[samples], BINS).sum(1)
        enough = expected.min(1).values >= 5  # what the approximation needs
        statistic = ((observed - expected) ** 2 / expected)[enough].sum()
        freedom = int(enough.sum()) * (BINS - 1)
        values[what] = float(torch.special.gammaincc(torch.tensor(freedom / 2.0).double(), statistic.cpu() / 2))
    return values


def _resume(setup: Setup) -> Iterator[str]:
    """The same weights after a whole run, a whole run again, and one that died and went on."""
    steps, died = (12, 7) if setup.tiny else (60, 37)
    weights = []
    for name, dies_at in (("whole", None), ("again", None), ("resumed", died)):
        options: dict[str, Any] = {"checkpoint_every": 5, "evaluation_every": steps}
        trainer = make_trainer(setup, name, True, steps, **options)
        if dies_at is not None:
            train_step = trainer.train_step

            def dies(trainer: Any = trainer, train_step: Any = train_step) -> None:
                if trainer.step == died:
                    raise InterruptedError
                train_step()

            trainer.train_step = dies
            try:
                trainer.run()
            except InterruptedError:
                trainer = make_trainer(setup, name, True, steps, afresh=False, **options)
                trainer.resume()
        trainer.run()
        weights.append(torch.cat([value.flatten() for value in trainer.pair.state_dict().values()]).cpu())
    for name, other in (("run again", weights[1]), (f"killed at step {died} and resumed", weights[2])):
        worst = float((weights[0] - other).abs().max())
        found = "bit for bit" if worst == 0 else f"weights differ by {worst:.1e}"
        yield _checked(f"{steps} steps, {name}", found, "bit for bit", worst == 0)


def pretraining_step(setup: Setup) -> Iterator[str]:
    """A pretraining step, interleaved with Hugging Face's; what is compiled comes last, because that may take long."""
    shape = setup.pretrained
    network = shape.discriminator
    yield (
        f"{network.layers} layers, {network.hidden_size} wide, generator {shape.generator_size:.0%}, "
        f"{shape.batch_size} × {shape.sequence_length} tokens, dropout .1. ElectraLab: the trainer's own step, batches "
        "and masks included. Hugging Face: masks included, logits at all positions, fused AdamW but in fp32. Compiled: "
        "timed afterwards, beside ElectraLab again."
    )
    yield ""
    head = ("variant", "ms/step (quartiles)", "tokens/s", f"{OURS} is", "kernels", "busy ms", "peak MB", "first call")
    yield from (f"| {' | '.join(head)} |", "|---|--:|--:|--:|--:|--:|--:|--:|")
    fast = partial(their_pretraining_step, setup, attention="sdpa", bf16=True, fused=True)
    variants: dict[str, Callable[[], Step]] = {
        OURS: partial(our_pretraining_step, setup, True),
        "ElectraLab, fp32": partial(our_pretraining_step, setup, False),
        "Hugging Face, eager, fp32": partial(their_pretraining_step, setup),
        "Hugging Face, SDPA, bf16": fast,
    }
    ready = {name: _prepared(make, setup.device) for name, make in variants.items()}
    yield from _step_rows(ready, setup)
    name = "Hugging Face, torch.compile, bf16"
    try:
        with limited(COMPILE_SECONDS * (10 if setup.tiny else 1)):
            compiled = _prepared(partial(fast, compiler=setup.compiler), setup.device)
    except Exception as error:
        yield f"| {name} | not timed: {type(error).__name__}: {' '.join(str(error).split())[:200]} | | | | | | |"
    else:
        yield from _step_rows({OURS: ready[OURS], name: compiled}, setup)


def _step_rows(ready: dict[str, tuple[Step, str]], setup: Setup) -> Iterator[str]:
    times = _interleaved({name: step for name, (step, _) in ready.items()}, setup)
    tokens = setup.pretrained.batch_size * setup.pretrained.sequence_length
    for name, values in times.items():
        rate = f"{tokens / statistics.median(values) * 1e3:,.0f}"
        yield f"| {name} | {_spread(values)} | {rate} | {_ratio(values, times[OURS])} | {ready[name][1]} |"


def _prepared(make: Callable[[], Step], device: torch.device) -> tuple[Step, str]:
    """A warm step; its kernels, the time they take, its peak memory and the seconds of its first call."""
    gc.collect()
    cuda = device.type == "cuda"
    held = torch.cuda.memory_allocated(device) if cuda else 0
    step, started = make(), time.monotonic()
    step()
    _wait(device)
    first = time.monotonic() - started
    for _ in range(2):
        step()
    if not cuda:
        return step, f"– | – | – | {first:.1f} s"
    torch.cuda.reset_peak_memory_stats(device)
    step()
    _wait(device)
    peak = (torch.cuda.max_memory_allocated(device) - held) / 1e6
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step()
        _wait(device)
    kernels = [
        event
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
        and not getattr(event, "is_user_annotation", False)
        and not event.name.startswith(("Memcpy", "Memset", "Optimizer."))
    ]
    busy = sum(event.time_range.elapsed_us() for event in kernels) / 1e3
    return step, f"{len(kernels)} | {busy:.2f} | {peak:,.0f} | {first:.1f} s"


def training(setup: Setup) -> Iterator[str]:
    """A short pretraining in bf16 and in fp32: the same text, masks and seed."""
    seconds = [_seconds_per_step(setup, bf16) for bf16 in (True, False)]
    steps = max(CURVE_POINTS, int(0.8 * setup.training_seconds / sum(seconds)))
    steps -= steps % CURVE_POINTS
    curves, spent = [], []
    for name, bf16 in (("curve-bf16", True), ("curve-fp32", False)):
        trainer = make_trainer(
            setup, name, bf16, steps, evaluation_every=steps // CURVE_POINTS, checkpoint_every=10 * steps
        )
        trainer.run()
        curves.append(trainer.rows)
        spent.append(trainer.train_seconds)
    per_step = setup.pretrained.batch_size * setup.pretrained.sequence_length
    yield (
        f"{steps} steps of {per_step} tokens of generated text (Markov chains), {spent[0]:.0f} s in bf16 and "
        f"{spent[1]:.0f} s in fp32, evaluations apart. Held-out losses; a generator that knows no more than word "
        f"frequencies has {curves[0][0]['unigram_cross_entropy']:.3f}."
    )
    yield ""
    yield "| step | MLM bf16 | MLM fp32 | RTD bf16 | RTD fp32 | RTD AUC bf16 | RTD AUC fp32 |"
    yield "|--:|--:|--:|--:|--:|--:|--:|"
    for low, high in zip(*curves):
        cells = (f"{row[name]:.4f}" for name in ("mlm_loss", "rtd_loss", "rtd_auc") for row in (low, high))
        yield f"| {low['step']} | {' | '.join(cells)} |"


def _seconds_per_step(setup: Setup, bf16: bool) -> float:
    step = our_pretraining_step(setup, bf16)
    for timed in (3, 10):
        started = time.monotonic()
        for _ in range(timed):
            step()
        _wait(setup.device)
    return (time.monotonic() - started) / timed


def finetuning(setup: Setup) -> Iterator[str]:
    """A fine-tuning step and inference in MiniLM's shape."""
    ours, theirs = classifiers(setup)
    network, length = setup.finetuned, setup.sequence_length
    ids = torch.randint(5, network.vocab_size, (max(setup.inference_batches), length), device=setup.device)
    with torch.inference_mode():
        difference = float((ours.eval()(ids[:4]) - theirs.eval()(ids[:4]).logits).abs().max())
    yield (
        f"{network.layers} layers, {network.hidden_size} wide, rows of {length} tokens, dropout .1 in training. "
        f"Largest difference of logits in fp32: {difference:.1e}."
    )
    yield ""
    yield from ("| call | variant | ms (quartiles) | ElectraLab, bf16 is |", "|---|---|--:|--:|")
    middle = setup.inference_batches[min(1, len(setup.inference_batches) - 1)]
    calls: list[tuple[str, int, bool]] = [(f"training step, {middle} rows", middle, True)]
    calls += [(f"inference, {rows} rows", rows, False) for rows in setup.inference_batches]
    eager = copy.deepcopy(theirs)
    eager.set_attn_implementation("eager")  # what it is built with is SDPA
    for what, rows, train in calls:
        steps = {
            OURS: _classifier_step(ours, ids[:rows], train, True),
            "ElectraLab, fp32": _classifier_step(ours, ids[:rows], train, False),
            "Hugging Face, eager, fp32": _classifier_step(eager, ids[:rows], train, False),
            "Hugging Face, SDPA, bf16": _classifier_step(theirs, ids[:rows], train, True),
        }
        times = _interleaved(steps, setup)
        for name, values in times.items():
            yield f"| {what} | {name} | {_spread(values)} | {_ratio(values, times[OURS])} |"


def _classifier_step(model: nn.Module, ids: Tensor, train: bool, bf16: bool) -> Step:
    labels = torch.arange(len(ids), device=ids.device) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True) if train else None
    model.train(train)

    def step() -> None:
        with nullcontext() if train else torch.inference_mode():
            with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16):
                output = model(ids)
            logits = output if isinstance(output, Tensor) else output.logits
            if optimizer is not None:
                F.cross_entropy(logits.float(), labels).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()

    return step


def _interleaved(steps: dict[str, Step], setup: Setup) -> dict[str, list[float]]:
    """Milliseconds a call, by round; rounds go A B C A B C, so that all variants see the same clock."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(-1, setup.rounds):
        for name, step in steps.items():
            _wait(setup.device)
            started = time.perf_counter()
            for _ in range(setup.calls):
                step()
            _wait(setup.device)
            if index >= 0:
                times[name].append((time.perf_counter() - started) * 1e3 / setup.calls)
    return times


def _spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _ratio(theirs: list[float], ours: list[float]) -> str:
    return f"{statistics.median(one / other for one, other in zip(theirs, ours)):.2f} × as fast"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
