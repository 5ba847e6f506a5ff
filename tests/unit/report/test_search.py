"""Table and figure `search`, on constructed trials."""

from __future__ import annotations

from statistics import median

import pytest
from report_experiment import SEARCHES, Builder, collected
from report_made import Made, check_files
from report_made import drawn as figure_of

from electralab.errors import UserError
from electralab.report.figures.style import house_style
from electralab.report.make import make_figure, make_table

HEAD = (
    "search,trial,status,score,seconds,seed,validation_score,validation_rows,overlap_rows,param.rank,importance.rank\n"
)


@pytest.fixture
def tuned(builder: Builder) -> Builder:
    """An experiment whose only fine-tuning is not of a search."""
    builder.finetune("minilm", "boolq", 0, 0.6, hub="x/y")
    return builder


@pytest.fixture
def made(tuned: Builder) -> Made:
    return Made(tuned, "search", searches=SEARCHES)


def test_best_trials_first_with_the_median_and_the_warning(made: Made) -> None:
    frame, text = made.frame, made.text
    own = frame[frame["search"] == "sweep"]
    assert list(own["trial"]) == [3, 5, 6, 0, 1, 2, 4]
    assert list(own["place"].dropna()) == [1, 2, 3, 4, 5]
    assert list(own["param.rank"])[:2] == [16, 32]
    scores = [0.70, 0.68, 0.74, 0.74, 0.71]
    overview = next(line for line in text.splitlines() if line.startswith("| sweep"))
    assert [cell.strip() for cell in overview.split("|")][2:9] == [
        *("7", "5", "1", "1"),
        *("0.740", f"{median(scores):.3f}", "0.715"),
    ]
    assert made.note(
        "**sweep:** best 0.740 on tuning rows with learning_rate 0.0005, rank 16, schedule cosine; median of 5 0.710; "
        "the best run once more: 0.715 on the validation rows (1,000 rows, 12 of them also training "
        "rows)."
    )
    assert "| 3 | 0.740 | 61.0 | 0.0005 | 16 | cosine |" in text
    assert "scored on the validation rows, which chose nothing" in text


def test_failed_and_pruned_trials_are_listed_and_in_no_median(made: Made) -> None:
    frame, text = made.frame, made.text
    assert "- Failed, and in no median: sweep trial 2; small trial 0." in text
    assert "- Stopped early, and in no median: sweep trial 4." in text
    assert frame.loc[frame["status"] != "ok", "place"].isna().all()


def test_importances_are_shown_largest_first(made: Made) -> None:
    text = made.text
    section = text.split("importance of the options\n")[1]
    assert [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")][2:5] == [
        "learning_rate",
        "rank",
        "schedule",
    ]
    assert "| learning_rate | 60.0 |" in section and "Importances are rough: sweep (5 trials of 3 options)" in text


def test_a_search_without_a_finished_trial_still_has_its_line(made: Made) -> None:
    text = made.text
    assert "| small | 1 | 0 | 0 | 1 | – | – | – |" in text
    assert "- **small:** no trial is finished." in text and "small: best trials" not in text


def test_one_seed_for_all_trials_is_said(made: Made) -> None:
    text = made.text
    assert "One seed for all trials (sweep seed 0)" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEAD, "no trial of a search"),
        ("\n", "is damaged"),
        ("search,trial\na,1\n", "lacks the columns status"),
    ],
)
def test_missing_and_damaged_trials_are_one_line(tuned: Builder, content: str, words: str) -> None:
    results = collected(tuned, searches=content)
    for make, name in ((make_table, "t"), (make_figure, "f")):
        with pytest.raises(UserError, match=words) as caught:
            make("search", results, results.folder / name)
        assert "\n" not in str(caught.value)
    assert not list(results.folder.glob("[tf].*"))


def test_figure_has_every_trial_the_best_so_far_and_the_importances(tuned: Builder) -> None:
    with house_style():
        figure = figure_of("search", collected(tuned, searches=SEARCHES))
    left, right, empty, unknown = figure.axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in left.lines}
    assert lines["trial"] == ([0, 1, 3, 5, 6], [0.70, 0.68, 0.74, 0.74, 0.71])
    assert lines["best so far"] == ([0, 1, 3, 5, 6], [0.70, 0.70, 0.74, 0.74, 0.74])
    assert lines["pruned: its last score"] == ([4], [0.60])
    assert lines["the best on validation rows"] == ([3], [0.715])
    assert lines["failed or pruned, no score"][0] == [2]
    assert [bar.get_width() for bar in right.patches] == [0.6, 0.3, 0.1]
    assert [text.get_text() for text in right.get_yticklabels()] == ["learning_rate", "rank", "schedule"]
    assert [text.get_text() for text in empty.texts] == ["no finished trial"]
    assert [text.get_text() for text in unknown.texts] == ["not known"]


def test_files_are_deterministic_and_not_blank(tuned: Builder) -> None:
    check_files("search", collected(tuned, searches=SEARCHES))
