"""Fine-tuning side by side: ElectraLab, the same loop padded to 128, and the stock `transformers.Trainer`.

    python benchmarks/finetuning_batches.py --check
    python benchmarks/finetuning_batches.py --glue data/glue --tokenizer artifacts/tokenizers/NAME/tokenizer.json

One ELECTRA-Small with random weights and Hugging Face's head, batches of 32, dropout 0.1, one process. ElectraLab and
"padded to 128" are both `train_model`, which differ in the batches alone; the Trainer has its own optimizer,
loader and `DataCollatorWithPadding`, over rows that are tokenised already. Before anything is timed, the logits of both
networks are compared. Rounds are interleaved (A B C A B C ...), so that another load on the machine hits all variants
alike; rounds have more steps of ElectraLab, whose steps differ most in cost, and all numbers are per step.

Lengths are those of a GLUE folder, or drawn from quantiles of the training rows in BERT's word pieces, with [CLS] and
[SEP] and at most 128: all 67,349 rows of SST-2 (mean 13.3) and 8,999 of MNLI (mean 40.2).

`--accuracy FOLDER --model artifacts/models/downloaded/NAME` fine-tunes that model on a sample of the folder's SST-2
with both loops instead, and compares validation accuracy over seeds.

The Trainer needs `accelerate`, which is not a dependency of its own; install it with `pip install accelerate`.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.metadata
import io
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models

from electralab.config import FullFinetuning
from electralab.data.example import Example
from electralab.electra.convert import encoder_state, huggingface_config, load_encoder
from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.finetune.encoder.classifier import Classifier, with_dropout
from electralab.finetune.examples import EncodedExamples, Integers, LabelledBatch, encode_examples
from electralab.finetune.loop import predict, train_model
from electralab.finetune.objective import Classification
from electralab.speed.onednn import onednn_is_faster
from electralab.tokens.tokenizer import load_tokenizer

PAD, CLS, SEP = 0, 101, 102
LONGEST = 128
BATCH_SIZE = 32
STEPS = {"electralab": 50, "padded to 128": 3, "Trainer": 15}
ELECTRA_SMALL = ElectraConfig(30522, 128, 256, 12, 4, 1024)
ACCURACY_SETTINGS = FullFinetuning(recipe="huggingface", learning_rates=[1e-4], warmup_fraction=0.1)
OBJECTIVE = Classification(2)

# Every twentieth part of the rows of the training split, from the shortest to the longest.
QUANTILES = {
    "SST-2": [3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 11, 13, 14, 16, 18, 20, 23, 27, 33, 66],
    "MNLI": [5, 16, 19, 22, 24, 27, 29, 31, 33, 35, 37, 40, 42, 45, 47, 50, 54, 58, 64, 73, 128],
}
COLUMNS = {"SST-2": ("sentence", None), "MNLI": ("premise", "hypothesis")}
FOLDERS = {"SST-2": ("SST-2",), "MNLI": ("MNLI", "MNLI-sample")}
TARGETS = {"SST-2": {"padded to 128": 8.0, "Trainer": 1.5}, "MNLI": {"padded to 128": 2.5}}


@dataclass(frozen=True)
class Padded(EncodedExamples):
    """The same rows, every batch padded to 128."""

    def batch(self, rows: Integers) -> LabelledBatch:
        ids, mask, types, labels = super().batch(rows)
        size = (len(rows), LONGEST)
        wide_ids, wide_mask, wide_types = torch.full(size, PAD), torch.zeros(size, dtype=torch.bool), None
        wide_ids[:, : ids.shape[1]] = ids
        wide_mask[:, : ids.shape[1]] = True if mask is None else mask
        if types is not None:
            wide_types = torch.zeros(size, dtype=torch.int64)
            wide_types[:, : ids.shape[1]] = types
        return LabelledBatch(wide_ids, wide_mask, wide_types, labels)


class Clock(transformers.TrainerCallback):
    """Seconds of the training itself, without the Trainer's set-up."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.process_time(), time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds = time.process_time() - self.began[0], time.perf_counter() - self.began[1]


