"""Table of students, on constructed runs, against arithmetic and statistics of other code."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest
from report_experiment import MINILM, Builder
from report_made import Made
from scipy import stats
from two_way import half_by_hand, right_answers

from electralab import catalogue
from electralab.config import CopiedStudent, Distil, DynamicInt8, RandomStudent, Shape, TrimVocabulary

TASK = "movie_sentiment"
WOBBLE = (0.0, 0.01, -0.008)
SECTION = f"{TASK}, minilm ("
THREE = CopiedStudent(start="teacher", layers=[0, 2, 4])
DRAWN = RandomStudent(
    start="random",
    shape=Shape(layers=3, hidden_size=192, embedding_size=192, attention_heads=6, intermediate_size=768),
)
TAUGHT: dict[str, Any] = {"teacher": ["full"], "student": THREE}
ALONE: dict[str, Any] = {"distillation_alpha": 0.0}


def sized(parameters: int, weights: int | None = None) -> dict[str, Any]:
    """What a record knows of a model of this size."""
    counted = {"total": parameters, "trainable": parameters}
    return {"known_cost": {"parameters": counted, "bytes_on_disk": weights or 4 * parameters}}


def study(builder: Builder, seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """MiniLM on one task: a teacher, students of its layers taught in three ways, and drawn ones."""
    for seed in seeds:

        def run(method: str, score: float, settings: Any, **more: Any) -> None:
            told = {"method": method, "settings": settings, "hub": MINILM, "recipe": "any"}
            builder.finetune("minilm", TASK, seed, score + WOBBLE[seed], **(told | more))  # noqa: B023

        run("full", 0.82, None, **sized(22_566_146))
        run("hidden", 0.80, Distil(**TAUGHT, hidden_weight=1.0), **sized(17_250_000))
        run("alone", 0.70, Distil(**TAUGHT, **ALONE), **sized(17_250_000))
        run("logits", 0.702, Distil(**TAUGHT, temperature=4.0), **sized(17_250_000))
        run("slow", 0.69, Distil(**TAUGHT, **ALONE, epochs=9), **sized(17_250_000))
        run("drawn_alone", 0.6, Distil(student=DRAWN, **ALONE), **sized(7_000_000))
        run("drawn", 0.62, Distil(student=DRAWN, teacher=["full"], distillation_alpha=1.0), **sized(7_000_000))
        run("hidden+trim", 0.80, TrimVocabulary(), **sized(11_300_000))
        run("hidden+trim+int8", 0.79, DynamicInt8(), **sized(11_300_000, 11_500_000))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    builder = Builder(tmp_path_factory.mktemp("distilled") / "artifacts")
    study(builder)
    return Made(builder, "distillation")


def test_an_experiment_with_a_student_has_the_table() -> None:
    assert catalogue.chosen(catalogue.TABLES, {"distil"}) == ["distillation"]


def test_students_stand_below_their_teacher_each_first_alone(made: Made) -> None:
    rows = [line.split("|")[1].strip() for line in made.section(SECTION).splitlines() if line.startswith("| ")]
    drawn, copied = ["drawn_alone", "drawn"], ["alone", "logits", "hidden", "hidden+trim", "hidden+trim+int8"]
    assert rows[:3] == ["Chain", ":--", "full"] and rows[-3:] == [*drawn, "majority class"]
    assert [row for row in rows if row in drawn] == drawn
    assert [row for row in rows if row in copied] == copied
    assert set(rows) == {"Chain", ":--", "full", *drawn, *copied, "slow", "majority class"}


@pytest.mark.parametrize(
    ("chain", "student", "learns_from"),
    [
        ("full", "the teacher", "labels"),
        ("alone", "layers 0, 2, 4 of the teacher", "labels"),
        ("logits", "layers 0, 2, 4 of the teacher", "labels, logits (0.5, T 4)"),
        ("hidden |", "layers 0, 2, 4 of the teacher", "labels, logits (0.5, T 2), hidden states (1)"),
        ("drawn |", "drawn: 3 layers, 192 wide", "logits (1, T 2)"),
        (
            "hidden+trim+int8",
            "layers 0, 2, 4 of the teacher; then `trim_vocabulary`; then `dynamic_int8`",
            "labels, logits (0.5, T 2), hidden states (1)",
        ),
    ],
)
def test_students_and_what_they_learn_from_in_words(made: Made, chain: str, student: str, learns_from: str) -> None:
    cells = made.cells(chain, SECTION)
    assert (cells["Student"], cells["Learns from"]) == (student, learns_from)


def test_a_student_is_compared_with_itself_alone_and_with_its_teacher(made: Made) -> None:
    alone = {row["method"]: row["alone"] for _, row in made.frame.iterrows() if isinstance(row["alone"], str)}
    assert alone == {"hidden": "alone", "logits": "alone", "drawn": "drawn_alone"}  # neither trains as `slow` does
    assert set(made.frame.loc[made.frame["method"] != "full", "teacher"]) == {"full"}

    def answers(method: str, score: float) -> object:
        return right_answers("minilm", method, [score + wobble for wobble in WOBBLE])

    for name, other, score in (("minus_alone", "alone", 0.70), ("minus_teacher", "full", 0.82)):
        row, half = made.row(method="hidden"), half_by_hand(answers("hidden", 0.80), answers(other, score))
        found = row[name], row[f"{name}_low"], row[f"{name}_high"]
        assert found == pytest.approx((0.80 - score, 0.80 - score - half, 0.80 - score + half))
    values = [0.80 + wobble for wobble in WOBBLE]
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    row = made.row(method="hidden")
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((fmean(values), low, high))


def test_sizes(made: Made) -> None:
    cells = made.cells("hidden+trim+int8", SECTION)
    assert (cells["Parameters"], cells["MB"]) == ("11,300,000", "11.5")
    assert made.cells("full", SECTION)["MB"] == "90.3"


def test_the_answer_says_what_the_teacher_is_worth(made: Made) -> None:
    (answer,) = made.notes("against the same student alone")
    taught, _, whole = answer.partition(". Against the teacher: ")
    assert "better: `hidden` +0.100 [" in taught and " and `drawn` +0.020 [" in taught
    assert "no difference shown: " in taught and "`logits` +0.002 [" in taught
    assert "worse: " in whole and "`alone` -0.120 [" in whole and "+trim" not in answer


def test_one_seed_has_no_verdict(builder: Builder) -> None:
    study(builder, seeds=(0,))
    made = Made(builder, "distillation")
    assert made.cells("hidden |", SECTION)["Minus alone"] == "+0.100 (n=1)"
    (answer,) = made.notes("against the same student alone")
    assert "one common seed gives no verdict: " in answer and "better" not in answer


def test_a_teacher_that_is_not_among_the_runs(builder: Builder) -> None:
    settings = Distil(**TAUGHT, teacher_model="larger")
    builder.finetune("minilm", TASK, 0, 0.8, method="logits", settings=settings, hub=MINILM, recipe="any")
    made = Made(builder, "distillation")
    assert made.cells("full of larger", SECTION)["Score"] == "– (n=0)"
    assert made.note("No finished run of the teacher `full`", "list it among its methods")
    assert made.note("no finished student beside a teacher or itself alone")
    assert made.cells("logits", SECTION)["Minus teacher"] == "–"


def test_the_methods_page_says_what_differs_from_defaults_alone(builder: Builder) -> None:
    study(builder, seeds=(0,))
    options = Made(builder, "methods").row(method="logits")["options"]
    assert options == "student.layers 0;2;4; student.start teacher; teacher full; temperature 4"


def test_failed_students_are_rows(builder: Builder) -> None:
    study(builder, seeds=(0,))
    told = {"method": "broken", "settings": Distil(**TAUGHT, hidden_weight=9.0), "hub": MINILM, "recipe": "any"}
    builder.finetune("minilm", TASK, 0, 0.0, status="failed", **told)
    made = Made(builder, "distillation")
    assert made.cells("broken", SECTION)["Score"] == "– (n=0)"
    assert "out of memory" in made.section("Runs without a result")


def test_other_tables_leave_students_out_and_an_experiment_without_has_none(builder: Builder) -> None:
    builder.finetune("minilm", TASK, 1, 0.82, hub=MINILM)
    made = Made(builder, "distillation")
    assert made.frame.empty and "there is nothing to compare" in made.text
    study(builder, seeds=(0,))
    assert Made(builder, "adapters").frame.empty
    assert set(Made(builder, "quantization").frame["method"]) == {"hidden", "hidden+trim", "hidden+trim+int8"}
