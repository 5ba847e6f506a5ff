"""In-context evaluation: a decoder answers behind solved examples, and nothing is trained (Brown et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from electralab.artifacts import Left, read_manifest, weights_in
from electralab.config import InContext
from electralab.data.example import Example
from electralab.data.tasks import TaskData
from electralab.errors import RunFailed, Unsuitable
from electralab.files import files_checksum
from electralab.finetune.decoder.model import (
    EncodedPrompts,
    VerbalizedDecoder,
    check_positions,
    label_logits,
    left_padded_positions,
    pack_prompts,
    shortened_prompt,
)
from electralab.finetune.decoder.prompts import PromptTokenizer, Template, template_of
from electralab.finetune.encoder.start import checked_weights
from electralab.finetune.evaluation import MISMATCHED
from electralab.finetune.examples import Integers, evaluation_batches, sample_examples
from electralab.finetune.metrics import Floats
from electralab.methods.base_models import count_positions, load_causal
from electralab.methods.job import Job, Outcome
from electralab.methods.sizes import parameter_count, weights_bytes
from electralab.progress import Progress

SCORED_SAMPLE = 0  # the same rows whatever the run's seed, so that runs can be compared row by row
BATCH_SIZE = 16
BETWEEN = "\n\n"  # solved examples
_SHOTS = 4  # a random stream of the seed; examples.py has the others


def run(job: Job) -> Outcome:
    """Ask a decoder, as it was pretrained or as the link before left it.

    Raises:
        Unsuitable: the model is no decoder, or cannot be asked in this way.
    """
    torch.set_num_threads(job.threads)
    method, spec, device = job.spec.settings, job.spec, job.device
    assert isinstance(method, InContext) and job.start is not None, "refused by the configuration"
    network, folder, source = _pretrained(job, method) if len(spec.chain) == 1 else _tuned(job, method)
    tokenizer = PromptTokenizer(folder)
    template = template_of(job.data, method.answers)
    check_positions(folder, method.max_length, spec.method)
    data = sample_scored(job.data, method.max_validation_rows, SCORED_SAMPLE)
    reader = InContextReader(
        VerbalizedDecoder(network, tokenizer.label_ids(template)),
        tokenizer,
        template,
        draw_shots(job.data, method.shots, spec.seed),
        method.max_length,
        device,
        spec.title,
    )
    parameters, notes = parameter_count(network), list[str]()

    def answer(examples: list[Example]) -> Floats:
        answers = reader.answer(examples)
        notes[:] = reader.notes()
        return answers

    return Outcome(
        answer=answer,
        scored=data,
        left=Left(form=None, reason="a prompt changes no weights"),
        metrics={"weights_bytes": weights_bytes(network)},
        parameters={"total": parameters, "trainable": 0},
        checksums={"tokenizer": tokenizer.checksum, "model": source},
        tokens=0,
        notes=notes,
        mnli_validation=method.mnli_validation,
    )


def _pretrained(job: Job, method: InContext) -> tuple[Any, Path, str]:
    """Network, folder and checksum of a decoder that nothing has tuned."""
    assert job.start is not None
    return load_causal(job.weights, method, job.device), job.weights, checked_weights(job.spec, job.weights, job.start)


def _tuned(job: Job, method: InContext) -> tuple[Any, Path, str]:
    """The same of what the link before left; an adapter is folded into its model."""
    assert job.start is not None
    manifest = read_manifest(job.start)
    if manifest.reads is None or manifest.reads.prompt is None:
        raise Unsuitable(f"{job.spec.title}: {manifest.method} left an encoder, and only a decoder can be asked")
    source = files_checksum(weights_in(job.start.parent))
    if manifest.form == "huggingface":
        return load_causal(job.start.parent, method, job.device), job.start.parent, source
    if method.storage != "fp32":
        raise Unsuitable(f"{job.spec.title}: storage {method.storage} is for a plain model: put merge before it")
    from electralab.methods.adapters.merging import merged  # imports PEFT
    from electralab.methods.opening import open_artifact

    _, opened = open_artifact(job.start, job.device)
    network = merged(cast(Any, opened.model))
    if network is None:
        raise Unsuitable(f"{job.spec.title}: {manifest.method} cannot be folded into its model, so it cannot be asked")
    network.register_forward_pre_hook(count_positions, with_kwargs=True)
    return network, opened.tokenizer, source


def draw_shots(data: TaskData, shots: int, seed: int) -> list[Example]:
    """Training rows to show solved, in an order drawn by seed: as many of every class, or one more of some.

    No row is shown whose text is also that of a row to be scored, and no text is shown twice.

    Raises:
        Unsuitable: a class has too few such rows.
    """
    shown = {(row.text, row.pair) for split in ("validation", MISMATCHED) for row in data.splits.get(split, [])}
    generator = np.random.default_rng((seed, _SHOTS))
    rows = iter([data.train[index] for index in generator.permutation(len(data.train))]) if shots else iter(())
    classes = len(data.labels)
    wanted = np.bincount(generator.permutation(classes)[np.arange(shots) % classes], minlength=classes)
    chosen: list[Example] = []
    while wanted.any():
        row = next(rows, None)
        if row is None:
            lacking = data.labels[int(wanted.argmax())]
            raise Unsuitable(
                f"task {data.name} has too few training rows of class {lacking!r} that are not also validation rows to "
                f"show {shots} solved examples: ask for fewer shots"
            )
        text = (row.text, row.pair)
        if row.label is not None and wanted[int(row.label)] and text not in shown:
            wanted[int(row.label)] -= 1
            shown.add(text)
            chosen.append(row)
    return [chosen[index] for index in generator.permutation(shots)]


def sample_scored(data: TaskData, rows: int | None, seed: int) -> TaskData:
    """The task with a seeded sample of its validation rows, and without the splits that are only answered."""
    if rows is None:
        return data
    scored = {split: data.splits[split] for split in ("validation", MISMATCHED) if split in data.splits}
    samples = {split: sample_examples(examples, rows, seed) for split, examples in scored.items()}
    return replace(data, splits={"train": data.train, **samples})


@dataclass
class InContextReader:
    """Answers rows behind the same solved examples.

    A prompt that is longer than `max_length` tokens loses its first solved examples; only if the question alone is
    longer, its texts lose their ends. The words of the template stay.
    """

    decoder: VerbalizedDecoder  # on `device`
    tokenizer: PromptTokenizer
    template: Template
    shots: list[Example]
    max_length: int
    device: str
    run: str  # names the run in progress and errors
    asked: int = field(default=0, init=False)
    fewer_shots: int = field(default=0, init=False)
    shortened: int = field(default=0, init=False)

    def answer(self, examples: list[Example]) -> Floats:
        """Log-probabilities of the classes, [N, classes]; those of the label words, made to sum to one.

        Raises:
            Unsuitable: the template alone is longer than `max_length`.
            RunFailed: the model answers with NaN or infinity.
        """
        self.decoder.eval()
        prompts = self.encode(examples)
        batches = evaluation_batches(np.arange(len(prompts)), prompts.lengths, BATCH_SIZE)
        answers = []
        with Progress(self.run, len(batches), unit="batch") as progress:
            for rows in batches:
                answers.append(self._answer_batch(prompts, rows))
                progress.update(len(answers))
        result = np.concatenate(answers)[np.argsort(np.concatenate(batches))]
        if not np.isfinite(result).all():
            raise RunFailed(f"{self.run}: the model answers with NaN or infinity: check that its weights are sound")
        return result

    def encode(self, examples: list[Example]) -> EncodedPrompts:
        """Solved examples and question of every row as ids."""
        before = "".join(self.template.solved(shot) + BETWEEN for shot in self.shots)
        prompts = self.tokenizer.encode([before + self.template.prompt(example) for example in examples])
        rows = [
            prompt if len(prompt) <= self.max_length else self._fitted(example)
            for example, prompt in zip(examples, prompts)
        ]
        self.asked += len(rows)
        return pack_prompts(rows, examples, self.tokenizer)

    def notes(self) -> list[str]:
        """What a reader of the record must know about the prompts so far."""
        notes = []
        if self.tokenizer.padded_with_eos:
            notes.append(
                "the model has no padding token: shorter prompts were filled up with its end-of-text token, masked"
            )
        if self.fewer_shots:
            notes.append(
                f"{self.fewer_shots} of {self.asked} prompts were longer than {self.max_length} tokens and show fewer "
                f"than {len(self.shots)} solved examples"
            )
        if self.shortened:
            notes.append(
                f"{self.shortened} of {self.asked} questions alone were longer than {self.max_length} tokens: their "
                "texts were cut"
            )
        return notes

    def _fitted(self, example: Example) -> list[int]:
        self.fewer_shots += bool(self.shots)
        question = self.template.prompt(example)
        for dropped in range(1, len(self.shots) + 1):
            kept = [self.template.solved(shot) for shot in self.shots[dropped:]]
            ids = self.tokenizer.encode([BETWEEN.join([*kept, question])])[0]
            if len(ids) <= self.max_length:
                return ids
        self.shortened += 1
        return shortened_prompt(example, self.template, self.tokenizer, self.max_length)

    def _answer_batch(self, prompts: EncodedPrompts, rows: Integers) -> Floats:
        """What all prompts of a batch begin with, their solved examples above all, is read once for all of them."""
        start = prompts.shared_start(rows)
        with torch.inference_mode():
            if start and len(rows) > 1:
                logits = self._behind_shared_start(prompts, rows, start)
            else:
                batch = prompts.batch(rows).to(self.device)
                logits = self.decoder(batch.input_ids, batch.attention_mask)
        log_probabilities: Floats = logits.double().log_softmax(dim=-1).cpu().numpy()
        return log_probabilities

    def _behind_shared_start(self, prompts: EncodedPrompts, rows: Integers, start: int) -> Tensor:
        first = prompts.offsets[rows[0]]
        shared = torch.from_numpy(prompts.tokens[first : first + start]).to(self.device)
        cache = self.decoder.model(shared[None], logits_to_keep=1, use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(rows))
        batch = prompts.batch(rows, start).to(self.device)
        own = torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask.long()
        mask = torch.cat([own.new_ones(len(rows), start), own], dim=1)
        output = self.decoder.model(
            input_ids=batch.input_ids,
            attention_mask=mask,
            position_ids=left_padded_positions(mask)[:, start:],
            past_key_values=cache,
            logits_to_keep=1,
            use_cache=True,
        )
        return label_logits(output, self.decoder.label_ids)
