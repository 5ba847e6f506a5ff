"""`comparisons.csv` from constructed runs, against differences computed by hand from their answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_experiment import Builder, write_answers
from scipy import stats
from two_way import half_by_hand

from electralab.config import Lora
from electralab.errors import UserError
from electralab.names import NO_MODEL
from electralab.records import read_record, write_record
from electralab.report.statistics.comparisons import (
    COMPARISON_COLUMNS,
    Arm,
    Comparisons,
    compare,
    read_comparisons,
)


def compared(builder: Builder) -> Comparisons:
    return Comparisons(compare({path: read_record(path) for path in builder.records}))


def answers(gold: np.ndarray, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return gold, np.where(np.random.default_rng(seed).random(len(gold)) < right, gold, 1 - gold)


def arm(model: str, method: str = "full") -> Arm:
    return Arm(model, method)


@pytest.fixture
def gold() -> np.ndarray:
    return np.random.default_rng(0).integers(2, size=400)


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "artifacts")


def test_every_two_arms_are_compared_on_their_common_seeds(builder: Builder, gold: np.ndarray) -> None:
    right: dict[tuple[str, int], np.ndarray] = {}
    for seed in (0, 1, 2):
        for method, share in (("full", 0.9), ("lora", 0.8)):
            given = answers(gold, share, 10 * len(method) + seed)
            right[method, seed] = (given[1] == gold).astype(float)
            builder.finetune("tiny-g25", "boolq", seed, share, method=method, predictions=given)
    for seed in (1, 2, 3):
        given = answers(gold, 0.6, seed)
        right["random", seed] = (given[1] == gold).astype(float)
        builder.finetune("tiny_random", "boolq", seed, 0.6, untrained=True, predictions=given)
    found = compared(builder)
    assert len(found.frame) == 3 and list(found.frame.columns) == list(COMPARISON_COLUMNS)
    for one, other, seeds in (("full", "lora", (0, 1, 2)), ("full", "random", (1, 2)), ("lora", "random", (1, 2))):
        a, b = (np.array([right[name, seed] for seed in seeds]) for name in (one, other))
        second = arm("tiny_random") if other == "random" else arm("tiny-g25", other)
        d = found.difference("boolq", arm("tiny-g25", one), second)
        assert d is not None and d.low is not None and d.high is not None
        assert (d.seeds, d.rows) == (len(seeds), 400)
        assert (d.a, d.b, d.mean) == pytest.approx((a.mean(), b.mean(), (a - b).mean()))
        assert (d.high - d.low) / 2 == pytest.approx(half_by_hand(a, b))
        assert found.difference("boolq", second, arm("tiny-g25", one)) == d.flipped()
    assert found.difference("boolq", arm("tiny-g25"), arm("other")) is None
    assert found.difference("movie_sentiment", arm("tiny-g25"), arm("tiny_random")) is None


def test_a_file_says_the_same(builder: Builder, gold: np.ndarray, tmp_path: Path) -> None:
    for seed in (0, 1):
        for model in ("tiny-g25", "tiny-g50"):
            builder.finetune(model, "boolq", seed, 0.7, predictions=answers(gold, 0.7, 9 * seed + len(model)))
    builder.finetune("tiny-g75", "boolq", 0, 0.7, predictions=answers(gold, 0.7, 5))
    made = compared(builder)
    path = tmp_path / "comparisons.csv"
    made.frame.convert_dtypes().to_csv(path, index=False)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("checksums.json").write_text(json.dumps({path.name: checksum}))
    read = read_comparisons(path)
    for one, other in (("tiny-g25", "tiny-g50"), ("tiny-g50", "tiny-g75")):
        assert read.difference("boolq", arm(one), arm(other)) == made.difference("boolq", arm(one), arm(other))
    single = read.difference("boolq", arm("tiny-g75"), arm("tiny-g25"))
    assert single is not None and (single.seeds, single.low, single.verdict) == (1, None, "unknown")


def test_a_baseline_stands_beside_every_seed(builder: Builder, gold: np.ndarray) -> None:
    given = [answers(gold, 0.6, seed) for seed in (0, 1, 2)]
    for seed in (0, 1, 2):
        builder.finetune("tiny-g25", "boolq", seed, 0.6, predictions=given[seed])
    path = builder.baseline("boolq", 0.8)
    write_answers(path.with_name("predictions.csv"), *answers(gold, 0.8, 99))
    found = compared(builder).difference("boolq", arm(NO_MODEL, "tfidf"), arm("tiny-g25"))
    assert found is not None and found.low is not None and found.high is not None
    own = np.array([(predicted == gold).astype(float) for _, predicted in given])
    theirs = np.repeat([(answers(gold, 0.8, 99)[1] == gold).astype(float)], 3, axis=0)
    assert (found.seeds, found.mean) == (3, pytest.approx(theirs.mean() - own.mean()))
    assert (found.high - found.low) / 2 == pytest.approx(half_by_hand(theirs, own))


def test_arms_of_different_rows_are_compared_on_those_they_share(builder: Builder, gold: np.ndarray) -> None:
    """A prompt is scored on a sample, which stands in another order."""
    whole = {seed: answers(gold, 0.8, seed) for seed in (0, 1)}
    part = {seed: answers(gold, 0.7, 7 + seed) for seed in (0, 1)}
    rows = np.random.default_rng(1).permutation(400)[:50]
    for seed in (0, 1):
        builder.finetune("tiny-g25", "boolq", seed, 0.8, predictions=whole[seed])
        path = builder.finetune("tiny-g25", "boolq", seed, 0.7, method="asked", predictions=part[seed])
        path = path.with_name("predictions.csv")
        frame = pd.read_csv(path)
        frame.iloc[rows].to_csv(path, index=False)
    found = compared(builder).difference("boolq", arm("tiny-g25"), arm("tiny-g25", "asked"))
    assert found is not None and found.rows == 50
    a, b = (np.array([(of[seed][1] == gold)[rows].astype(float) for seed in (0, 1)]) for of in (whole, part))
    assert (found.a, found.b) == pytest.approx((a.mean(), b.mean()))
    assert found.high is not None and found.high - found.mean == pytest.approx(half_by_hand(a, b))


def test_scores_of_other_metrics(builder: Builder) -> None:
    generator = np.random.default_rng(0)
    gold = generator.normal(size=100).round(1)
    given = {(m, s): gold + generator.normal(size=100) for m in ("tiny-g25", "tiny-g50") for s in (0, 1)}
    for (model, seed), predictions in given.items():
        builder.finetune(model, "stsb", seed, 0.7, glue="stsb", predictions=(gold, predictions))
    found = compared(builder)
    assert found.frame["metric"].tolist() == ["spearman"]
    expected = [np.mean([stats.spearmanr(gold, given[m, s])[0] for s in (0, 1)]) for m in ("tiny-g25", "tiny-g50")]
    assert found.frame[["a", "b"]].to_numpy().tolist()[0] == pytest.approx(expected)


def test_what_is_not_compared(builder: Builder, gold: np.ndarray) -> None:
    given = answers(gold, 0.7, 0)
    builder.finetune("tiny_random", "boolq", 0, 0.6, untrained=True, predictions=given)
    builder.finetune("tiny-g25", "boolq", 1, 0.6, predictions=given)
    builder.finetune("tiny-g50", "boolq", 0, 0.6, status="failed", predictions=given)
    without = builder.finetune("tiny-g75", "boolq", 0, 0.6)
    write_record(without, read_record(without).model_copy(update={"predictions": None}))
    builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "movie_sentiment", 0, 0.6, predictions=given)
    path = builder.finetune("tiny-g75", "movie_sentiment", 0, 0.6, predictions=given).with_name("predictions.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(f"other-{line}" for line in lines[1:])]) + "\n")
    assert compared(builder).frame.empty


def test_names_of_classes_give_the_same_row_and_other_classes_none(builder: Builder, gold: np.ndarray) -> None:
    given = {(m, s): answers(gold, 0.7, 5 * s + len(m)) for m in ("tiny-g25", "tiny-g100") for s in (0, 1)}
    for (model, seed), told in given.items():
        builder.finetune(model, "boolq", seed, 0.6, predictions=told)
    before = compared(builder).frame
    files = [path.with_name("predictions.csv") for path in builder.records]
    for file, told in zip(files, given.values()):
        write_answers(file, *told, classes=["no", "yes"])
    pd.testing.assert_frame_equal(compared(builder).frame, before)
    write_answers(files[1], *given["tiny-g25", 1], classes=["yes", "no"])
    with pytest.raises(UserError, match="its classes are not those of") as caught:
        compared(builder)
    assert "\n" not in str(caught.value) and str(files[1]) in str(caught.value)


def test_other_labels_for_the_same_rows_are_refused(builder: Builder, gold: np.ndarray) -> None:
    builder.finetune("tiny-g25", "boolq", 0, 0.6, predictions=answers(gold, 0.7, 0))
    path = builder.finetune("tiny-g50", "boolq", 0, 0.6, predictions=answers(1 - gold, 0.7, 0))
    with pytest.raises(UserError, match="other labels for the same validation rows") as caught:
        compared(builder)
    assert "\n" not in str(caught.value) and str(path.parent) in str(caught.value)


def test_lora_against_full_is_a_row(builder: Builder, gold: np.ndarray) -> None:
    for seed in (0, 1):
        builder.finetune("minilm", "boolq", seed, 0.7, predictions=answers(gold, 0.7, seed))
        builder.adapter("minilm", "boolq", seed, 0.7, Lora(rank=8), predictions=answers(gold, 0.7, 3 + seed))
    assert compared(builder).difference("boolq", arm("minilm", "lora"), arm("minilm")) is not None