def random_rows(task: str) -> EncodedExamples:
    """8,000 rows of random tokens with lengths like the task's."""
    random = np.random.default_rng(0)
    places = np.linspace(0, 1, len(QUANTILES[task]))
    lengths = np.interp(random.random(8000), places, QUANTILES[task]).round().astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = random.integers(1000, ELECTRA_SMALL.vocab_size, offsets[-1])
    tokens[offsets[:-1]], tokens[offsets[1:] - 1] = CLS, SEP
    first = lengths if COLUMNS[task][1] is None else np.maximum(lengths * 2 // 3, 2)
    return EncodedExamples(tokens, offsets, first, random.integers(0, 2, 8000), PAD)


def real_rows(folder: Path, task: str, split: str, tokenizer: Path, rows: int | None = None) -> EncodedExamples:
    """Rows of a GLUE task; labels other than 0 and 1 become 0."""
    path = next(folder / name / f"{split}.tsv" for name in FOLDERS[task] if (folder / name).exists())
    text, pair = COLUMNS[task]
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if rows is not None:
        lines = [lines[index] for index in np.random.default_rng(0).permutation(len(lines))[:rows]]
    examples = [
        Example(str(number), line[text], line[pair] if pair else None, int(line["label"] == "1"))
        for number, line in enumerate(lines)
    ]
    return encode_examples(examples, load_tokenizer(tokenizer), LONGEST)


def random_encoder(seed: int) -> Encoder:
    torch.manual_seed(seed)
    encoder = Encoder(ELECTRA_SMALL)
    for parameter in encoder.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=ELECTRA_SMALL.initializer_range)
    return encoder


def make_models(encoder: Encoder, seed: int) -> tuple[Classifier, Any]:
    """Our classifier and Hugging Face's, with the same weights."""
    copied = with_dropout(encoder, encoder.config.hidden_dropout)
    torch.manual_seed(seed)
    ours = Classifier(copied, 2, "cls", encoder.config.hidden_dropout, "huggingface")
    config = transformers.ElectraConfig(**huggingface_config(encoder.config, "ElectraForSequenceClassification"))
    theirs = transformers.ElectraForSequenceClassification(config)
    head = {f"classifier.{name}": weight for name, weight in ours.head.state_dict().items()}
    theirs.load_state_dict(encoder_state(ours.encoder) | head)
    return ours, theirs


def check_equality(examples: EncodedExamples, tolerance: float = 1e-5) -> None:
    ours, theirs = make_models(random_encoder(1), seed=1)
    ids, mask, types, _ = examples.batch(np.arange(BATCH_SIZE))
    with torch.no_grad():
        difference = ours.eval()(ids, mask, types) - theirs.eval()(ids, mask, token_type_ids=types).logits
    worst = float(difference.abs().max())
    print(f"equality with Hugging Face: largest difference of logits {worst:.1e}")
    if not worst <= tolerance:
        sys.exit(f"FAILED: the difference is above {tolerance:g}, so the variants do not compute the same thing")


def trainer_rows(examples: EncodedExamples, rows: Integers) -> list[dict[str, Any]]:
    """Rows as a tokenised data set holds them."""
    result = []
    for row in rows:
        start, end = examples.offsets[row], examples.offsets[row + 1]
        first = int(examples.first_lengths[row])
        result.append(
            {
                "input_ids": examples.tokens[start:end].tolist(),
                "token_type_ids": [0] * first + [1] * int(end - start - first),
                "attention_mask": [1] * int(end - start),
                "label": int(examples.labels[row]),
            }
        )
    return result


