"""Table `vs_published` on constructed runs: which published rows a number meets, and when it may be compared."""

from __future__ import annotations

from statistics import fmean, median
from typing import Any

import pandas as pd
import pytest
from report_experiment import MINILM, SHAPE, Builder, collected
from report_made import Made

from electralab.config import FullFinetuning, Pretraining, Shape
from electralab.errors import UserError
from electralab.names import model_name
from electralab.report.make import make_table
from electralab.report.results import Results
from electralab.report.scores import GLUE8

RELEASED = "google/electra-small-discriminator"
GOOGLE_CODE = FullFinetuning(recipe="google_code")
EIGHT = dict(zip(GLUE8, (0.30, 0.85, 0.80, 0.82, 0.81, 0.60, 0.78, 0.58)))


def as_google(**changes: Any) -> Pretraining:
    """ELECTRA-Small-OWT as google-research/electra trains it, but for what is changed."""
    of_google = {"recipe": "google_code", "corpus": "openwebtext", "tokenizer": "bert", "generator_sizes": [0.25]}
    return Pretraining(**(of_google | changes))


def on_sst2(
    builder: Builder, settings: Pretraining, method: FullFinetuning = GOOGLE_CODE, epochs: float = 3.0
) -> pd.DataFrame:
    """SST-2 with three seeds after this pretraining, beside every published ELECTRA-Small."""
    size = settings.generator_sizes[0]
    builder.pretrain(size, 0, name="own", settings=settings)
    for seed, score in enumerate((0.88, 0.89, 0.86)):
        told: dict[str, Any] = {"settings": method, "recipe": method.recipe, "epochs": epochs, "glue": "sst2"}
        builder.finetune(model_name("own", size), "sst2", seed, score, **told)
    return Made(builder, "vs_published").frame.query("metric == 'accuracy'").set_index("their_model")


# --- comparable or not ------------------------------------------------------------------------------------------


def test_the_same_pretraining_and_fine_tuning_are_comparable(builder: Builder) -> None:
    row = on_sst2(builder, as_google()).loc["ELECTRA-Small-OWT"]
    assert (row["comparable"], row["published"]) == ("yes", 0.883) and pd.isna(row["why"])


def test_neither_is_what_only_text_and_steps_share(builder: Builder) -> None:
    """A generator of 12.5 %, batches of one sequence of 16, an extension, one pass at 32 tokens."""
    changes = {"generator_sizes": [0.125], "batch_size": 1, "sequence_length": 16}
    changes |= {"recipe": "paper", "initialization": "position_aware_init", "unigram_warmup": 0.3}
    method = FullFinetuning(recipe="google_code", max_length=32, epochs=1)
    frame = on_sst2(builder, as_google(**changes), method, epochs=1.0)
    assert (frame["comparable"] == "no").all()
    why = frame.loc["ELECTRA-Small-OWT", "why"]
    for reason in (
        *("pretraining generator size 0.125 (theirs 0.25)", "pretraining batch size 1 (theirs 128)"),
        *("pretraining sequence length 16 (theirs 128)", "pretraining recipe paper (theirs google_code)"),
        "ours rests on extensions over the paper: position_aware_init and unigram_warmup",
        *("epochs 1 (theirs 3)", "input length 32 (theirs 128)"),
    ):
        assert reason in why
    assert "changes its pretraining recipe" not in why


def test_rc2020_with_a_whole_generator_is_not(builder: Builder) -> None:
    rows = on_sst2(builder, as_google(recipe="rc2020", generator_sizes=[1.0]))
    assert "pretraining recipe rc2020 (theirs google_code)" in rows.loc["ELECTRA-Small-OWT", "why"]
    assert "pretraining generator size 1 (theirs 0.25)" in rows.loc["ELECTRA-Small-OWT (Mercier)", "why"]
    assert (rows["comparable"] == "no").all()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"generator_sizes": [0.5]}, "pretraining generator size 0.5 (theirs 0.25)"),
        ({"batch_size": 256}, "pretraining batch size 256 (theirs 128)"),
        ({"sequence_length": 512}, "pretraining sequence length 512 (theirs 128)"),
        ({"steps": 500_000}, "pretraining steps 500,000 (theirs 1,000,000)"),
        ({"corpus": "wikipedia"}, "pretraining text wikipedia (theirs OpenWebText)"),
        ({"recipe": "paper"}, "pretraining recipe paper (theirs google_code)"),
        ({"learning_rate": 1e-3}, "ours changes its pretraining recipe: `learning_rate` 0.001"),
    ],
)
def test_one_difference_in_pretraining_forbids_it(builder: Builder, changes: dict[str, Any], why: str) -> None:
    row = on_sst2(builder, as_google(**changes)).loc["ELECTRA-Small-OWT"]
    assert (row["comparable"], row["why"]) == ("no", why)


