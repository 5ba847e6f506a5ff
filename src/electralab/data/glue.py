"""The nine GLUE tasks: columns, labels, metrics, and how many rows they have.

Class numbers are those of the hub data set `nyu-mll/glue`. Metrics: GLUE paper (Wang et al. 2019), table 1; the first
is the one that the ELECTRA paper reports (section 3.1: Spearman for STS, accuracy for MRPC and QQP).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from electralab.config import TableColumns
from electralab.data.example import Labels

LICENCE = "GLUE (gluebenchmark.com): the terms of the original data set apply"


@dataclass(frozen=True)
class Glue:
    """What GLUE fixes about a task."""

    layouts: tuple[TableColumns, ...]  # of the hub, then of the official files
    rows: dict[str, int]  # official rows by split
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    score_range: tuple[float, float] | None = None
    # The order of the two texts means nothing (google-research/electra, `double_unordered`: MRPC and STS-B).
    unordered: bool = False
    stems: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}
    )  # paths in the folder without suffix, by split
    hub: dict[str, str] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )  # split of the hub, by split

    @property
    def accepted(self) -> Labels:
        """Labels as words and as class numbers."""
        words = {label: number for number, label in enumerate(self.labels)}
        return Labels(words | {str(number): number for number in words.values()}, self.score_range)


def _rows(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


def _columns(text: str, pair: str | None = None, label: str = "label") -> TableColumns:
    return TableColumns(text=text, pair=pair, label=label)


_ENTAILMENT = ("entailment", "not_entailment")

GLUE = {
    "cola": Glue(
        (_columns("sentence"),),
        _rows(8_551, 1_043, 1_063),
        ("unacceptable", "acceptable"),
        metrics=("mcc", "accuracy"),
    ),
    "sst2": Glue((_columns("sentence"),), _rows(67_349, 872, 1_821), ("negative", "positive")),
    "mrpc": Glue(
        (_columns("sentence1", "sentence2"), _columns("#1 String", "#2 String", "Quality")),
        _rows(3_668, 408, 1_725),
        ("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1"),
        unordered=True,
        stems={"train": ("train",), "validation": ("validation", "dev"), "test": ("test", "msr_paraphrase_test")},
    ),
    "stsb": Glue(
        (_columns("sentence1", "sentence2"), _columns("sentence1", "sentence2", "score")),
        _rows(5_749, 1_500, 1_379),
        metrics=("spearman", "pearson"),
        score_range=(0.0, 5.0),
        unordered=True,
    ),
    "qqp": Glue(
        (_columns("question1", "question2"), _columns("question1", "question2", "is_duplicate")),
        _rows(363_846, 40_430, 390_965),
        ("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
    ),
    "mnli": Glue(
        (
            _columns("premise", "hypothesis"),
            _columns("sentence1", "sentence2", "gold_label"),
            _columns("Premise", "Hypothesis", "Label"),  # diagnostic-full.tsv
        ),
        {
            "train": 392_702,
            "validation": 9_815,
            "validation_mismatched": 9_832,
            "test": 9_796,
            "test_mismatched": 9_847,
            "ax": 1_104,
        },
        ("entailment", "neutral", "contradiction"),
        stems={
            "train": ("train",),
            "validation": ("validation", "validation_matched", "dev", "dev_matched"),
            "validation_mismatched": ("validation_mismatched", "dev_mismatched"),
            "test": ("test", "test_matched"),
            "test_mismatched": ("test_mismatched",),
            "ax": (
                "../diagnostic/diagnostic-full",  # with labels
                "../diagnostic/diagnostic",
                "../AX/test",
                "../AX/ax",
                "ax",
                "diagnostic-full",
                "diagnostic",
            ),
        },
        hub={
            "train": "train",
            "validation": "validation_matched",
            "validation_mismatched": "validation_mismatched",
            "test": "test_matched",
            "test_mismatched": "test_mismatched",
            "ax": "test",  # of the configuration `ax`
        },
    ),
    "qnli": Glue((_columns("question", "sentence"),), _rows(104_743, 5_463, 5_463), _ENTAILMENT),
    "rte": Glue((_columns("sentence1", "sentence2"),), _rows(2_490, 277, 3_000), _ENTAILMENT),
    "wnli": Glue((_columns("sentence1", "sentence2"),), _rows(635, 71, 146), _ENTAILMENT[::-1]),
}
