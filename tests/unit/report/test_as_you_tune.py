"""Table and figure of Prune As You Tune, on constructed runs."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from report_experiment import MINILM, Builder, collected
from report_made import Made, check_files, check_layout, drawn
from report_pruned_experiment import TASK, WOBBLE, zeros
from report_retention_experiment import influences, measured
from two_way import half_by_hand, right_answers

from electralab import catalogue
from electralab.config import Lora, PruneAsYouTune, PruneFull
from electralab.config.methods.pruning import Prune
from electralab.errors import UserError
from electralab.report.figures.style import house_style

SECTION = f"{TASK}, minilm ("
SCORES: dict[str, tuple[float, Any]] = {
    "full": (0.82, None),
    "lora": (0.81, Lora()),
    "head": (0.60, PruneFull(trained="head")),
    "gradual": (0.79, PruneFull(growth="agp")),
    "first": (0.77, PruneAsYouTune(growth="once")),
    "payt": (0.76, PruneAsYouTune()),
    "payt_kd": (0.79, PruneAsYouTune(teacher=["full"])),
    "published": (0.66, PruneAsYouTune(teacher_recipe="as_published", mix_corpus="text")),
    "full+sparsegpt": (0.815, Prune(criterion="sparsegpt")),
}


def study(builder: Builder, seeds: tuple[int, ...] = (0, 1, 2)) -> Builder:
    for seed in seeds:
        for method, (score, settings) in SCORES.items():
            told: dict[str, Any] = {"method": method, "settings": settings, "hub": MINILM, "recipe": "any"}
            told |= {} if method in ("full", "lora") else zeros(0.5, 70.0)
            trained = 22_000_000.0 if method == "full" else 500_000.0
            builder.finetune("minilm", TASK, seed, score + WOBBLE[seed], **told, trainable_parameters=trained)
    return builder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return study(Builder(tmp_path_factory.mktemp("payt") / "artifacts"))


@pytest.fixture(scope="module")
def made(built: Builder) -> Made:
    return Made(built, "prune_as_you_tune")


def test_every_rival_is_a_row_the_dense_model_first(made: Made) -> None:
    assert list(made.frame["method"]) == [*SCORES]
    assert made.frame["dense"].eq("full").all() and made.frame["reference"].eq("first").all()
    methods = {method: made.cells(f"{method} |", SECTION)["Method"] for method in SCORES}
    assert methods["head"] == "layer, single weights, l1; then the head alone trained"
    assert methods["gradual"] == "layer, single weights, l1; more and more while fine-tuned (agp)"
    assert methods["first"] == "single weights, before LoRA was tuned, no teacher"
    assert methods["published"].endswith("with a teacher that nothing trained, `text` mixed in")
    assert [made.cells(f"{m} |", SECTION)["Teacher"] for m in ("payt", "payt_kd", "published")] == [
        *("none", "fixed", "as published")
    ]


def test_numbers_by_arithmetic(made: Made) -> None:
    def answers(method: str) -> object:
        return right_answers("minilm", method, [SCORES[method][0] + wobble for wobble in WOBBLE])

    row = made.row(method="payt_kd")
    assert row["mean"] == pytest.approx(0.79 + fmean(WOBBLE))
    assert (row["minus_dense"], row["minus_reference"]) == pytest.approx((-0.03, 0.02))
    half = half_by_hand(answers("payt_kd"), answers("first"))
    assert (row["minus_reference_low"], row["minus_reference_high"]) == pytest.approx((0.02 - half, 0.02 + half))
    assert made.row(method="full+sparsegpt")["trainable_parameters"] == 22_000_000
    cells = made.cells("payt |", SECTION)
    assert (cells["% zeros"], cells["Trained"]) == ("50.0", "500,000")
    assert made.cells("lora |", SECTION)["% zeros"] == made.cells("first |", SECTION)["Minus first"] == "–"


def test_the_answer_says_what_is_best_and_what_interleaving_brings(made: Made) -> None:
    answer = made.note(f"**{TASK}")
    assert "best of the pruned models `full+sparsegpt` 0.8" in answer
    worse = answer.partition("against pruning first (`first`) worse: ")[2].partition(";")[0]
    assert "`published` -0.110 [" in worse and "`payt_kd`" not in worse


def test_what_is_retained_stands_beside_the_score_and_mixing_beside_none(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    teacher: dict[str, Any] = {"teacher": ["full"]}
    arms = {"payt": PruneAsYouTune(**teacher), "mixed": PruneAsYouTune(**teacher, mix_corpus="text", mix_share=0.5)}
    measured(builder, "minilm", 0.75, influence=influences(0.05, 99))
    values = {"payt": (0.60, 0.62, 0.61), "mixed": (0.70, 0.73, 0.72)}
    for seed in range(3):
        builder.finetune("minilm", TASK, seed, 0.8, hub=MINILM, recipe="any")
        for method, settings in arms.items():
            told: dict[str, Any] = {"method": method, "settings": settings, "hub": MINILM, "recipe": "any"}
            builder.finetune("minilm", TASK, seed, 0.79, **told, **zeros(0.5, 70.0))
            own = influences(0.05, 10 * len(method) + seed)
            measured(builder, "minilm", values[method][seed], run=(TASK, method, seed), influence=own)
    tuned, kept = Made(builder, "prune_as_you_tune"), Made(builder, "retention")
    assert tuned.cells("payt", SECTION)["Retained (held_out) minus pretrained"].startswith("-0.140 [")
    assert tuned.cells("full", SECTION)["Retained (held_out) minus pretrained"] == "–"
    row = kept.row(method="mixed")
    others = [influences(0.05, 40 + seed) for seed in range(3)]
    own = [influences(0.05, 50 + seed) for seed in range(3)]
    half = half_by_hand(np.array(values["mixed"])[:, None] + own, np.array(values["payt"])[:, None] + others)
    assert row["minus_unmixed"] == pytest.approx(fmean(values["mixed"]) - fmean(values["payt"]))
    assert row["minus_unmixed_high"] - row["minus_unmixed_low"] == pytest.approx(2 * half)
    assert kept.note("against the same without mixed lines: `mixed` +0.107 [")
    assert kept.row(method="payt").isna()["minus_unmixed"]


def test_one_seed_and_no_reference(tmp_path: Path) -> None:
    builder = study(Builder(tmp_path / "artifacts"), seeds=(0,))
    assert "one common seed, no verdict: `payt` -0.010" in Made(builder, "prune_as_you_tune").text
    alone = Builder(tmp_path / "alone")
    told: dict[str, Any] = {"method": "payt", "settings": PruneAsYouTune(), "hub": MINILM, "recipe": "any"}
    alone.finetune("minilm", TASK, 0, 0.8, **told, status="failed")
    made = Made(alone, "prune_as_you_tune")
    assert made.note("no finished run of a pruned model") and "Minus first" not in made.text
    with pytest.raises(UserError, match="chain that sets weights to zero"):
        drawn("prune_as_you_tune", collected(alone))


def test_figure(built: Builder) -> None:
    with house_style():
        figure = drawn("prune_as_you_tune", collected(built))
        labels = {str(line.get_label()) for line in figure.axes[0].lines}
        rivals = "single weights, before LoRA was tuned, no teacher", "layer, single weights, sparsegpt"
        assert {"full (dense)", *rivals} <= {*labels}
        check_layout(figure)
    check_files("prune_as_you_tune", collected(built))


def test_experiments_that_have_it() -> None:
    for items in (catalogue.TABLES, catalogue.FIGURES):
        assert "prune_as_you_tune" in catalogue.chosen(items, {"prune_as_you_tune"})
        assert "prune_as_you_tune" not in catalogue.chosen(items, {"prune_full"})