@pytest.mark.parametrize(
    ("name", "value"), [("position_aware_init", "initialization"), ("unigram_warmup", "unigram_warmup")]
)
def test_an_extension_forbids_it(builder: Builder, name: str, value: str) -> None:
    settings = as_google(adam_bias_correction=True, **{value: 0.1 if value == name else name})
    row = on_sst2(builder, settings).loc["ELECTRA-Small-OWT"]
    assert row["comparable"] == "no" and f"ours rests on extensions over the paper: {name}" in row["why"]


@pytest.mark.parametrize(
    ("method", "epochs", "comparable", "why"),
    [
        ({"recipe": "paper"}, 3.0, "roughly", "fine-tuning recipe paper (theirs google_code)"),
        ({"learning_rates": [1e-3]}, 3.0, "roughly", "ours changes its fine-tuning recipe: `learning_rates` 0.001"),
        ({"batch_size": 8}, 3.0, "roughly", "ours changes its fine-tuning recipe: `batch_size` 8"),
        ({"max_length": 32}, 3.0, "no", "input length 32 (theirs 128)"),
        ({"epochs": 1}, 1.0, "no", "epochs 1 (theirs 3)"),
    ],
)
def test_one_difference_in_fine_tuning_is_named(
    builder: Builder, method: dict[str, Any], epochs: float, comparable: str, why: str
) -> None:
    told = FullFinetuning(**({"recipe": "google_code"} | method))
    row = on_sst2(builder, as_google(), told, epochs).loc["ELECTRA-Small-OWT"]
    assert (row["comparable"], row["why"]) == (comparable, why)


def test_what_a_source_does_not_state_is_never_comparable(builder: Builder) -> None:
    row = on_sst2(builder, as_google(batch_size=256, steps=625_000)).loc["ELECTRA-Small-OWT (junnyu)"]
    assert row["comparable"] == "roughly"
    unknown = "pretraining generator size, pretraining sequence length, pretraining recipe, epochs, input length and"
    assert f"their {unknown} fine-tuning recipe are not stated" in row["why"]


def test_averages_over_other_sets_of_mnli_are_not(builder: Builder) -> None:
    builder.pretrain(0.25, 0, name="own", settings=as_google(recipe="rc2020"))
    builder.glue("own-g25", EIGHT, settings=FullFinetuning(recipe="rc2020"), recipe="rc2020")
    row = Made(builder, "vs_published").row(task_id="glue8", their_model="ELECTRA-Small-OWT (Mercier)")
    assert row["comparable"] == "no" and "their MNLI is matched and mismatched together" in row["why"]


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"official_train_rows": 67_349.0}, "ours is trained on 3,000 of 67,349 train rows"),
        ({"official_validation_rows": 872.0, "rows": 800}, "ours is scored on 800 of 872 validation rows"),
        ({"degenerate": True}, "ours has degenerate runs"),
    ],
)
def test_what_forbids_a_comparison(builder: Builder, known: dict[str, Any], why: str) -> None:
    builder.glue("small", {"sst2": 0.91}, hub=RELEASED, settings=GOOGLE_CODE, recipe="google_code", **known)
    row = Made(builder, "vs_published").row(system="google_electra")
    assert (row["comparable"], row["why"]) == ("no", why)


def test_few_seeds_make_it_rough(builder: Builder) -> None:
    builder.glue("small", {"sst2": 0.91}, seeds=(0,), hub=RELEASED, settings=GOOGLE_CODE, recipe="google_code")
    row = Made(builder, "vs_published").row(system="google_electra")
    assert (row["comparable"], row["why"]) == ("roughly", "ours has 1 seed")


# --- which rows meet --------------------------------------------------------------------------------------------


