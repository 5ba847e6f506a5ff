"""Adapters beside published ones in the table `vs_published`, on constructed runs."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from report_experiment import MINILM, Builder
from report_made import Made

from electralab.config import InContext, LinearProbe, Lora, Prefix, Qlora

ELECTRA = "google/electra-small-discriminator"
TINYBERT = "huawei-noah/TinyBERT_General_4L_312D"
OPT = "facebook/opt-125m"
R64 = Lora(rank=64, alpha=64)


def on_mrpc(builder: Builder, model: str, hub: str, settings: Any, score: float = 0.85, **known: float) -> Made:
    """Three seeds, with as many passes as efficient ELECTRA made."""
    for seed in (0, 1, 2):
        builder.adapter(model, "mrpc", seed, score, settings, glue="mrpc", hub=hub, **{"epochs": 20.0, **known})
    return Made(builder, "vs_published")


def test_lora_of_the_same_rank_meets_its_rows_counts_and_share(builder: Builder) -> None:
    counts = {"trainable_parameters": 1_245_954.0, "base_parameters": 13_549_314.0}
    made = on_mrpc(builder, "small", ELECTRA, R64, f1=0.9, **counts)
    accuracy = made.frame[(made.frame["metric"] == "accuracy") & (made.frame["task_id"] == "mrpc")]
    assert sorted(accuracy["published"]) == [0.855, 0.8627] and set(accuracy["comparable"]) == {"roughly"}
    trained = made.row(metric="trainable")
    assert (trained["published"], trained["difference"], trained["comparable"]) == (1_245_954, 0, "yes")
    share = made.row(metric="trainable_share")
    assert share["published"] == pytest.approx(0.092, abs=5e-4) and abs(share["difference"]) < 1e-4
    assert "9.20 %" in made.text and set(made.frame["system"]) == {"electra_pytorch_hpml"}


def test_another_rank_is_beside_the_nearest_and_not_comparable(builder: Builder) -> None:
    made = on_mrpc(builder, "small", ELECTRA, Lora(rank=12, alpha=16))
    row = made.row(task_id="mrpc", metric="accuracy")
    assert row["their_method"] == "LoRA r16 alpha16" and row["comparable"] == "no"
    assert "rank 12 (theirs 16)" in row["why"]


def test_a_trained_head_is_no_counterpart_of_the_collapse(builder: Builder) -> None:
    row = on_mrpc(builder, "small", ELECTRA, Qlora(rank=64, alpha=64)).row(task_id="mrpc", metric="accuracy")
    assert (row["published"], row["comparable"]) == (0.684, "no") and "ours trains it" in row["why"]


@pytest.mark.parametrize(("score", "words"), [(0.684, "as is ours"), (0.8, "ours is not")])
def test_the_repeated_mistake_is(builder: Builder, score: float, words: str) -> None:
    settings = Qlora(rank=64, alpha=64, recipe="as_published")
    made = on_mrpc(builder, "small", ELECTRA, settings, score, degenerate=score < 0.7, majority_rate=0.684)
    row = made.row(task_id="mrpc", metric="accuracy")
    assert row["comparable"] == "roughly"
    assert f"theirs is the majority class, its head packed in 4 bits and untrained; {words}" in row["why"]
    assert made.notes("exactly what always answering `paraphrase` scores")


def test_stand_ins_meet_other_models_for_scale(builder: Builder) -> None:
    made = on_mrpc(builder, "minilm", MINILM, Qlora(rank=16, alpha=16))
    scored = made.frame[made.frame["metric"] == "accuracy"]
    assert dict(zip(scored["system"], scored["published"])) == {"electra_pytorch_hpml": 0.684, "tinybert_hpml": 0.8235}
    assert (made.frame["comparable"] == "no").all() and made.frame["why"].str.contains("another model").all()


def test_tinybert_meets_its_size(builder: Builder) -> None:
    known = {"trainable_parameters": 120_434.0, "weights_bytes": 21.7e6}
    made = on_mrpc(builder, "tinybert", TINYBERT, Qlora(rank=16, alpha=16), 0.82, **known)
    assert made.row(metric="accuracy")["published"] == 0.8235
    size = made.row(metric="size")
    assert size["ours"] == pytest.approx(21.7 + 4 * 0.120434) and size["published"] == pytest.approx(22.219, abs=1e-3)
    assert (size["comparable"], size["their_method"]) == ("roughly", "NF4 double-quant + LoRA")


def test_opt_on_qqp_by_kind_with_weighted_f1(builder: Builder) -> None:
    lora = Lora(rank=64, alpha=128, targets=["q_proj", "v_proj", "embed_tokens", "lm_head"])
    for settings, score in ((Prefix(), 0.66), (lora, 0.86), (InContext(), 0.63)):
        known = {"glue": "qqp", "hub": OPT, "f1": 0.5, "f1_weighted": score + 0.001}
        builder.adapter("opt", "qqp", 0, score, settings, epochs=1.0, **known)
    builder.finetune("opt", "qqp", 0, 0.867, glue="qqp", hub=OPT, f1_weighted=0.868)
    made = Made(builder, "vs_published")
    accuracy = made.frame[(made.frame["metric"] == "accuracy") & (made.frame["system"] == "opt_adapters")]
    assert set(accuracy["their_model"]) == {"opt-125m"}
    assert set(zip(accuracy["method"], accuracy["published"])) == {
        *(("prefix", 0.6467), ("lora", 0.8609), ("full", 0.8674)),
        *(("in_context", 0.6317), ("in_context", 0.632), ("in_context", 0.6319)),
    }
    row = made.row(method="lora", metric="f1_weighted")
    assert (row["published"], row["difference"]) == (0.8616, pytest.approx(0.861 - 0.8616))
    assert row["comparable"] == "roughly" and "their input length is not stated" in row["why"]


def test_other_layers_and_other_passes_are_reasons(builder: Builder) -> None:
    builder.adapter("opt", "qqp", 0, 0.8, Lora(rank=64, alpha=128), glue="qqp", hub=OPT)
    row = Made(builder, "vs_published").row(method="lora", metric="accuracy")
    assert row["comparable"] == "no" and "epochs 3 (theirs 1)" in row["why"]
    assert "targets attention (theirs q_proj;v_proj;lm_head;embed_tokens)" in row["why"]


@pytest.mark.parametrize("answers", ["label_words", "as_published"])
def test_opt_that_answers_in_another_way_says_so(
    builder: Builder, answers: Literal["label_words", "as_published"]
) -> None:
    for settings in (Lora(rank=64, alpha=128, answers=answers), InContext(answers=answers)):
        builder.adapter("opt", "qqp", 0, 0.8, settings, glue="qqp", hub=OPT, f1_weighted=0.8)
    frame = Made(builder, "vs_published").frame
    why = {method: set(rows["why"]) for method, rows in frame[frame["metric"] == "accuracy"].groupby("method")}
    assert all(("bare Yes and No" in words) == (answers == "label_words") for found in why.values() for words in found)
    assert all("validation rows, ours training rows" in words for words in why["in_context"])


def test_full_finetuning_of_a_stand_in_is_read_beside_the_studies(builder: Builder) -> None:
    builder.finetune("minilm", "mrpc", 0, 0.8, glue="mrpc", hub=MINILM)
    assert "electra_pytorch_hpml" not in set(Made(builder, "vs_published").frame["system"])
    builder.adapter("minilm", "mrpc", 0, 0.8, LinearProbe(), glue="mrpc", hub=MINILM)
    frame = Made(builder, "vs_published").frame
    assert set(frame["method"]) == {"full"} and "electra_pytorch_hpml" in set(frame["system"])
