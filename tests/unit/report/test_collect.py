"""`runs.csv` and `curves.csv` say what the records say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from report_experiment import SIZES, Builder, pretraining_metrics
from report_experiment import collected as collect_into

from electralab.records import read_record
from electralab.report.collect import CURVE_IDENTITY, RUN_COLUMNS
from electralab.report.runs import read_curves, read_runs


def collected(builder: Builder, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    runs, curves, _ = collect_into(builder, folder)
    return read_runs(runs).frame, read_curves(curves)


def test_every_record_is_a_row_in_order(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.whole_experiment()
    runs, _ = collected(builder, tmp_path)
    assert list(runs["record"]) == [str(path) for path in builder.records]
    assert tuple(runs.columns[: len(RUN_COLUMNS)]) == RUN_COLUMNS


def test_numbers_keep_full_precision(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    path = builder.pretrain(0.25, 1, mlm_loss=4.123456789012345)
    runs, _ = collected(builder, tmp_path)
    record, row = read_record(path), runs.iloc[0]
    for name, value in record.metrics.items():
        assert row[f"metric.{name}"] == value
    assert row["flops.electra_paper"] == record.cost.flops["electra_paper"]
    assert row["parameters.total"] == record.cost.parameters["total"]
    assert row["cost.tokens"] == record.cost.tokens


def test_a_row_says_what_the_run_was_told(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.pretrain(0.125, 0)
    builder.finetune("tiny-g12.5", "boolq", 2, 0.6)
    builder.finetune("tiny_random", "boolq", 2, 0.6, untrained=True)
    builder.baseline("boolq", 0.65)
    runs, _ = collected(builder, tmp_path)
    pretrain, finetune, untrained, baseline = runs.to_dict("records")
    assert (pretrain["generator_size"], pretrain["steps"], pretrain["sequence_length"]) == (0.125, 1400, 64)
    assert pretrain["extensions"] == "position_aware_init;unigram_warmup"
    assert (finetune["pretraining"], finetune["generator_size"]) == ("tiny", 0.125)
    assert (finetune["random_init"], untrained["random_init"]) == (False, True)
    assert pd.isna(untrained["generator_size"]) and untrained["hidden_size"] == 128
    assert (baseline["kind"], baseline["method"], baseline["preset"]) == ("tfidf", "tfidf", "constructed")


def test_failed_runs_stay_and_need_no_curve(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.pretrain(0.25, 0)
    builder.pretrain(1.0, 0, status="failed", curve=False)
    runs, curves = collected(builder, tmp_path)
    assert list(runs["status"]) == ["ok", "failed"]
    assert "NaN" in runs["reason"].iloc[1]
    assert set(curves["model"]) == {"tiny-g25"}


def test_curves_hold_every_evaluation_with_its_run(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.whole_experiment()
    _, curves = collected(builder, tmp_path)
    assert tuple(curves.columns[: len(CURVE_IDENTITY)]) == CURVE_IDENTITY
    assert set(curves["generator_size"]) == set(SIZES)
    last = curves[(curves["model"] == "tiny-g50") & (curves["seed"] == 1)].iloc[-1]
    assert last["step"] == 1400
    assert last["rtd_auc"] == pytest.approx(pretraining_metrics(0.5, 1)["rtd_auc"])


def test_no_pretraining_gives_empty_curves(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.baseline("boolq", 0.65)
    _, curves = collected(builder, tmp_path)
    assert curves.empty


def test_same_records_same_bytes(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.whole_experiment((0.25,))
    collected(builder, tmp_path)
    first = (tmp_path / "runs.csv").read_bytes()
    collected(builder, tmp_path)
    assert (tmp_path / "runs.csv").read_bytes() == first
