"""One ELECTRA pretraining run, from its inputs to its artifacts. Read `Trainer.run` first."""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from electralab.config import Pretraining
from electralab.electra.convert import save_discriminator, save_generator
from electralab.electra.flops import count_parameters, training_flops
from electralab.electra.objective import Noise, Totals
from electralab.errors import RunFailed, UserError
from electralab.files import only_writer, sha256, staged_folder
from electralab.model_files import WEIGHTS, copy_tokenizer
from electralab.names import snapshot_in
from electralab.pretrain.checkpoint import Checkpoints
from electralab.pretrain.evaluation import HeldOutEvaluation
from electralab.pretrain.finished import keep_results, restore_results
from electralab.pretrain.health import Spikes, findings
from electralab.pretrain.history import History
from electralab.pretrain.inputs import Inputs
from electralab.pretrain.optimizer import build_optimizer, set_learning_rate
from electralab.pretrain.readings import Readings
from electralab.pretrain.schedule import learning_rate_factor
from electralab.pretrain.setup import build_batches, build_objective, build_pair, smoothed_unigram
from electralab.pretrain.start import read_start
from electralab.progress import Progress, print_warning
from electralab.records import Meter, RunRecord, write_record
from electralab.specs import PretrainSpec
from electralab.speed.bf16 import has_bf16
from electralab.tokens.cache import TokenCache

READ_EVERY = {"cpu": 1, "cuda": 50}  # steps: reading the loss makes a GPU wait
STOPPED_BY = ("SIGTERM", "SIGINT", "SIGHUP")  # the last is a terminal that was closed; Windows has none


