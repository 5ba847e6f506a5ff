"""One ELECTRA pretraining run, from its inputs to its artifacts. Read `Trainer.run` first."""

from __future__ import annotations

import hashlib
import math
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from electralab.config import Pretraining
from electralab.electra.convert import save_discriminator, save_generator
from electralab.electra.corruption import mask_tokens
from electralab.electra.flops import count_parameters, training_flops
from electralab.errors import RunFailed, UserError
from electralab.files import only_writer, sha256
from electralab.model_files import WEIGHTS, copy_tokenizer
from electralab.pretrain.checkpoint import Checkpoints
from electralab.pretrain.evaluation import HeldOutEvaluation
from electralab.pretrain.history import History
from electralab.pretrain.optimizer import build_optimizer, set_learning_rate
from electralab.pretrain.schedule import learning_rate_factor
from electralab.pretrain.setup import (
    build_batches,
    build_corruption,
    build_objective,
    build_pair,
    smoothed_unigram,
    to_device,
)
from electralab.progress import Progress
from electralab.records import Meter, RunRecord, write_record
from electralab.specs import PretrainSpec
from electralab.tokens.cache import TokenCache

GPU_READ_EVERY = 50  # steps: reading the loss makes a GPU wait


def run_pretraining(
    spec: PretrainSpec, tokens: Path, tokenizer: Path, record_path: Path, threads: int, device: str
) -> RunRecord:
    """Pretrain one pair, resuming where an earlier attempt stopped.

    Args:
        spec: the run.
        tokens: manifest of the token cache.
        tokenizer: `tokenizer.json` that made the cache.
        record_path: where the run record goes; weights and history go beside it.
        threads: CPU threads.
        device: a torch device.

    A run that diverges or does not fit into the GPU's memory is a record with the status `failed` and the reason.

    Raises:
        UserError: inputs do not fit each other, or the run was told to stop.
    """
    torch.set_num_threads(threads)
    with only_writer(record_path.parent):
        trainer = Trainer(spec, tokens, tokenizer, record_path, threads, torch.device(device))
        trainer.resume()
        try:
            trainer.run()
        except torch.OutOfMemoryError:
            remedy = "lower batch_size or sequence_length, or raise gradient_accumulation"
            return trainer.fail(f"the GPU's memory is full at step {trainer.step}: {remedy}")
        except RunFailed as error:
            return trainer.fail(str(error))
        return trainer.finish()


