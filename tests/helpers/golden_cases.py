"""The package as the golden tests reach it: short runs in, numbers out.

Only this file knows modules of the package. When they move, it follows, and the numbers beside it stay.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from finetune_task import write_task, write_tokenizer
from safetensors.torch import load_file, save_file
from tiny_decoder import write_decoder
from tokens_corpus import write_corpus
from transformers import ElectraConfig, ElectraModel

from electralab.config import LocalModel, Pretraining, TfidfBaseline, TrainedTokenizer
from electralab.data.models import fetch_model
from electralab.finetune.objective import Classification, Regression
from electralab.methods.run import Inputs as RunInputs
from electralab.methods.run import run_job
from electralab.names import NO_MODEL
from electralab.pretrain.inputs import Inputs as PretrainingInputs
from electralab.pretrain.trainer import run_pretraining
from electralab.records import RunRecord
from electralab.specs import PretrainSpec, RunSpec
from electralab.tokens.cache import build_cache
from electralab.tokens.tokenizer import build_tokenizer

Numbers = dict[tuple[str, int], float]  # (quantity, step) -> value; the step is -1 for what a run ends with

AT_THE_END = -1
ROWS = 20  # whose probabilities are kept
WORDS = "the a old new river house king ship sailed burned stood under over near quickly never again".split()
# What a run costs is not what it computes.
COSTS = ("second", "merge_error", "adapter_bytes", "bytes.")


@dataclass(frozen=True)
class Inputs:
    """What every run starts from; made on the spot, without a network."""

    tokens: Path
    pretraining_tokenizer: Path
    tasks: dict[str, Path]
    models: dict[str, Path]  # manifests, by kind
    tokenizers: dict[str, Path]


def make_inputs(folder: Path) -> Inputs:
    """A corpus of random sentences, two tasks, an ELECTRA and an OPT."""
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS, k=60)) + " ." for _ in range(340)]
    corpus = write_corpus(folder / "corpus", [texts[:300]], [texts[300:]])
    tokenizer, tokens = folder / "pretraining_tokenizer" / "tokenizer.json", folder / "tokens" / "manifest.json"
    spec = TrainedTokenizer(kind="wordpiece", corpus="c", vocab_size=120)
    build_tokenizer(spec, tokenizer, folder / "downloads", corpus)
    build_cache(corpus, tokenizer, tokens, workers=1)

    sources = {"encoder": write_encoder(folder / "encoder"), "decoder": write_decoder(folder / "decoder", "opt")}
    models = {}
    for kind, source in sources.items():
        _redraw(source / "model.safetensors")
        models[kind] = folder / f"{kind}_model" / "manifest.json"
        fetch_model("toy", LocalModel(path=str(source)), models[kind], folder / "downloads")
    tasks = {labels: write_task(folder / labels, labels) for labels in ("words", "scores")}
    tokenizers = {kind: source / "tokenizer.json" for kind, source in sources.items()}
    return Inputs(tokens, tokenizer, tasks, models, tokenizers)


def pretrain(folder: Path, inputs: Inputs, settings: dict[str, Any]) -> Numbers:
    """One pretraining: every column of its evaluations, the loss of the last step before each among them."""
    spec = PretrainSpec(
        model="m-g50",
        generator_size=0.5,
        seed=3,
        settings=Pretraining.model_validate({"corpus": "c", "tokenizer": "t", **settings}),
    )
    files = PretrainingInputs(inputs.tokens, inputs.pretraining_tokenizer)
    record = run_pretraining(spec, files, folder / "run.json", 1, "cpu")
    numbers: Numbers = {}
    with (folder / "evaluation.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            step = int(row["step"])
            for name, value in row.items():
                if name not in ("step", "phase", "seconds") and not math.isnan(float(value)):
                    numbers[name, step] = float(value)
    return numbers | _of_record(record)


def finetune(
    folder: Path, inputs: Inputs, settings: dict[str, Any], model: str = "encoder", task: str = "words"
) -> Numbers:
    """One fine-tuning, or an in-context evaluation: the loss of every step, metrics, first rows' probabilities."""
    spec = RunSpec.model_validate(
        {
            "model": "toy",
            "task": task,
            "chain": ["method"],
            "seed": 1,
            "settings": settings,
            "downloaded": LocalModel(path=str(inputs.models[model].parent)),
            "extensions": [],
            "pretraining_recipe": None,
        }
    )
    given = RunInputs(inputs.tasks[task], inputs.models[model], inputs.tokenizers[model])
    with _recorded_losses() as losses:
        record = run_job(spec, folder / "run.json", given)
    numbers: Numbers = {("loss", step): loss for step, loss in enumerate(losses, start=1)}
    return numbers | _of_record(record) | _of_predictions(folder / "predictions.csv")


def baseline(folder: Path, inputs: Inputs) -> Numbers:
    """The baseline that counts words."""
    settings = TfidfBaseline(max_train_rows=96)
    spec = RunSpec(model=NO_MODEL, task="words", chain=["tfidf"], seed=0, settings=settings)
    record = run_job(spec, folder / "run.json", RunInputs(inputs.tasks["words"]))
    return _of_record(record) | _of_predictions(folder / "predictions.csv")


@contextmanager
def _recorded_losses() -> Iterator[list[float]]:
    """Every value that a loss has inside the block."""
    losses: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        for objective in (Classification, Regression):
            patch.setattr(objective, "loss", _recording(objective.loss, losses))
        yield losses


def _recording(loss: Any, losses: list[float]) -> Any:
    def recorded(*arguments: Any) -> torch.Tensor:
        value: torch.Tensor = loss(*arguments)
        losses.append(float(value.detach()))
        return value

    return recorded


def _of_record(record: RunRecord) -> Numbers:
    kept = {name: value for name, value in record.metrics.items() if not any(cost in name for cost in COSTS)}
    kept |= {f"parameters.{name}": count for name, count in record.cost.parameters.items()}
    kept |= {f"flops.{name}": count for name, count in record.cost.flops.items()}
    if record.cost.tokens is not None:
        kept["tokens_read"] = record.cost.tokens
    return {(name, AT_THE_END): float(value) for name, value in kept.items()}


def _of_predictions(path: Path) -> Numbers:
    """Probabilities of class 1, or the scores of a regression."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))[:ROWS]
    column = "score_yes" if "score_yes" in rows[0] else "prediction"
    return {("answer_to_row", number): float(row[column]) for number, row in enumerate(rows)}


def write_encoder(folder: Path) -> Path:
    write_tokenizer(folder)
    config = ElectraConfig(
        vocab_size=35,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    ElectraModel(config).save_pretrained(folder)
    return folder


def _redraw(path: Path) -> None:
    """Weights of our own drawing: uniform, whose bits are the same on every processor, in the order of their names."""
    state, generator = load_file(path), torch.Generator().manual_seed(0)
    for name in sorted(state):
        if state[name].ndim > 1:
            width = 0.5 if "embed" in name and "project" not in name else math.sqrt(3 / state[name].shape[1])
            state[name] = (torch.rand(state[name].shape, generator=generator) * 2 - 1) * width
    save_file(state, path, metadata={"format": "pt"})
