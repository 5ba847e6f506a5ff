"""Every metric twice: hand-computed fixtures, and on drawn inputs a second implementation."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from electralab.finetune.metrics import task_metrics

NAMES = ["accuracy", "f1"]
STS = (0.0, 5.0)


def log_probabilities(predictions, classes, confidence=0.9):
    rest = (1 - confidence) / (classes - 1)
    rows = [[confidence if c == prediction else rest for c in range(classes)] for prediction in predictions]
    return np.log(np.array(rows))


def of_classes(labels, predictions, classes, names=NAMES):
    return task_metrics(names, np.array(labels), log_probabilities(predictions, classes), None)


def of_scores(labels, predictions, names=("spearman", "pearson")):
    return task_metrics(names, np.array(labels, float), np.array(predictions, float), STS)


def test_hand_computed_binary_case():
    """3 true positives, 2 false positives, 1 false negative, 4 true negatives."""
    metrics = of_classes([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1, 0, 0, 0, 0], 2)
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert metrics["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert metrics["mcc"] == pytest.approx((3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5))
    assert metrics["majority_rate"] == pytest.approx(0.6)
    assert metrics["degenerate"] == 0.0
    assert metrics["loss"] == pytest.approx(-(7 * math.log(0.9) + 3 * math.log(0.1)) / 10)


def test_hand_computed_regression():
    """Deviations -2 -1 0 3 and -.5 -1.5 .5 1.5; ranks 1 2 3 4 and 2 1 3 4."""
    metrics = of_scores([0, 1, 2, 5], [2, 1, 3, 4])
    assert metrics["pearson"] == pytest.approx(
        (1 + 1.5 + 0 + 4.5) / math.sqrt((4 + 1 + 9) * (0.25 + 2.25 + 0.25 + 2.25))
    )
    assert metrics["spearman"] == pytest.approx(1 - 6 * (1 + 1) / (4 * (16 - 1)))
    assert metrics["loss"] == pytest.approx((4 + 0 + 1 + 1) / 4)
    assert metrics["degenerate"] == 0.0


def test_hand_computed_ranks_with_ties():
    """Ranks 1.5 1.5 3 and 1 2 3: deviations -.5 -.5 1 and -1 0 1."""
    assert of_scores([1, 1, 2], [0, 3, 4])["spearman"] == pytest.approx((0.5 + 1) / math.sqrt(1.5 * 2))


def test_more_than_two_classes_average_f1_over_classes():
    metrics = of_classes([0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2, 1], 3)
    # Class 0: F1 1; classes 1 and 2: one hit, one false positive, one miss each, F1 1/2.
    assert metrics["f1"] == pytest.approx((1 + 0.5 + 0.5) / 3)


@pytest.mark.parametrize("name", ["accuracy", "f1", "mcc"])
def test_the_score_is_the_first_metric(name):
    metrics = of_classes([1, 1, 0, 0, 0], [1, 0, 0, 0, 1], 2, [name, "accuracy"])
    assert metrics["score"] == metrics[name]
    assert of_scores([0, 1, 2, 5], [2, 1, 3, 4], ["pearson"])["score"] == pytest.approx(7 / math.sqrt(70))
    assert of_scores([0, 1, 2, 5], [2, 1, 3, 4], ["spearman"])["score"] == pytest.approx(0.8)


classes_and_rows = st.integers(2, 4).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=40),
    )
)


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(classes_and_rows)
def test_classification_is_that_of_scikit_learn(drawn):
    classes, rows = drawn
    labels, predictions = zip(*rows)
    metrics = of_classes(labels, predictions, classes)
    average = "binary" if classes == 2 else "macro"
    expected = {
        "accuracy": accuracy_score(labels, predictions),
        "f1": f1_score(labels, predictions, average=average, zero_division=0),
        "f1_weighted": f1_score(labels, predictions, average="weighted", zero_division=0),
        "mcc": matthews_corrcoef(labels, predictions),
        "majority_rate": accuracy_score(labels, [max(labels, key=labels.count)] * len(labels)),
        "degenerate": float(len(set(predictions)) == 1),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def average_ranks(values):
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


scores = st.integers(0, 50).map(lambda tenths: tenths / 10)


@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=40))
def test_correlations_are_numpys_and_spearman_is_pearson_over_ranks(rows):
    labels, predictions = zip(*rows)
    assume(len(set(labels)) > 1 and len(set(predictions)) > 1)
    metrics = of_scores(labels, predictions)
    assert metrics["pearson"] == pytest.approx(np.corrcoef(labels, predictions)[0, 1], abs=1e-9)
    ranks = average_ranks(labels), average_ranks(predictions)
    assert metrics["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)
    assert metrics["loss"] == pytest.approx(np.mean([(a - b) ** 2 for a, b in rows]))
    assert metrics["degenerate"] == 0.0


def test_one_class_answers_are_flagged_and_score_the_majority_rate():
    labels = [1] * 279 + [0] * 129  # MRPC's dev set: .6838 accuracy, .8122 F1 for always "equivalent"
    metrics = of_classes(labels, [1] * 408, 2)
    assert metrics["degenerate"] == 1.0
    assert metrics["accuracy"] == metrics["majority_rate"] == pytest.approx(0.6838, abs=5e-5)
    assert metrics["f1"] == pytest.approx(0.8122, abs=5e-5)
    assert metrics["mcc"] == 0.0


finite = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(scores, finite), min_size=1, max_size=20))
def test_a_correlation_is_never_nan_and_always_in_range(rows):
    metrics = of_scores(*zip(*rows))
    assert all(-1 - 1e-9 <= metrics[name] <= 1 + 1e-9 for name in ("pearson", "spearman", "score"))
    assert metrics["degenerate"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([0, 1, 5], [2.5, 2.5, 2.5]), ([3, 3, 3], [1, 2, 3]), ([0, 1, 5], [1, 1.004, 1.002]), ([2], [2])],
    ids=["constant answers", "constant labels", "a spread of less than a thousandth", "one row"],
)
def test_a_constant_is_degenerate(labels, predictions):
    metrics = of_scores(labels, predictions)
    assert metrics["degenerate"] == 1.0
    if len(set(labels)) == 1 or len(set(predictions)) == 1:
        assert metrics["pearson"] == metrics["spearman"] == metrics["score"] == 0.0


def test_a_spread_of_just_over_a_thousandth_is_not_degenerate():
    assert of_scores([0, 1, 5], [1, 1.002, 1.006])["degenerate"] == 0.0
