"""Table and figure `search`, on constructed trials."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pandas as pd
import pytest
from report_experiment import PUBLISHED, Builder, collected, searches
from report_made import check_files

from electralab.errors import UserError
from electralab.report.figures import make_figure
from electralab.report.figures.search import search as search_figure
from electralab.report.figures.style import house_style
from electralab.report.runs import read_searches
from electralab.report.tables import make_table

HEAD = "search,trial,status,score,seconds,seed,param.rank,importance.rank\n"


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Runs, curves and comparisons of an experiment whose only fine-tuning is not of a search."""
    builder = Builder(tmp_path / "artifacts")
    builder.finetune("minilm", "boolq", 0, 0.6, hub="x/y")
    return collected(builder, tmp_path)


def made(inputs: tuple[Path, Path, Path], trials: Path | None) -> tuple[pd.DataFrame, str]:
    csv, markdown = (inputs[0].with_name(f"t.{suffix}") for suffix in ("csv", "md"))
    make_table("search", inputs[0], inputs[2], PUBLISHED, csv, markdown, trials)
    return pd.read_csv(csv), markdown.read_text()


def test_best_trials_first_with_the_median_and_the_warning(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    frame, text = made(inputs, searches(tmp_path))
    own = frame[frame["search"] == "sweep"]
    assert list(own["trial"]) == [3, 5, 6, 0, 1, 2, 4]
    assert list(own["place"].dropna()) == [1, 2, 3, 4, 5]
    assert list(own["param.rank"])[:2] == [16, 32]
    scores = [0.70, 0.68, 0.74, 0.74, 0.71]
    overview = next(line for line in text.splitlines() if line.startswith("| sweep"))
    assert [cell.strip() for cell in overview.split("|")][2:10] == [
        *("7", "5", "1", "1"),
        *("0.740", "3", f"{median(scores):.3f}", "0.680"),
    ]
    assert "| 1 | 3 | 0.740 | 61.0 | 0.0005 | 16 | cosine |" in text
    assert "chosen among the trials on the rows that it is scored on" in text


def test_failed_and_pruned_trials_are_listed_and_in_no_median(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    frame, text = made(inputs, searches(tmp_path))
    assert "- sweep: failed, and in no median: trial 2." in text
    assert "- sweep: stopped early, and in no median: trial 4." in text
    assert frame.loc[frame["status"] != "ok", "place"].isna().all()


def test_importances_are_shown_largest_first(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, text = made(inputs, searches(tmp_path))
    section = text.split("importance of the options\n")[1]
    assert [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")][2:5] == [
        "learning_rate",
        "rank",
        "schedule",
    ]
    assert "| learning_rate | 60.0 |" in section and "importances from 5 trials of 3 options are rough" in text


def test_a_search_without_a_finished_trial_still_has_its_line(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, text = made(inputs, searches(tmp_path))
    assert "| small | 1 | 0 | 0 | 1 | – | – | – | – |" in text
    assert "- small: no trial is finished." in text and "small: best trials" not in text


def test_one_seed_for_all_trials_is_said(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, text = made(inputs, searches(tmp_path))
    assert "sweep: every trial has seed 0" in text and "small: every trial" not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "name it with --searches"),
        (HEAD, "has no trial"),
        ("", "is damaged"),
        ("search,trial\na,1\n", "lacks the columns status"),
    ],
)
def test_missing_and_damaged_trials_are_one_line(
    inputs: tuple[Path, Path, Path], tmp_path: Path, content: str | None, words: str
) -> None:
    path = None if content is None else tmp_path / "searches.csv"
    if path is not None and content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        made(inputs, path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=words):
        make_figure("search", inputs[0], inputs[1], PUBLISHED, tmp_path / "f.svg", tmp_path / "f.png", path)
    assert not (tmp_path / "t.csv").exists() and not (tmp_path / "f.svg").exists()


def test_figure_has_every_trial_the_best_so_far_and_the_importances(tmp_path: Path) -> None:
    with house_style():
        figure = search_figure(read_searches(searches(tmp_path)))
    left, right, empty, unknown = figure.axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in left.lines}
    assert lines["trial"] == ([0, 1, 3, 5, 6], [0.70, 0.68, 0.74, 0.74, 0.71])
    assert lines["best so far"] == ([0, 1, 3, 5, 6], [0.70, 0.70, 0.74, 0.74, 0.74])
    assert lines["pruned: its last score"] == ([4], [0.60])
    assert lines["failed or pruned, no score"][0] == [2]
    assert [bar.get_width() for bar in right.patches] == [0.6, 0.3, 0.1]
    assert [text.get_text() for text in right.get_yticklabels()] == ["learning_rate", "rank", "schedule"]
    assert [text.get_text() for text in empty.texts] == ["no finished trial"]
    assert [text.get_text() for text in unknown.texts] == ["not known"]


def test_files_are_deterministic_and_not_blank(inputs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    check_files("search", inputs[0], inputs[1], searches(tmp_path))
