"""Table and CSVs of retention, on constructed measurements, against statistics of other code."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from report_experiment import MINILM, Builder, collected
from report_made import Made
from report_retention_experiment import DOCUMENTS, influences, measured
from two_way import half_by_hand

from electralab.errors import UserError
from electralab.report.sources import read_sources

TASK = "movie_sentiment"
FULL = {0: 0.70, 1: 0.71, 2: 0.705}
PRUNED = {0: 0.60, 1: 0.63, 2: 0.61}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    builder = Builder(tmp_path_factory.mktemp("retention") / "artifacts")
    measured(builder, "tiny-g25", 0.75, influence=influences(0.05, 99))
    for method, values in (("full", FULL), ("full+pruned", PRUNED)):
        for seed, value in values.items():
            builder.finetune("tiny-g25", TASK, seed, 0.7, method=method)
            own = influences(0.05, 10 * len(method) + seed)
            measured(builder, "tiny-g25", value, run=(TASK, method, seed), influence=own)
    builder.finetune("tiny-g25", TASK, 0, 0.7, method="full+int8")
    measured(builder, "tiny-g25", None, run=(TASK, "full+int8", 0), reason="full+int8 left an ONNX graph")
    builder.finetune("bert", TASK, 0, 0.9, hub=MINILM)
    losses = {"metric": "masked_loss", "pseudo_perplexity": 7.0}
    measured(builder, "bert", math.log(7), published_perplexity=8.5, **losses)  # type: ignore[arg-type]
    run = {"run": (TASK, "full", 0), "influence": influences(0.05, 98)}
    measured(builder, "bert", math.log(21), published_perplexity=30.0, **losses, **run)  # type: ignore[arg-type]
    measured(builder, "minilm", None, reason="minilm comes without a masked-language head")
    return builder


@pytest.fixture(scope="module")
def made(study: Builder) -> Made:
    return Made(study, "retention")


def test_the_pretrained_model_stands_above_its_chains(made: Made) -> None:
    shown = made.frame[made.frame["n"] > 0]
    arms = list(zip(shown["model"], shown["method"].fillna("")))
    assert arms == [("bert", ""), ("bert", "full"), *(("tiny-g25", m) for m in ("", "full", "full+pruned"))]
    cells = made.cells("full+pruned", "tiny g25")
    assert cells["Value"].startswith("0.613 [") and cells["Value"].endswith("n=3")
    assert cells["± documents"] == "0.020"
    assert made.cells("pretrained", "tiny g25")["Minus pretrained"] == "–"


def test_differences_are_paired_over_seeds_and_documents(made: Made) -> None:
    row = made.row(model="tiny-g25", method="full+pruned")
    base = np.tile(influences(0.05, 99), (3, 1))
    own, before = (
        np.array([influences(0.05, 10 * len(m) + seed) for seed in range(3)]) for m in ("full+pruned", "full")
    )
    scores, others = list(PRUNED.values()), list(FULL.values())
    for against, other, values in (("pretrained", base, [0.75] * 3), ("link_before", before, others)):
        half = half_by_hand(np.array(scores)[:, None] + own, np.array(values)[:, None] + other)
        assert row[f"minus_{against}"] == pytest.approx(fmean(scores) - fmean(values))
        assert row[f"minus_{against}_high"] - row[f"minus_{against}_low"] == pytest.approx(2 * half)
        assert row[f"minus_{against}_verdict"] == "lower"
    assert math.isnan(made.row(model="tiny-g25", method="full")["minus_link_before"])


def test_more_loss_is_forgetting_and_one_seed_is_no_verdict(made: Made) -> None:
    row = made.row(model="bert", method="full")
    assert row["pseudo_perplexity"] == pytest.approx(21) and row["published_perplexity"] == 30
    assert row["minus_pretrained"] == pytest.approx(math.log(3)) and row["minus_pretrained_verdict"] == "unknown"
    cells = made.cells("full", "bert")
    assert (cells["Pseudo-perplexity"], cells["As published"]) == ("21.00", "30.00")
    assert made.note("one seed, no verdict: `full` on movie_sentiment +1.099", "**bert, held_out:** pretrained 1.946")
    assert made.note("forgot: `full` on movie_sentiment -0.045", "and `full+pruned` on movie_sentiment -0.137")


def test_what_could_not_be_measured_is_there_with_its_reason(made: Made) -> None:
    text = made.section("Not measured")
    assert "| tiny-g25 on movie_sentiment | full+int8 | held_out | full+int8 left an ONNX graph |" in text
    assert "| minilm | pretrained | held_out | minilm comes without a masked-language head |" in text
    assert made.row(model="minilm")["n"] == 0


def test_details_say_what_records_say(study: Builder) -> None:
    results = collected(study)
    detail = results.detail("retention")
    assert len(detail) == len(study.retentions)
    for (_, row), path in zip(detail.iterrows(), study.retentions):
        record = json.loads(path.read_text())
        assert (row["retention"], row["model"], row["status"]) == ("held_out", record["model"], record["status"])
        assert (row["task"], row["method"]) == (record["task"] or "", record["method"] or "")
        if record["status"] == "ok":
            assert row["value"] == record["metrics"][record["primary_metric"]]
    assert set(results.detail("retention_differences")["documents"]) == {DOCUMENTS}
    assert set(results.runs.frame["stage"]) == {"run"}  # a measurement is no run


def test_an_experiment_without_a_head_still_has_a_page(builder: Builder) -> None:
    builder.finetune("minilm", TASK, 0, 0.8, hub=MINILM)
    measured(builder, "minilm", None, reason="minilm comes without a masked-language head")
    made = Made(builder, "retention")
    assert made.note("Nothing could be measured") and "minilm comes without" in made.section("Not measured")


def test_nothing_measured_is_one_line(builder: Builder) -> None:
    builder.finetune("tiny-g25", TASK, 0, 0.8)
    with pytest.raises(UserError, match="has no measurement of retention"):
        Made(builder, "retention")


def test_damaged_measurements_are_one_line(builder: Builder) -> None:
    base, other = (measured(builder, "m", 0.7, run=run) for run in (None, (TASK, "full", 0)))
    lines = (other.parent / "documents.csv").read_text().splitlines()
    (other.parent / "documents.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match=r"documents.csv is damaged"):
        read_sources([], retentions=builder.retentions)
    content = json.loads(other.read_text())
    other.write_text(json.dumps(content | {"files": {}}))
    with pytest.raises(UserError, match="are measured on other documents: delete both and run again"):
        collected(builder)
    (other.parent / "documents.csv").unlink()
    with pytest.raises(UserError, match=r"documents.csv is missing beside its record"):
        collected(builder)
    with pytest.raises(UserError, match="records of the same run"):
        read_sources([], retentions=[base, copied(base)])


def copied(path: Path) -> Path:
    twin = path.parent.with_name("twin") / "run.json"
    twin.parent.mkdir()
    for file in path.parent.iterdir():
        (twin.parent / file.name).write_bytes(file.read_bytes())
    return twin
