"""Compressed chains beside published ones in the table `vs_published`, on constructed runs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from report_compressed_experiment import sizes, stored_layers, write_artifact
from report_experiment import PUBLISHED, Builder
from report_made import Made

from electralab.config import DynamicInt8, Half, PruneAsYouTune, StaticInt8
from electralab.config.methods.pruning import Prune, PruneFull

ELECTRA = "google/electra-small-discriminator"
TINYBERT = "huawei-noah/TinyBERT_General_4L_312D"
MIB = 1.048576


def on_mrpc(builder: Builder, hub: str, chain: str, settings: Any, **known: Any) -> None:
    """Three seeds of full fine-tuning of 20 epochs, and of a link after it in 44.6 MB."""
    for seed in (0, 1, 2):
        whole = {"bytes_on_disk": 54_200_000, "parameters": {"total": 13_549_314, "trainable": 13_549_314}}
        told = {"glue": "mrpc", "hub": hub}
        builder.finetune("small", "mrpc", seed, 0.87, epochs=20.0, known_cost=whole, **told)
        small = told | sizes(16e6, 28e6, 0.4e6, 0.2e6) | {"f1": 0.87, "quantized_layers": 3.0} | known
        path = builder.finetune("small", "mrpc", seed, 0.83, method=chain, settings=settings, recipe="any", **small)
        write_artifact(path, stored_layers(8, 32))


def test_static_quantization_meets_ptsq_and_its_size(builder: Builder) -> None:
    on_mrpc(builder, ELECTRA, "full+ptsq", StaticInt8(scope="published"))
    made = Made(builder, "vs_published")
    accuracy = made.row(method="full+ptsq", metric="accuracy")
    assert (accuracy["published"], accuracy["system"]) == (0.833, "electra_pytorch_hpml")
    assert accuracy["comparable"] == "roughly" and "epochs" not in accuracy["why"] and "scope" not in accuracy["why"]
    assert made.row(method="full+ptsq", metric="f1")["published"] == 0.874
    size = made.row(method="full+ptsq", metric="parameter_memory")
    assert (size["ours"], size["published"]) == (pytest.approx(44.6), pytest.approx(39.4 * MIB))
    assert size["comparable"] == "no" and "without the int8 weights" in size["why"]
    assert made.row(method="full", metric="parameter_memory")["published"] == 54.2
    assert made.row(method="full", metric="parameter_memory")["ours"] == pytest.approx(4 * 13.549314)
    note = made.note("39.4 `MB`")
    assert "(41.3 MB)" in note and "54.74 (fp32), 21.19 (nf4) and 23.4 (int8) are 57.4, 22.2 and 24.5 MB" in note


def test_another_scope_is_a_reason(builder: Builder) -> None:
    on_mrpc(builder, ELECTRA, "full+ptsq", StaticInt8())
    row = Made(builder, "vs_published").row(method="full+ptsq", metric="accuracy")
    assert row["comparable"] == "no" and "scope all (theirs published)" in row["why"]


@pytest.mark.parametrize("settings", [DynamicInt8(), Half()])
def test_what_nobody_published_has_no_row(builder: Builder, settings: Any) -> None:
    on_mrpc(builder, ELECTRA, "full+other", settings)
    assert set(Made(builder, "vs_published").frame["method"]) == {"full"}


def test_published_sizes_are_converted_and_the_int8_total_is_right() -> None:
    """efficient ELECTRA: 12 first feed-forward layers and the head leave `.parameters()`; bytes by hand."""
    rows = pd.read_csv(PUBLISHED)
    memory = rows[(rows["system"] == "electra_pytorch_hpml") & (rows["metric"] == "parameter_memory")]
    weights, biases = 12 * 256 * 1024 + 256 * 256 + 256 * 2, 12 * 1024 + 256 + 2
    fp32 = 4 * 13_549_314 / 1e6
    left = fp32 - 4 * (weights + biases) / 1e6
    assert left / MIB == pytest.approx(39.4, abs=0.05)
    assert memory.loc[memory["storage"] == "int8", "value"].tolist() == pytest.approx([left] * 2, abs=0.05)
    assert left + (weights + 4 * biases) / 1e6 == pytest.approx(44.5, abs=0.1)
    tiny = rows[(rows["system"] == "tinybert_hpml") & (rows["metric"] == "size")].set_index("storage")
    assert tiny["value"].to_dict() == pytest.approx({"fp32": 54.74 * MIB, "nf4": 21.19 * MIB, "int8": 23.4 * MIB})
    assert 1 - tiny.loc["nf4", "value"] / tiny.loc["fp32", "value"] == pytest.approx(0.61, abs=0.005)


def pruned_first(builder: Builder, settings: Any, method: str = "pruned", score: float = 0.82) -> None:
    """Three seeds of a model that is pruned and then fine-tuned for 20 epochs on MRPC."""
    for seed in (0, 1, 2):
        told = {"glue": "mrpc", "hub": ELECTRA, "epochs": 20.0, "f1": 0.88, "recipe": "any"}
        builder.finetune("small", "mrpc", seed, score, method=method, settings=settings, **told)


@pytest.mark.parametrize(
    ("criterion", "structure", "among", "sparsity", "accuracy"),
    [
        ("random", "unstructured", "global", 0.25, 0.632),
        ("l1", "unstructured", "global", 0.25, 0.858),
        ("l1", "unstructured", "layer", 0.45, 0.8088),
        ("l1", "rows", "layer", 0.25, 0.654),
        ("l2", "columns", "layer", 0.25, 0.65),
    ],
)
def test_models_pruned_before_training_meet_the_published(
    builder: Builder, criterion: Any, structure: Any, among: Any, sparsity: float, accuracy: float
) -> None:
    told = {"criterion": criterion, "structure": structure, "among": among, "sparsity": sparsity}
    pruned_first(builder, PruneFull(**told, parts="published", epochs=20))
    made = Made(builder, "vs_published")
    row = made.row(method="pruned", metric="accuracy")
    assert (row["published"], row["comparable"]) == (accuracy, "roughly")
    assert "sparsity" not in row["why"] and "biases" not in row["why"]
    assert made.note("nearest sparsity") and not made.notes("Adapters stand beside") and not made.notes("MiB")


def test_another_sparsity_or_other_parts_are_reasons(builder: Builder) -> None:
    pruned_first(builder, PruneFull(sparsity=0.5), "pruned")
    row = Made(builder, "vs_published").row(method="pruned", metric="accuracy", published=0.8088)
    assert row["comparable"] == "no"
    assert "sparsity 0.5 (theirs 0.45)" in row["why"] and "biases and the head" in row["why"]


def test_pruning_after_training_has_no_published_row(builder: Builder) -> None:
    pruned_first(builder, None, "full")
    pruned_first(builder, Prune(sparsity=0.25), "full+prune")
    assert set(Made(builder, "vs_published").frame["method"]) == {"full"}


BERT = "google-bert/bert-base-uncased"
PUBLISHED_PAYT = {"among": "global", "rank": 32, "alpha": 32.0, "epochs": 10, "prune_every": "epoch_start"}


@pytest.mark.parametrize(
    ("options", "accuracy"),
    [
        ({"growth": "linear", "prune_from": 0.0}, 0.931),
        ({"growth": "agp", "prune_from": 0.2}, 0.936),
        ({"growth": "agp", "prune_from": 0.2, "teacher_recipe": "as_published"}, 0.936),
        ({"growth": "agp", "prune_from": 0.2, "teacher_recipe": "as_published", "mix_corpus": "wikitext2"}, 0.933),
        ({"growth": "once"}, 0.930),
    ],
    ids=["linear", "agp", "agp_kd", "mixed", "first"],
)
def test_prune_as_you_tune_meets_its_own_rows(options: Any, accuracy: float, builder: Builder) -> None:
    settings = PruneAsYouTune(**PUBLISHED_PAYT | options)
    for seed in (0, 1, 2):
        builder.finetune("bert", "imdb", seed, 0.93, method="payt", settings=settings, recipe="any", hub=BERT)
    row = Made(builder, "vs_published").row(method="payt")
    assert (row["published"], row["system"], row["split"]) == (accuracy, "prune_as_you_tune", "test")
    assert row["comparable"] == "no" and "no zeros left once its LoRA is merged" in row["why"]
    assert "schedule" not in row["why"] and "the test split" not in row["why"] and "another model" not in row["why"]
    assert "biases" not in row["why"] and "among" not in row["why"]


def test_the_teachers_weight_is_the_other_share(builder: Builder) -> None:
    told = {"teacher": ["full"], "distillation_alpha": 0.2, "temperature": 4.0, "growth": "linear", "prune_from": 0.0}
    settings = PruneAsYouTune(**PUBLISHED_PAYT | told | {"epochs": 5})
    builder.finetune("bert", "imdb", 0, 0.93, method="payt", settings=settings, recipe="any", hub=BERT)
    made = Made(builder, "vs_published")
    assert 0.929 in set(made.frame["published"])  # T = 4, their alpha .8
    row = made.frame[made.frame["published"] == 0.929].iloc[0]
    assert "kd alpha" not in row["why"] and "nothing trained their teacher" in row["why"]


@pytest.mark.parametrize("options", [{"growth": "agp"}, {"trained": "head"}])
def test_what_they_never_pruned_so_has_no_row(options: Any, builder: Builder) -> None:
    settings = PruneFull(among="global", **options)
    builder.finetune("bert", "imdb", 0, 0.93, method="pruned", settings=settings, recipe="any", hub=BERT)
    assert Made(builder, "vs_published").frame.empty
