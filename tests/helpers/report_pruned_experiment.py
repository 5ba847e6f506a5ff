"""A constructed experiment of chains that prune, as their runs record it."""

from __future__ import annotations

from typing import Any

from report_compressed_experiment import FP32, sizes, stored_layers, write_artifact
from report_experiment import MINILM, Builder

from electralab.config import DynamicInt8, Half
from electralab.config.methods.pruning import Prune, PruneFull, Recover, Remove, RemoveHeads

TASK = "movie_sentiment"
WOBBLE = (0.0, 0.01, -0.008)
PARAMETERS = 22_713_986
ENCODER = 10_616_832  # weights of the encoder's dense layers


def zeros(share: float, compressed: float) -> dict[str, Any]:
    """Metrics of a model with this share of the encoder's weights at zero, and its file in MB after zlib."""
    count = round(share * ENCODER)
    metrics = {"sparsity.eligible": share, "sparsity.encoder": share, "sparsity.all": count / PARAMETERS}
    sized = {"weights_bytes": 4.0 * PARAMETERS, "bytes_compressed": compressed * 1e6, **FP32}
    return metrics | {"nonzero_parameters": float(PARAMETERS - count), "agreement_with_previous": 0.97} | sized


def removed(parameters: int, **known: float) -> dict[str, Any]:
    """Metrics of a model with this many parameters left and no zeros."""
    counted = {"removed_heads": 0.0, "removed_neurons": 0.0, "removed_layers": 0.0, "parameters_before": PARAMETERS}
    metrics = {"sparsity.eligible": 0.0, "sparsity.encoder": 0.0, "sparsity.all": 0.0} | counted
    metrics |= {"nonzero_parameters": float(parameters), "bytes_compressed": 3.7 * parameters}
    return metrics | {"known_cost": {"bytes_on_disk": 4 * parameters}, "agreement_with_previous": 0.9} | known


def pruned_study(builder: Builder, seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """MiniLM on one task: `full`, what prunes it, what follows that, and one model that is pruned first."""
    for seed in seeds:

        def run(method: str, score: float, settings: Any, **more: Any) -> Any:
            told = {"method": method, "settings": settings, "hub": MINILM, "recipe": "any"}
            return builder.finetune("minilm", TASK, seed, score + WOBBLE[seed], **(told | more))  # noqa: B023

        run("full", 0.82, None, **FP32)
        for percent, score in ((25, 0.82), (50, 0.818), (75, 0.60)):
            settings = Prune(sparsity=percent / 100)
            run(f"full+l1_{percent}", score, settings, **zeros(percent / 100, 85 - percent / 4))
        run("full+l1_75+recover", 0.80, Recover(), **zeros(0.75, 66.0))
        run("full+rows", 0.66, Prune(criterion="l2", structure="rows", sparsity=0.25), **zeros(0.25, 79.0))
        run("full+two_of_four", 0.819, Prune(criterion="sparsegpt", structure="2:4"), **zeros(0.5, 73.0))
        run("full+small", 0.80, Remove(layers=[3, 7], neurons=0.25), **removed(16_000_000, removed_layers=2.0))
        run("full+heads", 0.819, RemoveHeads(heads=0.25), **removed(20_000_000, removed_heads=18.0))
        first = PruneFull(among="global", parts="published", sparsity=0.25)
        run("published", 0.81, first, **(zeros(0.25, 80.0) | {"sparsity.encoder": 0.26}))
        both = zeros(0.5, 19.0) | sizes(11_720_448, 10_646_784)
        path = run("full+l1_50+int8", 0.815, DynamicInt8(), **(both | {"quantized_layers": 3.0, "logit_error": 0.07}))
        write_artifact(path, stored_layers(8, 8))
        run("full+half", 0.82, Half(), agreement_with_previous=0.999, **sizes(2 * 11_720_448, 2 * 10_646_784))
