"""What GLUE asks of a run beyond classes and one split: scores, twins, MNLI's splits and the recipes."""

import json

import numpy as np
import pytest
from finetune_task import make_spec, read_predictions, run, write_task, write_tokenizer
from sklearn.metrics import accuracy_score

from electralab.config import FullFinetuning, LocalModel
from electralab.finetune.encoder.start import starting_encoder
from electralab.methods import full, tuning
from electralab.tokens.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("finetune")
    return {
        "tokenizer": write_tokenizer(root / "tokenizer"),
        "pairs": write_task(root / "pairs", pair=True),
        "scores": write_task(root / "scores", labels="scores"),
        "unrelated": write_task(root / "unrelated", labels="unrelated"),
        "score_pairs": write_task(root / "score_pairs", labels="scores", pair=True, unordered=True, glue="stsb"),
        "mnli": write_task(
            root / "mnli",
            pair=True,
            more=("validation_mismatched", "ax", "test"),
            official={"train": 392_702, "validation": 9_815},
            glue="mnli",
            metrics=["accuracy"],
            notes=["train: 400 of the official 392,702 rows"],
        ),
        "cola": write_task(root / "cola", labels="words", glue="cola", metrics=["mcc", "accuracy"]),
    }


@pytest.mark.parametrize("target", ["unit", "raw"])
def test_a_regression_is_learnt_and_answers_in_its_own_range(inputs, tmp_path, target):
    """Counting is easier from the mean of the hidden states than from one of them."""
    spec = make_spec(regression_target=target, pooling="mean", epochs=12)
    record = run(spec, inputs, tmp_path, "scores")
    rows = read_predictions(tmp_path)
    assert list(rows[0]) == ["id", "label", "prediction"]
    labels, predictions = ([float(row[name]) for row in rows] for name in ("label", "prediction"))
    assert record.metrics["pearson"] == pytest.approx(np.corrcoef(labels, predictions)[0, 1], abs=1e-4)
    assert record.metrics["score"] == record.metrics["spearman"] > 0.8
    assert np.mean(predictions) == pytest.approx(np.mean(labels), abs=0.5)
    assert record.metrics["loss"] < np.var(labels) / 2
    assert (record.primary_metric, record.metrics["degenerate"]) == ("spearman", 0.0)
    assert not {"accuracy", "majority_rate"} & set(record.metrics)


def test_a_regression_that_answers_one_number_is_flagged(inputs, tmp_path):
    """Where every text is the same, there is one answer."""
    record = run(make_spec(epochs=1), inputs, tmp_path, "unrelated")
    assert record.metrics["degenerate"] == 1.0
    assert record.metrics["score"] == record.metrics["pearson"] == 0.0
    assert "same number" in record.notes[-1]


@pytest.mark.parametrize(("task", "metric"), [("scores", "spearman"), ("cola", "mcc")])
def test_the_rate_is_chosen_by_the_score_of_the_task(inputs, tmp_path, task, metric):
    spec = make_spec(learning_rates=[1e-7, 1e-2], pooling="mean", epochs=10)
    record = run(spec, inputs, tmp_path, task)
    assert record.metrics["learning_rate"] == 1e-2
    assert record.metrics[f"tuning_{metric}_at_0.01"] > record.metrics[f"tuning_{metric}_at_1e-07"]
    assert f"chosen by {metric} on 40 training rows" in record.notes[0]


def test_every_split_of_mnli_is_answered_and_those_with_labels_are_scored(inputs, tmp_path):
    record = run(make_spec(recipe="huggingface", max_train_rows=320), inputs, tmp_path, "mnli")
    answered = {}
    for split in ("validation", "validation_mismatched", "ax", "test"):
        rows = read_predictions(tmp_path, "predictions.csv" if split == "validation" else f"predictions_{split}.csv")
        assert [row["id"] for row in rows] == [f"{split}-{number}" for number in range(200)]
        answered[split] = [row["label"] for row in rows], [row["prediction"] for row in rows]
    assert set(answered["test"][0]) == {""}
    metrics = record.metrics
    matched, mismatched = (accuracy_score(*answered[name]) for name in ("validation", "validation_mismatched"))
    assert metrics["score"] == metrics["accuracy"] == metrics["matched.accuracy"] == pytest.approx(matched)
    assert metrics["mismatched.accuracy"] == pytest.approx(mismatched)
    labels, predictions = (np.array([value == "yes" for value in column], float) for column in answered["ax"])
    assert metrics["ax.mcc"] == pytest.approx(np.corrcoef(labels, predictions)[0, 1])  # two classes: phi is Pearson's r
    expected = {"train_rows": 320, "official_train_rows": 392_702, "official_validation_rows": 9_815}
    assert {name: metrics[name] for name in expected} == expected
    assert (record.glue, record.recipe, record.spec["pretraining_recipe"]) == ("mnli", "huggingface", "paper")
    assert "train: 400 of the official 392,702 rows" in record.notes