class Trainer:
    """State of a run: networks, optimizer, step, history.

    A step is a function of the seed and its number alone: batches, masks, samples and dropout are all drawn from
    generators seeded by both. So the data position and the random state of a checkpoint are its step number, and a
    resumed run repeats an uninterrupted one bit for bit on a CPU.
    """

    def __init__(
        self, spec: PretrainSpec, tokens: Path, tokenizer: Path, record_path: Path, threads: int, device: torch.device
    ) -> None:
        self.spec, self.settings, self.device = spec, spec.settings, device
        self.tokenizer, self.record_path = tokenizer, record_path
        self.label = f"{spec.model} seed {spec.seed}"
        self.cache, held_out = TokenCache(tokens, "train"), TokenCache(tokens, "held_out")
        self.cache.check_tokenizer(tokenizer)

        unigram = smoothed_unigram(self.cache)
        self.batches = build_batches(self.settings, self.cache, spec.seed)
        self.corruption = build_corruption(self.settings)
        self.objective = build_objective(self.settings, self.cache.special_ids, unigram)
        self.pair = build_pair(spec, self.cache.vocab_size, unigram).to(device)
        self.optimizer = build_optimizer(self.pair, self.pair.word_embeddings, self.settings)
        self.evaluate = HeldOutEvaluation(
            build_batches(self.settings, held_out, seed=0),
            self.settings.evaluation_sequences,
            self.objective,
            self.corruption,
            self.cache.mask_id,
            tuple(self.cache.special_ids),
            device,
        )
        data = {"tokens": self.cache.checksum, "held_out": held_out.checksum, "tokenizer": sha256(tokenizer)}
        self.meter = Meter(str(device), threads, data)
        fingerprint = hashlib.sha256((spec.canonical() + repr(sorted(data.items()))).encode()).hexdigest()
        self.checkpoints = Checkpoints(record_path.parent / "checkpoints", fingerprint)
        self.bf16 = _use_bf16(self.settings, device)
        self.joint_from = round(self.settings.unigram_warmup * self.settings.steps)
        self.snapshots = {max(1, round(share * self.settings.steps)): share for share in self.settings.snapshots}
        self.step = 0
        self.losses: tuple[torch.Tensor | None, torch.Tensor] | None = None
        self.train_seconds = 0.0
        self.rows: list[dict[str, Any]] = []
        self.stopped_by: int | None = None

    def resume(self) -> None:
        """Take up the newest checkpoint of this very run, if there is one."""
        state = self.checkpoints.load()
        if state is None:
            return
        self.step, self.rows, self.train_seconds = state["step"], state["rows"], state["train_seconds"]
        self.pair.load_state_dict(state["pair"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.meter.earlier_wall, self.meter.earlier_cpu = state["wall_seconds"], state["cpu_seconds"]
        print(f"{self.label}: going on from step {self.step}", file=sys.stderr)

    def run(self) -> None:
        """Train to the last step, evaluating and saving on the way."""
        settings = self.settings
        history = History(self.record_path.parent / "evaluation.csv", self.rows)
        tokens_per_step = settings.batch_size * settings.sequence_length
        progress = Progress(self.label, settings.steps, done=self.step, tokens_per_step=tokens_per_step)
        previous = {which: signal.signal(which, self._stop) for which in (signal.SIGTERM, signal.SIGINT)}
        try:
            if self.step == 0 and not self.rows:
                history.add(self._evaluated(train_loss=float("nan")))
                progress.pause()
            while self.step < settings.steps:
                loss = self.train_step()
                self.step += 1
                if self.step in self.snapshots:
                    self._keep_discriminator()
                last = self.step == settings.steps
                evaluating = last or self.step % settings.evaluation_every == 0
                saving = last or self.step % settings.checkpoint_every == 0 or self.stopped_by is not None
                if evaluating or saving or self.device.type == "cpu" or self.step % GPU_READ_EVERY == 0:
                    value = self._finite(loss)
                    self.train_seconds += progress.update(self.step, self._shown_losses())
                if evaluating:
                    history.add(self._evaluated(value))
                if saving:
                    self._save()
                if evaluating or saving:
                    progress.pause()
                if self.stopped_by is not None and not last:
                    name = signal.Signals(self.stopped_by).name
                    raise UserError(f"{self.label}: stopped by {name} at step {self.step}; run it again to go on")
        finally:
            progress.close()
            for which, handler in previous.items():
                signal.signal(which, handler)
        # Snakemake deletes a declared output of a job that was killed; the checkpoint still has its rows.
        history.write()

    def train_step(self) -> torch.Tensor:
        """One optimizer step; returns the total loss, still on the device."""
        settings, step = self.settings, self.step
        generator = torch.Generator().manual_seed(_step_seed(self.spec.seed, step, "corruption"))
        torch.manual_seed(_step_seed(self.spec.seed, step, "dropout"))
        set_learning_rate(self.optimizer, settings, step, learning_rate_factor(settings, step))
        total = torch.zeros((), device=self.device)
        for micro in range(settings.gradient_accumulation):
            batch = self.batches.batch(step * settings.gradient_accumulation + micro)
            masking = mask_tokens(
                batch.input_ids,
                self.cache.mask_id,
                self.cache.special_ids,
                self.corruption,
                generator,
                batch.attention_mask,
            ).to(self.device)
            batch = to_device(batch, self.device)
            with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
                result = self.objective(
                    self.pair,
                    batch.input_ids,
                    masking,
                    batch.attention_mask,
                    batch.token_type_ids,
                    noise="generator" if step >= self.joint_from else "unigram",
                )
            loss = result.loss / settings.gradient_accumulation
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.losses = result.mlm_loss, result.rtd_loss
        torch.nn.utils.clip_grad_norm_(self.pair.parameters(), settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def finish(self) -> RunRecord:
        """Write the networks, then the run record, then drop the checkpoints."""
        folder, settings = self.record_path.parent, self.settings
        save_discriminator(folder / "discriminator", self.pair)
        save_generator(folder / "generator", self.pair)
        for network in ("discriminator", "generator"):
            copy_tokenizer(self.tokenizer.parent, folder / network, settings.discriminator.max_positions)
        tokens = settings.steps * settings.batch_size * settings.sequence_length
        metrics = {
            name: value for name, value in self.rows[-1].items() if isinstance(value, float) and name != "seconds"
        }
        record = self._record(
            metrics={
                **metrics,
                "tokens_per_second": tokens / self.train_seconds,
                "real_token_fraction": self.batches.real_token_fraction,
            },
            cost=self.meter.cost(
                peak_gpu_bytes=torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None,
                flops=training_flops(
                    self.pair,
                    settings.sequence_length,
                    settings.batch_size,
                    settings.steps,
                    self.joint_from,
                    settings.mask_probability,
                ),
                parameters=count_parameters(self.pair),
                tokens=tokens,
                bytes_on_disk=sum(path.stat().st_size for path in folder.glob(f"*/{WEIGHTS}")),
            ),
        )
        record = write_record(self.record_path, record)
        self.checkpoints.remove()
        return record

    def fail(self, reason: str) -> RunRecord:
        """Write the record of a run that came to nothing; its checkpoints and its curve stay."""
        History(self.record_path.parent / "evaluation.csv", self.rows).write()
        record = self._record(status="failed", reason=reason, cost=self.meter.cost())
        return write_record(self.record_path, record)

    def _record(self, **known: Any) -> RunRecord:
        settings = self.settings
        return RunRecord(
            stage="pretrain",
            model=self.spec.model,
            seed=self.spec.seed,
            recipe=settings.recipe,
            extensions=settings.extensions,
            provenance=self.meter.provenance(),
            spec=self.spec.model_dump(mode="json"),
            **known,
        )

    def _evaluated(self, train_loss: float) -> dict[str, Any]:
        return {
            "step": self.step,
            "tokens": self.step * self.settings.batch_size * self.settings.sequence_length,
            "seconds": round(self.train_seconds, 3),
            "phase": "unigram_warmup" if self.step < self.joint_from else "joint",
            "train_loss": train_loss,
            **self.evaluate(self.pair),
        }

    def _shown_losses(self) -> str:
        """The two losses of the latest micro-batch: nobody can read their weighted sum."""
        assert self.losses is not None
        mlm, rtd = self.losses
        return f"RTD {float(rtd):.2f}" if mlm is None else f"MLM {float(mlm):.2f}, RTD {float(rtd):.2f}"

    def _finite(self, loss: torch.Tensor) -> float:
        value = float(loss)
        if math.isfinite(value):
            return value
        last = self.checkpoints.newest()
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint was written yet"
        raise RunFailed(
            f"the loss is {value} at step {self.step}; {kept}. "
            "Lower learning_rate or clip_norm of this pretraining, or raise warmup_steps"
        )

    def _keep_discriminator(self) -> None:
        """A run that is resumed before this step writes the same files again."""
        folder = self.record_path.parent / f"snapshots/{self.snapshots[self.step] * 100:g}"
        save_discriminator(folder, self.pair)
        copy_tokenizer(self.tokenizer.parent, folder, self.settings.discriminator.max_positions)

    def _save(self) -> None:
        state = {
            "pair": self.pair.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rows": self.rows,
            "train_seconds": self.train_seconds,
            "wall_seconds": self.meter.wall_seconds,
            "cpu_seconds": self.meter.cpu_seconds,
        }
        self.checkpoints.save(self.step, state)

    def _stop(self, which: int, _frame: object) -> None:
        self.stopped_by = which


def _step_seed(seed: int, step: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed} {step} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _use_bf16(settings: Pretraining, device: torch.device) -> bool:
    """bf16 on a GPU that has it; on a CPU only when asked for, since most emulate it, several times slower."""
    if settings.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    if settings.precision == "bf16" and device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        raise UserError("precision: bf16 on a CPU without bf16 instructions is slower than fp32; use auto or fp32")
    return settings.precision == "bf16"
