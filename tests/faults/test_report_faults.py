"""Bad input to the report: one line that names the file and the remedy, and nothing half-written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from electralab.cli import main
from electralab.errors import UserError
from electralab.names import NO_MODEL
from electralab.records import Cost, Provenance, RunRecord, read_record, write_record
from electralab.report.collect import collect
from electralab.report.make import make_figure, make_table
from electralab.report.results import Results
from electralab.report.sources import read_sources


def record(folder: Path, stage: Any = "pretrain", status: Any = "ok", seed: int = 0) -> Path:
    path = folder / f"{stage}-{seed}" / "run.json"
    provenance = Provenance(
        git_commit=None,
        git_dirty=None,
        source_hash="0",
        versions={},
        data={},
        device="cpu",
        threads=1,
        load_average=0.0,
        started="2026-01-01",
        ended="2026-01-01",
        machine="constructed for a test",
    )
    metrics = (
        {"mlm_loss": 5.0, "unigram_cross_entropy": 6.0, "rtd_auc": 0.7} if stage == "pretrain" else {"accuracy": 0.6}
    )
    write_record(
        path,
        RunRecord(
            stage=stage,
            model="tiny-g25" if stage == "pretrain" else NO_MODEL,
            task=None if stage == "pretrain" else "boolq",
            method=None if stage == "pretrain" else "tfidf",
            seed=seed,
            status=status,
            recipe="paper",
            metrics=metrics if status == "ok" else {},
            cost=Cost(wall_seconds=1, cpu_seconds=1, peak_rss_bytes=1, tokens=1000),
            provenance=provenance,
            spec={"generator_size": 0.25, "settings": {"unigram_warmup": 0.0}} if stage == "pretrain" else {},
        ),
    )
    path.with_name("evaluation.csv").write_text(
        "step,tokens,seconds,phase,mlm_loss\n0,0,0,joint,6.0\n10,1000,1,joint,5.0\n"
    )
    return path


PUBLISHED = Path(__file__).resolve().parents[2] / "reference" / "published_results.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def collected(records: list[Path], folder: Path) -> Results:
    collect(read_sources(records), folder)
    return Results(folder, PUBLISHED)


@pytest.mark.parametrize("text", ["", "{", '{"stage": "pretrain"}', '{"stage": "pretrain"', "[]", "\x00\x01"])
def test_damaged_record_is_named(tmp_path: Path, folder: Path, text: str) -> None:
    good, bad = record(tmp_path, seed=0), record(tmp_path, seed=1)
    collected([good], folder)
    earlier = (folder / "runs.csv").read_bytes()
    bad.write_text(text)
    with pytest.raises(UserError, match=str(bad)) as caught:
        collected([good, bad], folder)
    assert "\n" not in str(caught.value)
    assert (folder / "runs.csv").read_bytes() == earlier


def test_missing_record_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/run\.json"):
        collected([tmp_path / "nowhere/run.json"], folder)


@pytest.mark.parametrize(
    "text", [b"", b"step,tokens\n1,2\n", b"step,tokens,seconds,phase\n1,2,3,joint,5,6,7\n1\n", b"\xff\xfe\x00"]
)
def test_damaged_curve_is_named(tmp_path: Path, folder: Path, text: bytes) -> None:
    path = record(tmp_path)
    path.with_name("evaluation.csv").write_bytes(text)
    with pytest.raises(UserError, match=r"evaluation\.csv is damaged") as caught:
        collected([path], folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["a digit", "a row less"])
def test_curve_that_its_run_did_not_write_is_named(tmp_path: Path, folder: Path, damage: str) -> None:
    """Both are whole tables, which nothing but the checksum in the record tells apart."""
    path = record(tmp_path)
    write_record(path, read_record(path))  # beside the curve, as a run does
    collected([path], folder)
    curve = path.with_name("evaluation.csv")
    lines = curve.read_text().splitlines(keepends=True)
    curve.write_text("".join(lines[:-1]) if damage == "a row less" else "".join(lines).replace("5.0", "4.0"))
    with pytest.raises(UserError, match=r"evaluation\.csv is damaged: .* delete .*run\.json and run"):
        collected([path], folder)


def answered(folder: Path) -> Path:
    """A finished run that answered 3 of 5 rows rightly."""
    path = record(folder, stage="run")
    rows = ["id,label,prediction,score_no,score_yes"]
    rows += [f"r{n},yes,{'yes' if n < 3 else 'no'},.5,.5" for n in range(5)]
    path.with_name("predictions.csv").write_text("\n".join(rows) + "\n")
    known = {"predictions": "predictions.csv", "metrics": {"score": 0.6, "accuracy": 0.6}}
    write_record(path, read_record(path).model_copy(update={**known, "primary_metric": "accuracy"}))
    return path


@pytest.mark.parametrize("damage", ["predictions turned", "a row less", "the score"])
def test_score_and_predictions_that_do_not_fit_are_named(tmp_path: Path, folder: Path, damage: str) -> None:
    path = answered(tmp_path)
    collected([path], folder)
    predictions = path.with_name("predictions.csv")
    words = r"predictions\.csv is damaged: it is not the file that its run wrote"
    if damage == "predictions turned":
        predictions.write_text(predictions.read_text().replace("r4,yes,no", "r4,yes,yes"))
    elif damage == "a row less":
        predictions.write_text(predictions.read_text().rpartition("r4")[0])
    else:
        path.write_text(path.read_text().replace('"score": 0.6', '"score": 0.8'))
        words = r"run\.json has a score of 0\.8, and the predictions beside it give 0\.6"
    with pytest.raises(UserError, match=words):
        collected([path], folder)


@pytest.mark.parametrize("name", ["runs", "comparisons", "searches", "curves", "confusions", "benchmarks"])
def test_results_that_collect_did_not_write_are_named(tmp_path: Path, folder: Path, name: str) -> None:
    """Cut at the end of a row, or with another digit: a table all the same."""
    results = collected([record(tmp_path), answered(tmp_path)], folder)
    file = folder / f"{name}.csv"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(UserError, match=rf"{name}\.csv is damaged: it is not the file that `collect` wrote: delete"):
        _ = results.runs if name == "runs" else results.detail(name)


def test_missing_curve_of_a_finished_run_is_named(tmp_path: Path, folder: Path) -> None:
    path = record(tmp_path)
    path.with_name("evaluation.csv").unlink()
    with pytest.raises(UserError, match=r"evaluation\.csv is missing"):
        collected([path], folder)


def test_the_same_run_twice_is_refused(tmp_path: Path, folder: Path) -> None:
    path = record(tmp_path)
    with pytest.raises(UserError, match="same run"):
        collected([path, path], folder)


def test_unknown_names_list_the_known(tmp_path: Path, folder: Path) -> None:
    results = collected([record(tmp_path)], folder)
    with pytest.raises(UserError, match=r"unknown table 'efficency'; allowed: pretraining, generator_size, efficiency"):
        make_table("efficency", results, tmp_path / "t")
    with pytest.raises(UserError, match=r"unknown figure 'paretto'; allowed: training_curves, generator_size"):
        make_figure("paretto", results, tmp_path / "f")


@pytest.mark.parametrize("damage", ["missing", "empty", "binary", "other table", "cut"])
def test_damaged_runs_table_is_named(
    tmp_path: Path, folder: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    collected([record(tmp_path)], folder)
    runs = folder / "runs.csv"
    text = runs.read_text()
    match damage:
        case "missing":
            runs.unlink()
        case "empty":
            runs.write_text("")
        case "binary":
            runs.write_bytes(b"\xff\xfe\x00\x01")
        case "other table":
            runs.write_text("a,b\n1,2\n")
        case "cut":
            runs.write_text(text[: text.index("status")])
    assert main(["table", "pretraining", "--results", str(folder), "--published", str(PUBLISHED)]) == 1
    message = capfd.readouterr().err
    assert message.count("\n") == 1 and str(runs) in message
    assert not (folder / "tables").exists()


def test_nothing_to_draw_is_said(tmp_path: Path, folder: Path) -> None:
    results = collected([record(tmp_path, status="failed")], folder)
    with pytest.raises(UserError, match="no finished pretraining"):
        make_figure("training_curves", results, tmp_path / "f")
    results = collected([record(tmp_path, stage="run")], folder)
    with pytest.raises(UserError, match="no pretraining run"):
        make_table("pretraining", results, tmp_path / "t")


def test_a_run_without_optional_metrics_is_drawn(tmp_path: Path, folder: Path) -> None:
    results = collected([record(tmp_path)], folder)
    for name in ("training_curves", "generator_size"):
        make_figure(name, results, tmp_path / "f")
    for name in ("pretraining", "generator_size", "efficiency"):
        make_table(name, results, tmp_path / "t")
    assert "–" in (tmp_path / "t.md").read_text()


def test_full_disk_leaves_the_earlier_figure(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = collected([record(tmp_path)], folder)
    svg = tmp_path / "f.svg"
    make_figure("generator_size", results, tmp_path / "f")
    earlier = svg.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(UserError, match="no space left"):
        make_figure("generator_size", results, tmp_path / "f")
    assert svg.read_bytes() == earlier
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_model_called_null_is_a_model(tmp_path: Path, folder: Path) -> None:
    path = record(tmp_path)
    path.write_text(path.read_text().replace("tiny-g25", "null-g25"))
    results = collected([path], folder)
    frame = pd.read_csv(folder / "runs.csv", keep_default_na=False)
    assert list(frame["pretraining"]) == ["null"]
    make_table("pretraining", results, tmp_path / "t")
    assert "null" in (tmp_path / "t.csv").read_text()
