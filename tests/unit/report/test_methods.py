"""Table `methods`, on constructed runs."""

from __future__ import annotations

from report_experiment import Builder
from report_made import Made

from electralab.config import FullFinetuning, Lora


def test_a_method_is_what_differs_from_its_defaults(builder: Builder) -> None:
    told = Lora(rank=Lora().rank * 2, learning_rates=[1e-3, 3e-4], epochs=5, max_train_rows=200)
    for task in ("boolq", "policy_qa"):
        builder.adapter("minilm", task, 0, 0.7, told, method="wide", hub="x/y")
    builder.adapter("minilm", "boolq", 0, 0.7, Lora(), method="plain", hub="x/y")
    made = Made(builder, "methods")
    row = made.row(method="wide")
    assert (row["kind"], row["recipe"], row["options"]) == ("lora", "fixed", f"rank {told.rank}")
    assert (row["learning_rates"], row["epochs"], row["max_train_rows"]) == ("0.001;0.0003", 5, "200")
    assert (row["tasks"], row["models"]) == ("boolq;policy_qa", "minilm")
    assert made.cells("wide")["Learning rates"] == "0.001 and 0.0003"
    assert (made.cells("plain")["Options"], made.cells("plain")["Training rows at most"]) == ("", "all")


def test_defaults_are_those_of_the_recipe(builder: Builder) -> None:
    settings = FullFinetuning(recipe="google_code")
    builder.finetune("minilm", "boolq", 0, 0.7, hub="x/y", settings=settings, recipe="google_code")
    assert Made(builder, "methods").cells("full")["Options"] == ""


def test_baselines_are_methods_and_a_grid_is_one_line(builder: Builder) -> None:
    builder.lora_grid()
    builder.baseline("movie_sentiment", 0.7)
    made = Made(builder, "methods")
    assert made.cells("tfidf")["Training rows at most"] == "3000" and made.cells("tfidf")["Recipe"] == "–"
    assert made.cells("sweep (5 of a grid)")["Options"] == "" and len(made.frame) == 6
    assert made.cells("tfidf")["Learning rates"] == "–"
    assert sum(line.startswith("| sweep") for line in made.text.splitlines()) == 1


def test_tasks_with_other_epochs_are_named(builder: Builder) -> None:
    for task, epochs in (("boolq", 3), ("rte", 10)):
        builder.finetune("minilm", task, 0, 0.6, hub="x/y", settings=FullFinetuning(epochs=epochs))
    assert Made(builder, "methods").cells("full")["Epochs"] == "3 (boolq); 10 (rte)"
