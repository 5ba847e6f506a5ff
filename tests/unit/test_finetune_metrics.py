"""Metrics against hand-computed values, and their definitions."""

import math

import numpy as np
import pytest

from electralab.finetune.metrics import classification_metrics


def log_probabilities(predictions, classes, confidence=0.9):
    rest = (1 - confidence) / (classes - 1)
    rows = [[confidence if c == prediction else rest for c in range(classes)] for prediction in predictions]
    return np.log(np.array(rows))


def test_hand_computed_binary_case():
    """3 true positives, 2 false positives, 1 false negative, 4 true negatives."""
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    predictions = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    metrics = classification_metrics(labels, log_probabilities(predictions, 2))
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert metrics["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert metrics["mcc"] == pytest.approx((3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5))
    assert metrics["majority_rate"] == pytest.approx(0.6)
    assert metrics["majority_class"] == 0.0
    assert metrics["loss"] == pytest.approx(-(7 * math.log(0.9) + 3 * math.log(0.1)) / 10)


def test_one_class_answers_are_flagged_and_score_the_majority_rate():
    labels = np.array([1] * 279 + [0] * 129)  # MRPC's dev set: .6838 accuracy, .8122 F1 for always "equivalent"
    metrics = classification_metrics(labels, log_probabilities([1] * 408, 2))
    assert metrics["majority_class"] == 1.0
    assert metrics["accuracy"] == metrics["majority_rate"] == pytest.approx(0.6838, abs=5e-5)
    assert metrics["f1"] == pytest.approx(0.8122, abs=5e-5)
    assert metrics["mcc"] == 0.0


def test_more_than_two_classes_average_f1_over_classes():
    labels = np.array([0, 0, 1, 1, 2, 2])
    metrics = classification_metrics(labels, log_probabilities([0, 0, 1, 2, 2, 1], 3))
    # Class 0: F1 1; classes 1 and 2: one hit, one false positive, one miss each, F1 1/2.
    assert metrics["f1"] == pytest.approx((1 + 0.5 + 0.5) / 3)