def make_trainer(model: Any, rows: list[dict[str, Any]], folder: str, **options: Any) -> tuple[Any, Clock]:
    """The Trainer as `run_glue.py` sets it up with dynamic padding, without logs and checkpoints."""
    vocabulary = {"[PAD]": PAD, "[UNK]": 1}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")), pad_token="[PAD]"
    )
    arguments = transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=BATCH_SIZE,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        **{"num_train_epochs": 1, "learning_rate": 5e-5, **options},
    )
    clock, collator = Clock(), transformers.DataCollatorWithPadding(tokenizer)
    trainer = transformers.Trainer(model, arguments, collator, train_dataset=rows, callbacks=[clock])
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer, clock


def train_ours(classifier: Classifier, examples: EncodedExamples, rows: Integers, options: dict[str, Any]) -> None:
    settings = FullFinetuning(**options)
    with contextlib.redirect_stderr(io.StringIO()):
        rate = settings.learning_rates[0]
        train_model(classifier, OBJECTIVE, examples, rows, settings, rate, 0, "cpu", "benchmark")


def time_rounds(examples: EncodedExamples, variants: list[str], rounds: int) -> dict[str, Any]:
    """Seconds per step of every variant: {"cpu": {variant: [...]}, "wall": {variant: [...]}}."""
    seconds: dict[str, Any] = {clock: {name: [] for name in variants} for clock in ("cpu", "wall")}
    ours, theirs = make_models(random_encoder(0), seed=0)
    padded = Padded(**vars(examples))
    random = np.random.default_rng(1)
    options = {"recipe": "huggingface", "epochs": 1, "batch_size": BATCH_SIZE}

    def timed(call: Callable[[], None]) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        return time.process_time() - cpu, time.perf_counter() - wall

    with tempfile.TemporaryDirectory() as folder:
        for index in range(-1, rounds):  # round -1 warms up
            drawn = random.permutation(len(examples))
            for name in variants:
                steps = STEPS[name] if index >= 0 else 3
                rows = drawn[: steps * BATCH_SIZE]
                if name == "Trainer":
                    trainer, clock = make_trainer(theirs, trainer_rows(examples, rows), folder)
                    trainer.train()
                    measured = clock.seconds
                else:
                    source = examples if name == "electralab" else padded
                    measured = timed(partial(train_ours, ours, source, rows, options))
                if index >= 0:
                    for clock_name, value in zip(("cpu", "wall"), measured):
                        seconds[clock_name][name].append(value / steps)
    return seconds


def report(seconds: dict[str, Any], clock: str) -> dict[str, float]:
    """Print the milliseconds and the ratios to ElectraLab; return each peer's median ratio."""
    ratios = {}
    print(f"{clock} ms per step {'min':>10} {'median':>8} {'IQR':>8}   speed-up of ElectraLab: median (quartiles)")
    for name, values in seconds[clock].items():
        low, middle, high = statistics.quantiles(values, n=4)
        line = f"  {name:<18} {min(values) * 1e3:>10.1f} {middle * 1e3:>8.1f} {(high - low) * 1e3:>8.1f}"
        if name != "electralab":
            by_round = [theirs / ours for theirs, ours in zip(values, seconds[clock]["electralab"])]
            first, ratios[name], third = statistics.quantiles(by_round, n=4)
            line += f"   {ratios[name]:.2f}x ({first:.2f}-{third:.2f})"
        print(line)
    return ratios


