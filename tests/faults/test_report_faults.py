"""Bad input to the report: one line that names the file and the remedy, and nothing half-written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from electralab.cli import main
from electralab.errors import UserError
from electralab.records import Cost, Provenance, RunRecord, write_record
from electralab.report.collect import collect
from electralab.report.figures import make_figure
from electralab.report.tables import make_table


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
            model="tiny-g25" if stage == "pretrain" else "tfidf",
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
def outputs(tmp_path: Path) -> tuple[Path, Path, Path]:
    return tmp_path / "results/runs.csv", tmp_path / "results/curves.csv", tmp_path / "results/comparisons.csv"


@pytest.mark.parametrize("text", ["", "{", '{"stage": "pretrain"}', '{"stage": "pretrain"', "[]", "\x00\x01"])
def test_damaged_record_is_named(tmp_path: Path, outputs: tuple[Path, Path, Path], text: str) -> None:
    good, bad = record(tmp_path, seed=0), record(tmp_path, seed=1)
    collect([good], *outputs, "x")
    earlier = outputs[0].read_bytes()
    bad.write_text(text)
    with pytest.raises(UserError, match=str(bad)) as caught:
        collect([good, bad], *outputs, "x")
    assert "\n" not in str(caught.value)
    assert outputs[0].read_bytes() == earlier


def test_missing_record_is_named(tmp_path: Path, outputs: tuple[Path, Path, Path]) -> None:
    with pytest.raises(UserError, match=r"nowhere/run\.json"):
        collect([tmp_path / "nowhere/run.json"], *outputs, "x")


@pytest.mark.parametrize(
    "text", [b"", b"step,tokens\n1,2\n", b"step,tokens,seconds,phase\n1,2,3,joint,5,6,7\n1\n", b"\xff\xfe\x00"]
)
def test_damaged_curve_is_named(tmp_path: Path, outputs: tuple[Path, Path, Path], text: bytes) -> None:
    path = record(tmp_path)
    path.with_name("evaluation.csv").write_bytes(text)
    with pytest.raises(UserError, match=r"evaluation\.csv is damaged") as caught:
        collect([path], *outputs, "x")
    assert "\n" not in str(caught.value)


def test_missing_curve_of_a_finished_run_is_named(tmp_path: Path, outputs: tuple[Path, Path, Path]) -> None:
    path = record(tmp_path)
    path.with_name("evaluation.csv").unlink()
    with pytest.raises(UserError, match=r"evaluation\.csv is missing"):
        collect([path], *outputs, "x")


def test_the_same_run_twice_is_refused(tmp_path: Path, outputs: tuple[Path, Path, Path]) -> None:
    path = record(tmp_path)
    with pytest.raises(UserError, match="same run"):
        collect([path, path], *outputs, "x")


def test_unknown_names_list_the_known(tmp_path: Path, outputs: tuple[Path, Path, Path]) -> None:
    collect([record(tmp_path)], *outputs, "x")
    with pytest.raises(UserError, match=r"unknown table 'efficency'; allowed: pretraining, generator_size, efficiency"):
        make_table("efficency", outputs[0], outputs[2], PUBLISHED, tmp_path / "t.csv", tmp_path / "t.md")
    with pytest.raises(UserError, match=r"unknown figure 'pareto'; allowed: training_curves, generator_size"):
        make_figure("pareto", *outputs[:2], PUBLISHED, tmp_path / "f.svg", tmp_path / "f.png")


@pytest.mark.parametrize("damage", ["missing", "empty", "binary", "other table", "cut"])
def test_damaged_runs_table_is_named(
    tmp_path: Path, outputs: tuple[Path, Path, Path], damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    collect([record(tmp_path)], *outputs, "x")
    runs = outputs[0]
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
    table = tmp_path / "t.csv"
    arguments = ["table", "pretraining", "--runs", str(runs), "--comparisons", str(outputs[2])]
    arguments += ["--published", str(PUBLISHED), "--csv", str(table), "--markdown", str(tmp_path / "t.md")]
    assert main(arguments) == 1
    message = capfd.readouterr().err
    assert message.count("\n") == 1 and str(runs) in message
    assert not table.exists()


def test_nothing_to_draw_is_said(tmp_path: Path, outputs: tuple[Path, Path, Path]) -> None:
    collect([record(tmp_path, status="failed")], *outputs, "x")
    with pytest.raises(UserError, match="no finished pretraining"):
        make_figure("training_curves", *outputs[:2], PUBLISHED, tmp_path / "f.svg", tmp_path / "f.png")
    collect([record(tmp_path, stage="baseline")], *outputs, "x")
    with pytest.raises(UserError, match="no pretraining run"):
        make_table("pretraining", outputs[0], outputs[2], PUBLISHED, tmp_path / "t.csv", tmp_path / "t.md")


def test_a_run_without_optional_metrics_is_drawn(tmp_path: Path, outputs: tuple[Path, Path, Path]) -> None:
    collect([record(tmp_path)], *outputs, "x")
    for name in ("training_curves", "generator_size"):
        make_figure(name, *outputs[:2], PUBLISHED, tmp_path / "f.svg", tmp_path / "f.png")
    for name in ("pretraining", "generator_size", "efficiency"):
        make_table(name, outputs[0], outputs[2], PUBLISHED, tmp_path / "t.csv", tmp_path / "t.md")
    assert "–" in (tmp_path / "t.md").read_text()


def test_full_disk_leaves_the_earlier_figure(
    tmp_path: Path, outputs: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect([record(tmp_path)], *outputs, "x")
    svg, png = tmp_path / "f.svg", tmp_path / "f.png"
    make_figure("generator_size", *outputs[:2], PUBLISHED, svg, png)
    earlier = svg.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(UserError, match="no space left"):
        make_figure("generator_size", *outputs[:2], PUBLISHED, svg, png)
    assert svg.read_bytes() == earlier
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_model_called_null_is_a_model(tmp_path: Path, outputs: tuple[Path, Path, Path]) -> None:
    path = record(tmp_path)
    path.write_text(path.read_text().replace("tiny-g25", "null-g25"))
    collect([path], *outputs, "x")
    frame = pd.read_csv(outputs[0], keep_default_na=False)
    assert list(frame["pretraining"]) == ["null"]
    make_table("pretraining", outputs[0], outputs[2], PUBLISHED, tmp_path / "t.csv", tmp_path / "t.md")
    assert "null" in (tmp_path / "t.csv").read_text()
