"""Names and paths: the only module that writes or takes apart `tiny-g12.5-at50`, `full+half` and `artifacts/...`.

Arguments may be Snakemake wildcards (`"{model}"`): a path is then the pattern of all such files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

NO_MODEL = "no_model"  # the model of methods that need none
EPOCH_SCORE = "score_after_epoch_"  # and its number: a metric of a trial, by which searches prune
MANIFEST = "manifest.json"  # of what a run left, in its folder
MANIFEST_SCHEMA: Final = 1
CHECKSUMS = "artifacts/checksums.json"  # of large files of this machine that are read


class ModelName(NamedTuple):
    """A model that is pretrained here: its pretraining, its generator size and how much was done, in percent."""

    pretraining: str
    size: float
    done: float


def model_name(pretraining: str, generator_size: float, snapshot: float | None = None) -> str:
    """`tiny`, 0.125 -> `tiny-g12.5`; after half of its steps `tiny-g12.5-at50`."""
    name = f"{pretraining}-g{generator_size * 100:g}"
    return name if snapshot is None else f"{name}-at{snapshot * 100:g}"


def parse_model(model: str) -> ModelName:
    """Take apart what `model_name` wrote.

    Raises:
        ValueError: it did not write this.
    """
    pretraining, _, rest = model.rpartition("-g")
    size, _, done = rest.partition("-at")
    return ModelName(pretraining, float(size), float(done or 100))


def whole_run(model: str) -> str:
    """The pretrained model that a snapshot belongs to: `tiny-g25-at50` -> `tiny-g25`."""
    return model.partition("-at")[0]


def pretraining_name(model: str) -> str:
    """The pretraining of a model or of all its sizes: `tiny-g25-at50` -> `tiny`."""
    return model.partition("-")[0]


def chain_name(links: Sequence[str]) -> str:
    """`full`, `half` -> `full+half`."""
    return "+".join(links)


def chain_links(chain: str) -> list[str]:
    """`full+half` -> `full`, `half`."""
    return chain.split("+")


def corpus_manifest(corpus: str) -> str:
    """Where a corpus lives."""
    return f"artifacts/corpora/{corpus}/manifest.json"


def task_manifest(task: str) -> str:
    """Where a task lives."""
    return f"artifacts/tasks/{task}/manifest.json"


def tokenizer_file(tokenizer: str) -> str:
    """The file that a tokenizer's folder is known by."""
    return f"artifacts/tokenizers/{tokenizer}/tokenizer.json"


def tokens_manifest(corpus: str, tokenizer: str) -> str:
    """Where a corpus lives as token ids."""
    return f"artifacts/tokens/{corpus}/{tokenizer}/manifest.json"


def downloaded_folder(model: str) -> str:
    """Where a model lives that came with its weights."""
    return f"artifacts/models/downloaded/{model}"


def pretraining_folder(model: str, seed: int | str) -> str:
    """Where a pretraining keeps its networks, its curve and its record."""
    return f"artifacts/models/pretrained/{model}/seed-{seed}"


def run_name(model: str, task: str, chain: str, seed: int | str) -> str:
    """A run on a task: `tiny-g25/boolq/full+half/seed-0`."""
    return f"{model}/{task}/{chain}/seed-{seed}"


def run_folder(model: str, task: str, chain: str, seed: int | str) -> str:
    """Where a run on a task keeps its record, its predictions and its artifact."""
    return f"artifacts/runs/{run_name(model, task, chain, seed)}"


def run_log(model: str, task: str, chain: str, seed: int | str) -> str:
    """Where a run on a task logs, without what the file ends with."""
    return f"logs/runs/{model}-{task}-{chain}-seed-{seed}"


def retention_folder(retention: str, of: str) -> str:
    """Where a measurement of retention keeps its record: `of` is a pretrained model or a run (`run_name`)."""
    return f"artifacts/retention/{retention}/{of}"


def snapshot_in(share: float) -> str:
    """The discriminator after a share of the steps, in the folder of its pretraining."""
    return f"snapshots/{share * 100:g}"


def record_in(folder: str) -> str:
    """The record of a pretraining or a run."""
    return f"{folder}/run.json"


def artifact_in(folder: str) -> str:
    """The manifest of what a run left."""
    return f"{folder}/model/manifest.json"


def benchmark_record(benchmark: str) -> str:
    """What a benchmark writes."""
    return f"artifacts/benchmarks/{benchmark}/benchmark.json"


def parse_measured(of: str) -> tuple[str, tuple[str, str, int] | None]:
    """Take apart what a retention is measured of: the model, and task, chain and seed of a run.

    Raises:
        ValueError: it is neither a model nor a run.
    """
    model, *run = of.split("/")
    if not run:
        return model, None
    task, chain, seed = run
    return model, (task, chain, int(seed.removeprefix("seed-")))


def search_result(search: str) -> str:
    """What a search writes last."""
    return f"artifacts/searches/{search}/search.json"


def results_folder(experiment: str) -> str:
    """Where everything lies that a reader sees."""
    return f"results/{experiment}"