def compare_accuracy(folder: Path, model: Path, seeds: int, rows: int) -> None:
    """Train with both loops; exit 1 when their accuracies differ by more than the noise of the seeds allows."""
    encoder, tokenizer = load_encoder(model)[0], model / "tokenizer.json"
    train = real_rows(folder, "SST-2", "train", tokenizer, rows)
    validation = real_rows(folder, "SST-2", "validation", tokenizer)
    settings = ACCURACY_SETTINGS
    accuracies: dict[str, list[float]] = {"electralab": [], "Trainer": []}
    for seed in range(seeds):
        ours, theirs = make_models(encoder, seed)
        everything = np.arange(len(train))
        torch.manual_seed(seed)
        with contextlib.redirect_stderr(io.StringIO()):
            train_model(
                ours, OBJECTIVE, train, everything, settings, settings.learning_rates[0], seed, "cpu", "benchmark"
            )
        with tempfile.TemporaryDirectory() as output:
            trainer, _ = make_trainer(
                theirs,
                trainer_rows(train, everything),
                output,
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rates[0],
                warmup_steps=int(settings.warmup_fraction * settings.epochs * -(-len(train) // BATCH_SIZE)),
                seed=seed,
            )
            trainer.train()
            accuracies["Trainer"].append(trainer_accuracy(trainer, validation))
        answers = predict(ours, OBJECTIVE, validation, np.arange(len(validation)), "cpu", "benchmark")
        accuracies["electralab"].append(float((answers.argmax(axis=1) == validation.labels).mean()))
        print(f"seed {seed}: " + ", ".join(f"{name} {values[-1]:.4f}" for name, values in accuracies.items()))
    differences = [ours - theirs for ours, theirs in zip(accuracies["electralab"], accuracies["Trainer"])]
    spread = statistics.stdev(accuracies["electralab"] + accuracies["Trainer"])
    error = spread * (2 / seeds) ** 0.5
    mean = statistics.mean(differences)
    print(f"difference {mean:+.4f}, standard error {error:.4f} (standard deviation between seeds {spread:.4f})")
    if abs(mean) > 2 * error:
        sys.exit("FAILED: the accuracies differ by more than two standard errors")


def trainer_accuracy(trainer: Any, examples: EncodedExamples) -> float:
    logits = trainer.predict(trainer_rows(examples, np.arange(len(examples)))).predictions
    return float((logits.argmax(axis=1) == examples.labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--glue", type=Path, help="take lengths and tokens from this GLUE folder; needs --tokenizer")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of BERT's word pieces")
    parser.add_argument("--accuracy", type=Path, metavar="FOLDER", help="compare accuracy on SST-2 of this GLUE folder")
    parser.add_argument("--model", type=Path, help="folder of the pretrained model of --accuracy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000, help="training rows of --accuracy")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit 1 when a speed-up in CPU time misses its target")
    arguments = parser.parse_args()
    if (arguments.glue and not arguments.tokenizer) or (arguments.accuracy and not arguments.model):
        parser.error("--glue needs --tokenizer, and --accuracy needs --model")
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()

    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "accelerate")}
    processor = torch.cpu.get_capabilities().get("cpu_name", platform.machine())
    products = "oneDNN" if onednn_is_faster() else "PyTorch's default"
    print(f"ELECTRA-Small, batches of {BATCH_SIZE}, {arguments.threads} thread(s), fp32, {processor}")
    print(f"ElectraLab's dense layers: {products}; the Trainer's are PyTorch's default")
    print(f"{versions}, load average {os.getloadavg()}")
    if arguments.accuracy:
        compare_accuracy(arguments.accuracy, arguments.model, arguments.seeds, arguments.rows)
        return

    missed = []
    for task in arguments.tasks:
        examples = (
            real_rows(arguments.glue, task, "train", arguments.tokenizer) if arguments.glue else random_rows(task)
        )
        print(f"\n{task}: {len(examples)} rows, {examples.lengths.mean():.1f} tokens on average")
        check_equality(examples)
        seconds = time_rounds(examples, ["electralab", *TARGETS[task]], arguments.rounds)
        report(seconds, "wall")
        ratios = report(seconds, "cpu")
        for name, target in TARGETS[task].items():
            if ratios[name] < target:
                missed.append(f"{task}, {name} {ratios[name]:.2f}x, target {target}x")
    print(f"load average after: {os.getloadavg()}")
    if arguments.check:
        if missed:
            sys.exit("FAILED: " + "; ".join(missed))
        print(f"all targets met: {TARGETS}")


if __name__ == "__main__":
    main()