def run_pretraining(
    spec: PretrainSpec, inputs: Inputs, record_path: Path, threads: int = 1, device: str = "cpu"
) -> RunRecord:
    """Pretrain one pair, resuming where an earlier attempt stopped.

    Args:
        spec: the run.
        inputs: the files that it reads.
        record_path: where the run record goes; weights and history go beside it.
        threads: CPU threads.
        device: a torch device.

    A run that diverges or does not fit into the GPU's memory is a record with the status `failed` and the reason.

    Raises:
        UserError: inputs do not fit each other, or the run was told to stop.
    """
    torch.set_num_threads(threads)
    with only_writer(record_path.parent):
        trainer = Trainer(spec, inputs, record_path, threads, torch.device(device))
        finished = restore_results(record_path, spec, trainer.meter.data)
        if finished is not None:
            return finished
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
        self, spec: PretrainSpec, inputs: Inputs, record_path: Path, threads: int, device: torch.device
    ) -> None:
        self.spec, self.settings, self.device = spec, spec.settings, device
        self.tokenizer, self.record_path = inputs.tokenizer, record_path
        self.label = f"{spec.model} seed {spec.seed}"
        cache, held_out = TokenCache(inputs.tokens, "train"), TokenCache(inputs.tokens, "held_out")
        cache.check_tokenizer(inputs.tokenizer)
        start = None if inputs.start is None else read_start(inputs.start, inputs.start_generator)

        settings, unigram = self.settings, smoothed_unigram(cache)
        micro_batch = settings.batch_size // settings.gradient_accumulation
        self.batches = build_batches(settings, cache, micro_batch, spec.seed)
        self.objective = build_objective(settings, cache, unigram)
        self.pair = build_pair(spec, cache.vocab_size, unigram)
        self.notes = [] if start is None else start.give(self.pair, inputs.tokenizer)
        self.pair.to(device)
        self.optimizer = build_optimizer(self.pair, self.pair.word_embeddings, settings)
        self.evaluate = HeldOutEvaluation(
            build_batches(settings, held_out, settings.batch_size, seed=0),
            settings.evaluation_sequences,
            self.objective,
            micro_batch,
            device,
        )
        data = {"tokens": cache.checksum, "held_out": held_out.checksum, "tokenizer": sha256(inputs.tokenizer)}
        data |= start.checksums if start else {}
        self.extensions = sorted({*settings.extensions, *(start.extensions if start else ())})
        self.meter = Meter(str(device), threads, data)
        fingerprint = hashlib.sha256((spec.decides_weights + repr(sorted(data.items()))).encode()).hexdigest()
        self.checkpoints = Checkpoints(record_path.parent / "checkpoints", fingerprint)
        self.bf16 = _use_bf16(settings, device)
        self.joint_from = round(settings.unigram_warmup * settings.steps)
        self.step = 0
        self.losses: tuple[Tensor | None, Tensor] | None = None
        self.readings, self.spikes = Readings(), Spikes()
        self.train_seconds = 0.0
        self.rows: list[dict[str, Any]] = []
        self.stopped_by: str | None = None

    def resume(self) -> None:
        """Take up the newest checkpoint of this very run, if there is one."""
        state = self.checkpoints.load()
        if state is None:
            return
        self.step, self.rows, self.train_seconds = state["step"], state["rows"], state["train_seconds"]
        self.pair.load_state_dict(state["pair"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.spikes = Spikes(**state["spikes"])
        self.meter.earlier_wall, self.meter.earlier_cpu = state["wall_seconds"], state["cpu_seconds"]
        print(f"{self.label}: going on from step {self.step}", file=sys.stderr)

    def run(self) -> None:
        """Train to the last step, evaluating and saving on the way.

        Raises:
            RunFailed: it diverged. Nothing is saved, not even a snapshot, before its numbers were seen to be finite.
            UserError: it was told to stop.
        """
        settings = self.settings
        history = History(self.record_path.parent / "evaluation.csv", self.rows)
        tokens_per_step = settings.batch_size * settings.sequence_length
        progress = Progress(self.label, settings.steps, done=self.step, tokens_per_step=tokens_per_step)
        with progress, self._told_to_stop():
            if self.step == 0 and not self.rows:
                history.add(self._evaluated())
                progress.pause()
            while self.step < settings.steps:
                self.train_step()
                self.step += 1

                last, stopping = self.step == settings.steps, self.stopped_by is not None
                evaluating = last or self.step % settings.evaluation_every == 0
                saving = last or stopping or self.step % settings.checkpoint_every == 0
                keeping = self.step in settings.snapshot_steps
                pausing = evaluating or saving or keeping
                if pausing or self.step % READ_EVERY[self.device.type] == 0:
                    self._read_losses()
                    self.train_seconds += progress.update(self.step, self._shown_losses())
                if keeping:
                    self._keep_discriminator()
                if evaluating:
                    history.add(self._evaluated())
                    self._warn()
                if saving:
                    self._save()
                if pausing:
                    progress.pause()
                if stopping and not last:
                    raise UserError(
                        f"{self.label}: stopped by {self.stopped_by} at step {self.step}; run it again to go on"
                    )
        # Snakemake deletes a declared output of a job that was killed; the checkpoint still has its rows.
        history.write()

    def train_step(self) -> None:
        """One optimizer step. Its loss stays on the device."""
        settings, step = self.settings, self.step
        generator = torch.Generator().manual_seed(_step_seed(self.spec.seed, step, "corruption"))
        torch.manual_seed(_step_seed(self.spec.seed, step, "dropout"))
        set_learning_rate(self.optimizer, settings, step, learning_rate_factor(settings, step))

        noise: Noise = "generator" if step >= self.joint_from else "unigram"
        first = step * settings.gradient_accumulation
        parts = [self.batches.draw(first + part, generator) for part in range(settings.gradient_accumulation)]
        totals = None  # a single batch is divided by its own, which no GPU need know on the host
        if len(parts) > 1:
            totals = Totals(*map(sum, zip(*(self.objective.totals(*part[:3]) for part in parts))))
        loss = mlm = rtd = torch.zeros((), device=self.device)
        for part in parts:
            with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
                result = self.objective(self.pair, *part.to(self.device), noise=noise, totals=totals)
            result.loss.backward()  # type: ignore[no-untyped-call]
            loss, rtd = loss + result.loss.detach(), rtd + result.rtd_loss
            mlm = mlm if result.mlm_loss is None else mlm + result.mlm_loss
        self.losses = mlm if noise == "generator" else None, rtd

        norm = torch.nn.utils.clip_grad_norm_(self.pair.parameters(), settings.clip_norm)
        self.readings.add(step + 1, loss, norm)
        if READ_EVERY[self.device.type] == 1:
            self._read_losses()  # before the weights take a gradient that is not finite
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def finish(self) -> RunRecord:
        """Write the networks, then the run record, then drop the checkpoints."""
        folder, settings = self.record_path.parent, self.settings
        for network, save in (("discriminator", save_discriminator), ("generator", save_generator)):
            with staged_folder(folder / network) as staging:
                save(staging, self.pair)
                copy_tokenizer(self.tokenizer.parent, staging, settings.discriminator.max_positions)
        networks = ["discriminator", "generator", *map(snapshot_in, settings.snapshots)]
        tokens = settings.steps * settings.batch_size * settings.sequence_length
        record = self._record(
            metrics={
                **{name: value for name, value in self.rows[-1].items() if _is_metric(name, value)},
                "tokens_per_second": tokens / self.train_seconds,
                "real_token_fraction": self.batches.batches.real_token_fraction,
            },
            files={
                path.relative_to(folder).as_posix(): sha256(path)
                for network in networks
                for path in sorted((folder / network).iterdir())
            },
            notes=[*self.notes, *findings(self.rows, settings.steps)],
            cost=self.meter.cost(
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
        keep_results(self.record_path)
        self.checkpoints.remove()
        return record

    def fail(self, reason: str) -> RunRecord:
        """Write the record of a run that came to nothing; its checkpoints and its curve stay."""
        History(self.record_path.parent / "evaluation.csv", self.rows).write()
        record = self._record(status="failed", reason=reason, notes=self.notes, cost=self.meter.cost())
        return write_record(self.record_path, record)

    def _record(self, **known: Any) -> RunRecord:
        return RunRecord(
            stage="pretrain",
            model=self.spec.model,
            seed=self.spec.seed,
            recipe=self.settings.recipe,
            extensions=self.extensions,
            provenance=self.meter.provenance(),
            spec=self.spec.model_dump(mode="json"),
            **known,
        )

    def _evaluated(self) -> dict[str, Any]:
        settings, reading = self.settings, self.readings.latest
        found = self.evaluate(self.pair)
        spikes, self.spikes.count = self.spikes.count, 0
        return {
            "step": self.step,
            "tokens": self.step * settings.batch_size * settings.sequence_length,
            "seconds": round(self.train_seconds, 3),
            "phase": "unigram_warmup" if self.step < self.joint_from else "joint",
            "train_loss": reading.loss,
            "gradient_norm": reading.gradient_norm,
            "learning_rate": settings.learning_rate * learning_rate_factor(settings, max(0, self.step - 1)),
            "loss_spikes": spikes,
            **found,
        }

    def _warn(self) -> None:
        for finding in findings(self.rows, self.settings.steps):
            print_warning(f"{self.label}: {finding}")

    def _shown_losses(self) -> str:
        """The two losses of the latest step: nobody can read their weighted sum."""
        assert self.losses is not None
        mlm, rtd = self.losses
        return f"RTD {float(rtd):.2f}" if mlm is None else f"MLM {float(mlm):.2f}, RTD {float(rtd):.2f}"

    def _read_losses(self) -> None:
        try:
            read = self.readings.read()
        except RunFailed as error:
            raise self._diverged(str(error)) from None
        for reading in read:
            if reading.step == self.joint_from + 1:
                self.spikes.recent.clear()  # from here on the loss is another
            self.spikes.add(reading.loss)

    def _diverged(self, what: str) -> RunFailed:
        last = self.checkpoints.newest()
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint was written yet"
        return RunFailed(
            f"{what}; {kept}. Lower learning_rate or clip_norm of this pretraining, or raise warmup_steps: with other "
            "settings it starts anew, and the checkpoint stays"
        )

    def _keep_discriminator(self) -> None:
        """A run that is resumed before this step writes the same files again."""
        share = self.settings.snapshot_steps[self.step]
        with staged_folder(self.record_path.parent / snapshot_in(share)) as staging:
            save_discriminator(staging, self.pair)
            copy_tokenizer(self.tokenizer.parent, staging, self.settings.discriminator.max_positions)

    def _save(self) -> None:
        if not all(bool(parameter.isfinite().all()) for parameter in self.pair.parameters()):
            raise self._diverged(f"weights are not finite at step {self.step}")
        state = {
            "pair": self.pair.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rows": self.rows,
            "spikes": {"recent": list(self.spikes.recent), "count": self.spikes.count},
            "train_seconds": self.train_seconds,
            "wall_seconds": self.meter.wall_seconds,
            "cpu_seconds": self.meter.cpu_seconds,
        }
        self.checkpoints.save(self.step, state)

    @contextmanager
    def _told_to_stop(self) -> Iterator[None]:
        """Note the signals that ask to stop. An ignored one stays so: under `nohup` a run outlives its terminal."""
        signals = [getattr(signal, name) for name in STOPPED_BY if hasattr(signal, name)]
        previous = {which: signal.getsignal(which) for which in signals}
        heard = [which for which, handler in previous.items() if handler is not signal.SIG_IGN]
        for which in heard:
            signal.signal(which, self._stop)
        try:
            yield
        finally:
            for which in heard:
                signal.signal(which, previous[which])

    def _stop(self, which: int, _frame: object) -> None:
        self.stopped_by = signal.Signals(which).name


def _is_metric(name: str, value: object) -> bool:
    return isinstance(value, float) and name not in ("seconds", "gradient_norm", "learning_rate")


def _step_seed(seed: int, step: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed} {step} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _use_bf16(settings: Pretraining, device: torch.device) -> bool:
    """bf16 on a GPU that has it; on a CPU only when asked for, since most emulate it, several times slower."""
    if settings.precision == "auto":
        return has_bf16(device)
    if settings.precision == "bf16" and device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        raise UserError("precision: bf16 on a CPU without bf16 instructions is slower than fp32; use auto or fp32")
    return settings.precision == "bf16"