def test_medians_stand_beside_medians_and_the_page_says_so(builder: Builder) -> None:
    scores = (0.88, 0.89, 0.86)
    row = on_sst2(builder, as_google()).loc["ELECTRA-Small-OWT"]
    assert row["ours"] == median(scores) != fmean(scores) and row["protocol"].startswith("median of at least 10")
    text = " ".join(Made(builder, "vs_published").text.split())
    assert "ELECTRA's published scores are medians of ten runs, so ours are medians over n seeds here" in text


def test_an_average_is_the_mean_of_the_medians(builder: Builder) -> None:
    builder.glue("minilm", EIGHT, hub=MINILM)
    average = Made(builder, "vs_published").row(task_id="glue8")
    assert average["published"] == 0.799  # not the partly trained ones
    assert average["difference"] == pytest.approx(fmean(EIGHT.values()) - 0.799)


def test_a_released_model_meets_its_own_published_rows(builder: Builder) -> None:
    builder.glue("small", {"sst2": 0.91}, hub=RELEASED, settings=GOOGLE_CODE, recipe="google_code")
    made = Made(builder, "vs_published")
    row = made.row(system="google_electra")
    assert row["published"] == 0.912 and row["comparable"] == "yes"
    assert row["difference"] == pytest.approx(0.91 - 0.912)
    test = made.frame[made.frame["split"] == "test"]
    assert len(test) == 2 and (test["comparable"] == "no").all() and test["why"].str.contains("test split").all()
    assert not made.frame["their_model"].str.contains("OWT").any()


def test_a_number_given_twice_is_shown_once(builder: Builder) -> None:
    """Efficient ELECTRA scored the same fully fine-tuned model on a GPU and on a CPU."""
    builder.glue("small", {"mrpc": 0.87}, hub=RELEASED)
    frame = Made(builder, "vs_published").frame
    assert list(frame.loc[frame["system"] == "electra_pytorch_hpml", "published"]) == [0.87]


def test_hub_ids_match_whoever_owns_them(builder: Builder) -> None:
    builder.glue("distil", {"cola": 0.5, "mnli": 0.8}, hub="distilbert-base-uncased")
    made = Made(builder, "vs_published")
    cola = made.row(task_id="cola")
    assert (cola["published"], cola["comparable"]) == (0.513, "roughly")
    mnli = made.row(task_id="mnli")
    assert mnli["comparable"] == "no" and "matched or mismatched is not stated" in mnli["why"]


def test_another_model_stands_beside_electra_small_for_scale(builder: Builder) -> None:
    builder.glue("minilm", EIGHT, hub=MINILM)
    frame = Made(builder, "vs_published").frame
    assert set(frame["system"]) == {"google_electra", "electra_paper"}
    assert (frame["comparable"] == "no").all() and frame["why"].str.contains("another model").all()


def test_our_electra_small_meets_every_electra_small_and_its_control_none(builder: Builder) -> None:
    builder.glue("own_random", {"sst2": 0.6}, untrained=True)
    frame = on_sst2(builder, as_google())
    assert {"google_electra", "rc2020_electra", "electra_pytorch", "junnyu", "lmtuners"} <= set(frame["system"])
    assert set(frame["model"]) == {"own-g25"}


def test_another_shape_is_another_model(builder: Builder) -> None:
    for shape in (SHAPE, Shape(layers=11)):
        frame = on_sst2(builder, as_google(discriminator=shape))
        assert len(frame) == 2 and frame["why"].str.startswith("another model").all()
        builder.records.clear()


def test_without_glue_one_line_says_so(builder: Builder) -> None:
    builder.whole_experiment((0.25,))
    made = Made(builder, "vs_published")
    assert "No GLUE task was fine-tuned in this experiment" in made.text
    assert made.frame.empty and "| " not in made.text


@pytest.mark.parametrize("damage", ["missing", "empty", "other table"])
def test_damaged_published_results_are_named(builder: Builder, damage: str) -> None:
    builder.glue("minilm", {"sst2": 0.9}, hub=MINILM)
    folder = builder.folder.parent
    results = collected(builder)
    published = folder / "published.csv"
    if damage != "missing":
        published.write_text("" if damage == "empty" else "a,b\n1,2\n")
    with pytest.raises(UserError, match=r"published\.csv") as caught:
        make_table("vs_published", Results(results.folder, published), folder / "t")
    assert "\n" not in str(caught.value) and not (folder / "t.csv").exists()
