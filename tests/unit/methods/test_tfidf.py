"""The TF-IDF baseline on a task of 400 rows."""

import json

import numpy as np
import pytest
from finetune_task import read_predictions, write_task

from electralab.config import TfidfBaseline
from electralab.files import sha256
from electralab.methods.run import Inputs, run_job
from electralab.names import NO_MODEL
from electralab.records import read_record
from electralab.specs import RunSpec


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("finetune")
    return {
        "words": write_task(root / "words"),
        "pairs": write_task(root / "pairs", pair=True),
        "shuffled": write_task(root / "shuffled", labels="shuffled"),
        "scores": write_task(root / "scores", labels="scores"),
        "mnli": write_task(
            root / "mnli",
            pair=True,
            more=("validation_mismatched", "ax", "test"),
            official={"train": 392_702, "validation": 9_815},
            glue="mnli",
            metrics=["accuracy"],
            notes=["train: 400 of the official 392,702 rows"],
        ),
    }


def run(folder, task, **options):
    spec = RunSpec(model=NO_MODEL, task="toy", chain=["tfidf"], seed=0, settings=TfidfBaseline(**options))
    return run_job(spec, folder / "run.json", Inputs(task))


@pytest.mark.parametrize("task", ["words", "pairs"])
def test_tfidf_learns_a_bag_of_words_task(inputs, tmp_path, task):
    record = run(tmp_path, inputs[task], max_train_rows=300)
    assert record.metrics["accuracy"] > 0.9
    assert (record.stage, record.model, record.metrics["train_rows"]) == ("run", NO_MODEL, 300)
    assert (record.primary_metric, record.metrics["score"]) == ("accuracy", record.metrics["accuracy"])
    assert read_record(tmp_path / "run.json") == record
    rows = read_predictions(tmp_path)
    assert np.mean([row["label"] == row["prediction"] for row in rows]) == pytest.approx(record.metrics["accuracy"])


def test_tfidf_is_blind_to_shuffled_labels(inputs, tmp_path):
    assert 0.36 < run(tmp_path, inputs["shuffled"]).metrics["accuracy"] < 0.64


def test_tfidf_of_scores_is_a_ridge_regression(inputs, tmp_path):
    record = run(tmp_path, inputs["scores"])
    rows = read_predictions(tmp_path)
    labels, predictions = ([float(row[name]) for row in rows] for name in ("label", "prediction"))
    assert record.metrics["score"] > 0.8 and record.primary_metric == "spearman"
    assert record.metrics["pearson"] == pytest.approx(np.corrcoef(labels, predictions)[0, 1], abs=1e-4)
    assert "alpha = " in record.notes[0]


def test_a_class_without_a_training_row_is_never_the_answer(tmp_path):
    """As a model with an output that nothing trains: the run is finished, and those rows are wrong."""
    task = write_task(tmp_path / "task", labels="words")
    rows = [json.loads(line) for line in (task.parent / "validation.jsonl").read_text().splitlines()]
    rows[:50] = [row | {"label": 2} for row in rows[:50]]
    path = task.parent / "validation.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = json.loads(task.read_text())
    manifest["labels"], manifest["splits"]["validation"]["sha256"] = ["no", "yes", "maybe"], sha256(path)
    task.write_text(json.dumps(manifest))
    record = run(tmp_path, task)
    answers = read_predictions(tmp_path)
    assert record.status == "ok" and {row["prediction"] for row in answers} == {"no", "yes"}
    assert record.metrics["accuracy"] == pytest.approx(np.mean([row["label"] == row["prediction"] for row in answers]))
    assert 0.65 < record.metrics["accuracy"] <= 0.75


def test_tfidf_answers_every_split(inputs, tmp_path):
    record = run(tmp_path, inputs["mnli"])
    expected = {"predictions.csv", *(f"predictions_{split}.csv" for split in ("validation_mismatched", "ax", "test"))}
    assert {path.name for path in tmp_path.iterdir()} == expected | {"run.json", "model"}
    rows = read_predictions(tmp_path, "predictions_validation_mismatched.csv")
    accuracy = np.mean([row["label"] == row["prediction"] for row in rows])
    assert record.metrics["mismatched.accuracy"] == pytest.approx(accuracy)
    assert record.metrics["official_validation_rows"] == 9_815 and record.glue == "mnli"
