"""A constructed experiment of methods that prune at several rates, before fine-tuning and after it."""

from __future__ import annotations

from typing import Any

from report_experiment import MINILM, Builder
from report_pruned_experiment import PARAMETERS, WOBBLE, removed, zeros

from electralab.config.methods.prune_as_you_tune import PruneAsYouTune
from electralab.config.methods.pruning import Prune, PruneFull, Recover, Remove, RemoveHeads

ROWS = ("layer", "rows", "l1"), ("layer", "rows", "l2"), ("layer", "columns", "l1"), ("layer", "columns", "l2")
SEVEN = (("global", "unstructured", "random"), ("global", "unstructured", "l1"), ("layer", "unstructured", "l1"), *ROWS)
RATES = {25: (0.81, 0.805), 35: (0.80, 0.80), 45: (0.76, 0.79), 55: (0.70, 0.77), 65: (0.62, 0.74)}


def rates_study(builder: Builder, task: str, seeds: tuple[int, ...] = (0, 1, 2), **known: Any) -> None:
    """Method 3 of efficient ELECTRA at five rates after fine-tuning and before it, and SparseGPT at two."""
    for seed in seeds:

        def run(method: str, score: float, settings: Any, **more: Any) -> None:
            told = {"method": method, "settings": settings, "hub": MINILM, "recipe": "any"} | known
            builder.finetune("minilm", task, seed, score + WOBBLE[seed], **told, **more)  # noqa: B023

        run("full", 0.82, None)
        for percent, (after, before) in RATES.items():
            told, share = {"sparsity": percent / 100, "parts": "published"}, zeros(percent / 100, 70.0)
            run(f"full+after{percent}", after, Prune(**told), **share)
            run(f"before{percent}", before, PruneFull(**told), **share)
        for percent, score in ((50, 0.815), (65, 0.79)):
            settings = Prune(criterion="sparsegpt", sparsity=percent / 100)
            run(f"full+sparsegpt{percent}", score, settings, **zeros(percent / 100, 70.0))


def whole_study(builder: Builder, task: str, **known: Any) -> None:
    """All that, the seven methods at 25 % both ways, what is trained again, and what is removed: some thirty chains."""
    rates_study(builder, task, **known)
    for seed in (0, 1, 2):

        def run(method: str, score: float, settings: Any, **more: Any) -> None:
            told = {"method": method, "settings": settings, "hub": MINILM, "recipe": "any"} | known
            builder.finetune("minilm", task, seed, score + WOBBLE[seed], **told, **more)  # noqa: B023

        for number, (among, structure, criterion) in enumerate(SEVEN, start=1):
            if number != 3:
                told = {"among": among, "structure": structure, "criterion": criterion, "parts": "published"}
                run(f"full+after{number}", 0.82 - 0.04 * number, Prune(sparsity=0.25, **told), **zeros(0.25, 80.0))
                run(f"before{number}", 0.81 - 0.01 * number, PruneFull(sparsity=0.25, **told), **zeros(0.25, 80.0))
        run("full+wanda", 0.80, Prune(criterion="wanda"), **zeros(0.5, 70.0))
        run("full+wanda+recover", 0.81, Recover(), **zeros(0.5, 70.0))
        run("full+two_of_four", 0.80, Prune(criterion="sparsegpt", structure="2:4"), **zeros(0.5, 70.0))
        run("tuned", 0.79, PruneAsYouTune(teacher=["full"]), **zeros(0.5, 70.0))
        run("tuned_alone", 0.78, PruneAsYouTune(), **zeros(0.5, 70.0))
        run("full+shorter", 0.74, Remove(layers=[3, 4]), **removed(PARAMETERS - 3_500_000))
        run("full+thinner", 0.77, Remove(neurons=0.25), **removed(PARAMETERS - 1_770_000))
        run("full+fewer_heads", 0.70, RemoveHeads(heads=0.25, neurons=0.25), **removed(PARAMETERS - 2_660_000))
