"""Answers read back from `predictions.csv`: the columns of scores name the classes, in their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from electralab.data.example import Example
from electralab.errors import UserError
from electralab.finetune.predictions import write_predictions
from electralab.report.statistics.answers import class_numbers, read_answers


def written(path: Path, lines: str) -> Path:
    path.write_text(lines)
    return path


NAMED = "id,label,prediction,score_no,score_yes\nb,yes,yes,0.2,0.8\na,yes,no,0.9,0.1\nc,no,no,0.5,0.5\n"


def test_classes_are_numbered_in_the_order_of_their_columns(tmp_path: Path) -> None:
    run = read_answers(written(tmp_path / "named.csv", NAMED))
    assert run.ids.tolist() == ["a", "b", "c"] and run.classes == ("no", "yes")
    numbers = class_numbers([run])
    assert run.label_values(numbers).tolist() == [1, 1, 0]
    assert run.predicted_values(numbers).tolist() == [0, 1, 0]
    labels, predictions = run.numbered(numbers)
    assert (labels.tolist(), predictions.tolist()) == ([1, 1, 0], [0, 1, 0])


def test_what_a_finetuning_writes_is_read_back(tmp_path: Path) -> None:
    """Names with commas, quotes, spaces and the prefix of the columns themselves."""
    classes = ["a, b", 'score_"x"', "2", "not a"]
    labels, given = [3, 0, 1, 2, 2], [3, 1, 1, 0, 2]
    examples = [Example(f"row {n}", "text", None, label) for n, label in enumerate(labels)]
    write_predictions(tmp_path / "predictions.csv", examples, np.log(np.eye(4)[given] * 0.9 + 0.025), classes)
    run = read_answers(tmp_path / "predictions.csv")
    assert run.classes == tuple(classes)
    numbers = class_numbers([run])
    assert (run.label_values(numbers).tolist(), run.predicted_values(numbers).tolist()) == (labels, given)


def test_a_class_that_nobody_has_or_is_given_keeps_its_number(tmp_path: Path) -> None:
    head = "id,label,prediction,score_a,score_b,score_c\n"
    narrow = read_answers(written(tmp_path / "a.csv", f"{head}0,c,c,.1,.1,.8\n1,c,a,.8,.1,.1\n"))
    wide = read_answers(written(tmp_path / "b.csv", f"{head}0,c,b,.1,.8,.1\n1,a,a,.8,.1,.1\n"))
    for runs in ([narrow], [narrow, wide]):
        assert class_numbers(runs) == {"a": 0, "b": 1, "c": 2}
    assert narrow.label_values(class_numbers([narrow])).tolist() == [2, 2]


def test_names_that_are_numbers_of_other_classes(tmp_path: Path) -> None:
    """A task may call its classes `1` and `0`, in this order."""
    run = read_answers(written(tmp_path / "p.csv", "id,label,prediction,score_1,score_0\n0,0,1,.9,.1\n1,1,0,.2,.8\n"))
    assert class_numbers([run]) == {"1": 0, "0": 1}
    assert run.label_values(class_numbers([run])).tolist() == [1, 0]


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
    with pytest.raises(UserError, match="'no' is none of its classes"):
        class_numbers([words])
    with pytest.raises(UserError, match="could not convert"):
        words.label_values(None)


@pytest.mark.parametrize("row", ["0,maybe,no,.9,.1", "0,no,maybe,.9,.1", "0,,no,.9,.1", "0,NO,no,.9,.1"])
def test_an_answer_or_label_that_is_no_class_is_refused(tmp_path: Path, row: str) -> None:
    run = read_answers(written(tmp_path / "p.csv", f"{NAMED}{row}\n"))
    with pytest.raises(UserError, match=r"p\.csv is damaged \('(maybe|NO|)' is none of its classes\)") as caught:
        class_numbers([run])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", ["score_yes,score_no", "score_no,score_maybe", "score_no,score_yes,score_maybe"])
def test_runs_of_a_task_have_the_same_classes(tmp_path: Path, head: str) -> None:
    one = read_answers(written(tmp_path / "a.csv", NAMED))
    other = f"id,label,prediction,{head}\na,no,no,.8,.1{',.1' * (head.count(',') - 1)}\n"
    with pytest.raises(UserError, match=r"b\.csv is damaged \(its classes are not those of .*a\.csv\)") as caught:
        class_numbers([one, read_answers(written(tmp_path / "b.csv", other))])
    assert "\n" not in str(caught.value)
