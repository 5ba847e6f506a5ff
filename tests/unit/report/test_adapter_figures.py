"""Figures `adapters` and `lora_grid`, on constructed runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_adapters_experiment import adapters_and_prompts
from report_experiment import MINILM, Builder, collected
from report_made import check_files, check_layout
from report_made import drawn as figure_of
from scipy import stats

from electralab.config import (
    FullFinetuning,
    InContext,
    Lora,
)
from electralab.report.figures.style import house_style


def draw(name: str, builder: Builder) -> Figure:
    with house_style():
        return figure_of(name, collected(builder))


def points(panel: Any) -> dict[str, tuple[float, str]]:
    """Points by method: score and face colour."""
    names = {int(place): text.get_text() for place, text in zip(panel.get_yticks(), panel.get_yticklabels())}
    lines = [line for line in panel.lines if line.get_marker() == "o"]
    return {names[int(line.get_ydata()[0])]: (float(line.get_xdata()[0]), line.get_markerfacecolor()) for line in lines}


def test_figure_has_every_point_line_and_interval(study: Builder) -> None:
    study.baseline("movie_sentiment", 0.72)
    figure = draw("adapters", study)
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes}
    assert set(panels) == {"movie_sentiment, minilm", "boolq, minilm"}
    panel = panels["movie_sentiment, minilm"]
    found = points(panel)
    assert {name: score for name, (score, _) in found.items()} == pytest.approx(
        {"full": 0.80, "linear_probe": 0.70, "lora": 0.79, "dora": 0.792, "qlora": 0.78, "qlora_published": 0.55}
        | {"in_context": 0.68},
        abs=1e-3,
    )
    assert {name for name, (_, face) in found.items() if face == "white"} == {"qlora_published"}
    lines = {line.get_label(): line.get_xdata()[0] for line in panel.lines}
    assert (lines["majority class"], lines["TF-IDF + linear model"]) == (0.55, 0.72)
    assert lines["full fine-tuning"] == pytest.approx(found["full"][0])
    assert "TF-IDF + linear model" not in {line.get_label() for line in panels["boolq, minilm"].lines}
    assert [text.get_text() for text in panel.texts] == ["1M", "386", "12.4k", "12.7k", "12.4k", "12.4k", "none"]
    values = [0.79, 0.795, 0.786]
    low, high = stats.t.interval(0.95, 2, fmean(values), stats.sem(values))
    bars = [line.get_xdata() for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert any(bar == pytest.approx([low, high]) for bar in map(list, bars))


def test_prompts_have_a_thin_bar_of_their_rows_and_no_seed_bar_with_one_run(builder: Builder) -> None:
    builder.adapter("smol", "boolq", 0, 0.6, InContext(shots=4), hub="x/s", rows=200)
    panel = draw("adapters", builder).axes[0]
    (bar,) = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    low, high = stats.binomtest(120, 200).proportion_ci(method="wilson")
    assert list(bar.get_xdata()) == pytest.approx([low, high]) and bar.get_linewidth() < 1


def test_grid_figure_has_means_and_white_cells(builder: Builder) -> None:
    builder.lora_grid()
    panel = draw("lora_grid", builder).axes[0]
    shown = np.ma.asarray(panel.images[0].get_array())
    expected = [[0.728, np.nan], [0.748, 0.772], [np.nan, 0.812]]
    assert shown.filled(np.nan) == pytest.approx(np.array(expected) + 0.002 / 3, nan_ok=True)
    assert [text.get_text() for text in panel.get_yticklabels()] == ["4", "16", "64"]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["8", "32"]
    texts = [text.get_text() for text in panel.texts]
    assert len(texts) == 4 and texts[0].startswith("0.729\n±0.0") and texts[0].endswith("n=3")


def many_grids(builder: Builder) -> None:
    for task in ("movie_sentiment", "boolq", "policy_qa"):
        builder.lora_grid(task)


def wide_grid(builder: Builder) -> None:
    for rank, alpha in itertools.product((4, 8, 16, 32, 64, 128), (4, 8, 16, 32, 64, 128, 256)):
        for seed in (0, 1):
            settings = Lora(rank=rank, alpha=alpha)
            method = f"g_rank{rank}_alpha{alpha}"
            builder.adapter("minilm", "boolq", seed, 0.6 + seed / 99, settings, method=method, hub=MINILM)


def twelve_methods(builder: Builder) -> None:
    builder.adapter_study()
    for index in range(12):
        settings = Lora(rank=2 ** (index + 1))
        known = {"method": f"method_{index}", "trained": 100 * 3**index, "hub": MINILM}
        builder.adapter("minilm", "boolq", 0, 0.5 + index / 50, settings, **known)
    builder.finetune("other", "boolq", 0, 0.7, hub="x/other", settings=FullFinetuning(), method="full")
    builder.adapter("other", "boolq", 0, 0.69, Lora(), hub="x/other")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adapters", Builder.adapter_study),
        ("adapters", twelve_methods),
        ("adapters", adapters_and_prompts),
        ("lora_grid", Builder.lora_grid),
        ("lora_grid", many_grids),
        ("lora_grid", wide_grid),
    ],
)
def test_nothing_is_clipped_and_nothing_overlaps(builder: Builder, name: str, make: Callable[[Builder], None]) -> None:
    make(builder)
    with house_style():
        check_layout(figure_of(name, collected(builder)))


@pytest.mark.parametrize("name", ["adapters", "lora_grid"])
def test_files_are_deterministic_and_not_blank(study: Builder, name: str) -> None:
    study.lora_grid()
    check_files(name, collected(study))