def test_test_rows_are_left_alone_where_nobody_asks_for_their_answers(inputs, tmp_path):
    both = [
        run(make_spec(epochs=1, answer_test=asked), inputs, tmp_path / str(asked), "mnli") for asked in (True, False)
    ]
    scores = [{name: value for name, value in record.metrics.items() if "seconds" not in name} for record in both]
    assert scores[0] == scores[1]
    answered = [{path.name for path in (tmp_path / asked).glob("predictions*")} for asked in ("True", "False")]
    assert answered[0] - answered[1] == {"predictions_test.csv"}


def test_rc2020_scores_matched_and_mismatched_rows_together(inputs, tmp_path):
    record = run(make_spec(recipe="rc2020", epochs=1), inputs, tmp_path, "mnli")
    both = read_predictions(tmp_path) + read_predictions(tmp_path, "predictions_validation_mismatched.csv")
    assert record.metrics["score"] == pytest.approx(np.mean([row["label"] == row["prediction"] for row in both]))
    assert record.metrics["matched.accuracy"] == record.metrics["accuracy"]
    assert any("matched and the mismatched" in note for note in record.notes)


def test_unordered_pairs_are_read_both_ways_round_and_a_tuning_row_not_at_all(inputs, tmp_path, monkeypatch):
    """What a run trains on, seen where it enters the loop."""
    seen = []

    def spy(classifier, objective, examples, rows, *more):
        texts = [tuple(examples.tokens[slice(*examples.offsets[row : row + 2])].tolist()) for row in rows]
        firsts = [texts[n][1 : examples.first_lengths[row] - 1] for n, row in enumerate(rows)]
        seconds = [texts[n][examples.first_lengths[row] : -1] for n, row in enumerate(rows)]
        seen.append((list(zip(firsts, seconds)), examples, rows))
        return real(classifier, objective, examples, rows, *more)

    real = tuning.train_model
    monkeypatch.setattr(tuning, "train_model", spy)
    spec = make_spec(double_unordered=True, max_train_rows=100, learning_rates=[1e-3, 1e-2], epochs=1)
    record = run(spec, inputs, tmp_path, "score_pairs")
    pairs, examples, rows = seen[0]
    assert len(rows) == 180 and set(pairs) == {(second, first) for first, second in pairs}
    assert (record.metrics["train_rows"], record.metrics["tuning_rows"]) == (90, 10)
    tuned_on = set(range(100)) - set(rows.tolist())
    assert len(tuned_on) == 10 and not {row + 100 for row in tuned_on} & set(rows.tolist())
    assert examples.labels[:100].tolist() == examples.labels[100:].tolist()
    assert any("both ways round" in note for note in record.notes)

    seen.clear()  # the order of these pairs means something: nothing is doubled
    run(make_spec(double_unordered=True, max_train_rows=100, epochs=1), inputs, tmp_path, "pairs")
    assert len(seen[0][2]) == len(seen[0][1]) == 100


def test_a_downloaded_model_that_has_read_the_task_says_so(inputs, tmp_path, monkeypatch):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(
        json.dumps({"trained_on": {"mnli": "its training read MNLI", "qqp": "and QQP"}, "notes": ["a BERT"]})
    )
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "electra"}))
    downloaded = make_spec(epochs=1).model_copy(update={"downloaded": LocalModel(path=str(tmp_path))})
    untrained = starting_encoder(make_spec(), load_tokenizer(inputs["tokenizer"]), None)
    monkeypatch.setattr(full, "starting_encoder", lambda *_: untrained)
    record = run(downloaded, inputs, tmp_path, "mnli", model=manifest)
    assert "its training read MNLI" in record.notes and "and QQP" not in record.notes
    other = run(downloaded, inputs, tmp_path, "cola", model=manifest)
    assert "its training read MNLI" not in other.notes
    assert "a BERT" in record.notes and "a BERT" in other.notes


@pytest.mark.parametrize("name", ["google_code", "rc2020", "huggingface"])
def test_every_recipe_runs_as_it_is(inputs, tmp_path, name):
    """Their rates are too low for 400 rows to show that they learn; that each part of them works is shown elsewhere."""
    spec = make_spec().model_copy(update={"settings": FullFinetuning(recipe=name, max_length=24)})
    record = run(spec, inputs, tmp_path, "score_pairs")
    assert record.recipe == name
    assert -1 <= record.metrics["score"] <= 1 and np.isfinite(record.metrics["loss"])
