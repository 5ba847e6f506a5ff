"""Predictions written with class numbers and with label names are the same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from electralab.errors import UserError
from electralab.report.statistics.answers import class_numbers, read_answers


def written(path: Path, lines: str) -> Path:
    path.write_text(lines)
    return path


NAMED = "id,label,prediction,score_0,score_1\nb,yes,yes,0.2,0.8\na,yes,no,0.9,0.1\nc,no,no,0.5,0.5\n"


def test_names_and_numbers_are_the_same_answers(tmp_path: Path) -> None:
    named = read_answers(written(tmp_path / "named.csv", NAMED))
    numbered = read_answers(written(tmp_path / "numbers.csv", NAMED.replace("yes", "1").replace("no", "0")))
    assert named.ids.tolist() == numbered.ids.tolist() == ["a", "b", "c"]
    for run in (named, numbered):
        numbers = class_numbers([run])
        assert run.label_values(numbers).tolist() == [1, 1, 0]
        assert run.predicted_values(numbers).tolist() == [0, 1, 0]


def test_a_class_that_no_run_predicts_is_the_other_one(tmp_path: Path) -> None:
    constant = read_answers(written(tmp_path / "p.csv", "id,label,prediction,score_0,score_1\n0,no,yes,0.4,0.6\n"))
    assert class_numbers([constant]) == {"yes": 1, "no": 0}


def test_runs_of_a_task_tell_each_other_their_classes(tmp_path: Path) -> None:
    head = "id,label,prediction,score_0,score_1,score_2\n"
    narrow = read_answers(written(tmp_path / "a.csv", f"{head}0,c,b,.1,.8,.1\n1,a,b,.1,.8,.1\n"))
    wide = read_answers(written(tmp_path / "b.csv", f"{head}0,c,c,.1,.1,.8\n1,a,a,.8,.1,.1\n"))
    assert class_numbers([narrow, wide]) == {"a": 0, "b": 1, "c": 2}
    assert class_numbers([narrow], ["a", "b", "c"]) == {"a": 0, "b": 1, "c": 2}


def test_names_that_are_numbers_of_other_classes(tmp_path: Path) -> None:
    """A task may call its classes `1` and `0`, in this order."""
    run = read_answers(written(tmp_path / "p.csv", "id,label,prediction,score_0,score_1\n0,0,1,.9,.1\n1,1,0,.2,.8\n"))
    assert class_numbers([run]) == {"1": 0, "0": 1}


def test_regressions_stay_numbers(tmp_path: Path) -> None:
    run = read_answers(written(tmp_path / "p.csv", "id,label,prediction\n0,2.5,3.25\n"))
    assert (run.label_values(None).tolist(), run.predicted_values(None).tolist()) == ([2.5], [3.25])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "holds no row"),
        ("id,label,prediction\n", "holds no row"),
        ("id,label\n0,1\n", "has no 'prediction'"),
        ("id,label,prediction\n0,1,1\n1,0\n", "cut short"),
        ("id,label,prediction\n0,1,1\n0,1,1\n", "same id"),
        ("id,label,prediction,score_0,score_1\n0,a,a,x,1\n", "could not convert"),
        ("id,label,prediction,score_0,score_1\n0,a,a,.1,.9\n1,a,a,.9,.1\n", "not those with the largest scores"),
        ("id,label,prediction,score_0,score_1\n0,a,a,.1,.9\n1,a,b,.1,.9\n", "not those with the largest scores"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        read_answers(written(tmp_path / "predictions.csv", content))
    assert "\n" not in str(caught.value) and "predictions.csv is damaged" in str(caught.value)


def test_other_damage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing beside its run record"):
        read_answers(tmp_path / "predictions.csv")
    words = read_answers(written(tmp_path / "predictions.csv", "id,label,prediction\n0,yes,no\n"))
    with pytest.raises(UserError, match="no scores that say which class 'no' is"):
        class_numbers([words])
    with pytest.raises(UserError, match="could not convert"):
        words.label_values(None)
    one = read_answers(written(tmp_path / "a.csv", NAMED))
    other = read_answers(written(tmp_path / "b.csv", NAMED.replace("yes", "tmp").replace("no", "yes")))
    with pytest.raises(UserError, match="other numbers than those of other runs"):
        class_numbers([one, other])
    assert np.unique(one.ids).size == 3
