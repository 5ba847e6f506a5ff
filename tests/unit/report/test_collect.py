"""`runs.csv` and `curves.csv` say what the records say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_experiment import SIZES, Builder, pretraining_metrics
from report_experiment import collected as collect_into

from electralab.catalogue import DETAILS
from electralab.config import FullFinetuning
from electralab.records import read_record
from electralab.report.details.curves import RUN
from electralab.report.flatten import RUN_COLUMNS


def collected(builder: Builder) -> tuple[pd.DataFrame, pd.DataFrame]:
    results = collect_into(builder)
    return results.runs.frame, results.detail("curves")


def test_every_record_is_a_row_in_order(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.whole_experiment()
    runs, _ = collected(builder)
    assert list(runs["record"]) == [str(path) for path in builder.records]
    assert tuple(runs.columns[: len(RUN_COLUMNS)]) == RUN_COLUMNS


def test_numbers_keep_full_precision(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    path = builder.pretrain(0.25, 1, mlm_loss=4.123456789012345)
    runs, _ = collected(builder)
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
    runs, _ = collected(builder)
    pretrain, finetune, untrained, baseline = runs.to_dict("records")
    assert (pretrain["generator_size"], pretrain["spec.settings.steps"], pretrain["spec.settings.sequence_length"]) == (
        0.125,
        1400,
        64,
    )
    assert pretrain["extensions"] == "position_aware_init;unigram_warmup"
    assert (finetune["pretraining"], finetune["generator_size"]) == ("tiny", 0.125)
    assert (finetune["random_init"], untrained["random_init"]) == (False, True)
    assert pd.isna(untrained["generator_size"]) and untrained["spec.random_init.shape.hidden_size"] == 128
    assert (baseline["kind"], baseline["method"], baseline["preset"]) == ("tfidf", "tfidf", "constructed")


def test_failed_runs_stay_and_need_no_curve(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.pretrain(0.25, 0)
    builder.pretrain(1.0, 0, status="failed", curve=False)
    runs, curves = collected(builder)
    assert list(runs["status"]) == ["ok", "failed"]
    assert "NaN" in runs["reason"].iloc[1]
    assert set(curves["model"]) == {"tiny-g25"}


def test_curves_hold_every_evaluation_with_its_run(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.whole_experiment()
    _, curves = collected(builder)
    assert tuple(curves.columns[: len(RUN)]) == RUN
    assert set(curves["generator_size"]) == set(SIZES)
    last = curves[(curves["model"] == "tiny-g50") & (curves["seed"] == 1)].iloc[-1]
    assert last["step"] == 1400
    assert last["rtd_auc"] == pytest.approx(pretraining_metrics(0.5, 1)["rtd_auc"])


def test_no_pretraining_gives_empty_curves(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.baseline("boolq", 0.65)
    _, curves = collected(builder)
    assert curves.empty


def test_same_records_same_bytes(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "artifacts")
    builder.whole_experiment((0.25,))
    collected(builder)
    names = ["runs", *DETAILS]
    first = [(collect_into(builder).folder / f"{name}.csv").read_bytes() for name in names]
    assert [(collect_into(builder).folder / f"{name}.csv").read_bytes() for name in names] == first


def test_every_option_of_a_run_is_in_its_row(builder: Builder) -> None:
    """Two pretrainings that differ anywhere have different rows, and so have two methods."""
    path = builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "boolq", 0, 0.6)
    runs, _ = collected(builder)
    pretrain, finetune = runs.to_dict("records")
    for name, value in _leaves(read_record(path).spec["settings"]):
        shown = pretrain[f"spec.settings.{name}"]
        expected = ";".join(map(str, value)) if isinstance(value, list) else value
        assert pd.isna(shown) if value in (None, []) else str(shown) == str(expected) or float(shown) == float(expected)
    assert finetune["spec.settings.adam_epsilon"] == FullFinetuning().adam_epsilon
    assert pretrain["spec.settings.discriminator.layers"] == 2


def _leaves(settings: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def test_whole_numbers_are_written_whole(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    builder.finetune("tiny-g25", "boolq", 0, 0.6)
    folder = collect_into(builder).folder
    runs = pd.read_csv(folder / "runs.csv", dtype=str)
    assert list(runs["metric.validation_rows"].dropna()) == ["1000"]
    assert list(runs["spec.settings.discriminator.hidden_size"].dropna()) == ["128"]
