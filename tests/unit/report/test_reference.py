"""`reference/published_results.csv`: facts with a source, one unit each, no row twice."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from report_experiment import PUBLISHED

from electralab.report.published import read_published

RANGES = {
    "fraction": (0, 1),
    "nat": (0, 10),
    "perplexity": (1, 1000),
    "millisecond": (1, 60_000),
    "sequence/second": (1, 10_000),
    "megabyte": (1, 1000),
    "parameter": (1e5, 1e9),
    "petaflop/s-day": (0.01, 10),
    "FLOP": (1e17, 1e23),
}
TASKS = {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "imdb", "sst5", "wikitext2"}
VARIANTS = {"mnli_both", "mnli_unstated", "glue8", "glue9", "glue_leaderboard", "glue6_squad2", "squad1", "squad2"}
COSTS = {
    *("latency", "throughput", "memory", "model_size", "parameters", "training_time", "inference_time"),
    *("data_loading_time", "masked_lm", "pretraining_cost"),
}
IDENTITY = ["system", "model", "method", "task_id", "split", "metric", "statistic", "unit", "protocol", "notes"]


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_published(PUBLISHED)


def test_every_value_is_in_the_range_of_its_unit(published: pd.DataFrame) -> None:
    assert set(published["unit"]) == set(RANGES)
    for unit, (low, high) in RANGES.items():
        assert published.loc[published["unit"] == unit, "value"].between(low, high).all(), unit


def test_value_is_the_printed_one_in_its_unit(published: pd.DataFrame) -> None:
    factors = {"fraction": (1, 0.01), "millisecond": (1, 1000), "megabyte": (1, 1.048576)}
    for row in published.itertuples():
        allowed = factors.get(row.unit, (1,))
        assert any(row.value == pytest.approx(float(row.printed) * factor) for factor in allowed), row


def test_no_row_twice(published: pd.DataFrame) -> None:
    assert not published.duplicated(IDENTITY).any()
    numbers = published[published["unit"] == "fraction"]
    assert not numbers.duplicated(["model", "method", "task_id", "split", "metric", "statistic", "value"]).any()


def test_every_row_has_a_source_and_a_known_task(published: pd.DataFrame) -> None:
    assert (published["source"].str.len() > 10).all()
    assert set(published["task_id"]) <= TASKS | VARIANTS | COSTS
    assert set(published["split"]) <= {"validation", "validation sample", "test", "train", "pretraining", ""}
    scores = published["metric"].isin(("accuracy", "f1", "mcc", "pearson", "spearman", "mean"))
    assert (published.loc[scores, "unit"] == "fraction").all()


def test_text_is_about_the_source_alone(published: pd.DataFrame) -> None:
    text = "\n".join(" ".join(map(str, row)) for row in published.itertuples())
    assert not re.search(r"stored|full-text copy|index file|\bid \d|corpus\)|run here|computed here|excerpt", text)


def test_averages_are_the_means_of_their_rows(published: pd.DataFrame) -> None:
    """Nine-task means of the distillation README, and eight-task means of the paper's table 2, to their rounding."""
    distilled = published[published["system"] == "huggingface_distillation"]
    paper = published[published["source"].str.contains("Table 2") & (published["system"] == "electra_paper")]
    checked = 0
    for frame, name, tasks in ((distilled, "glue9", 9), (paper, "glue8", 8)):
        for _, rows in frame.groupby("model"):
            parts = rows[rows["task_id"] != name]
            printed = rows.loc[rows["task_id"] == name, "value"]
            if len(parts) == tasks and len(printed) == 1:
                assert parts["value"].mean() == pytest.approx(printed.iloc[0], abs=0.0011)
                checked += 1
    assert checked >= 9


def test_readme_names_every_column(published: pd.DataFrame) -> None:
    readme = (Path(PUBLISHED).parent / "README.md").read_text()
    assert [name for name in published.columns if f"`{name}`" not in readme] == []
    assert [name for name in set(published["task_id"]) if f"`{name}`" not in readme] == []
    assert [
        name
        for name in set(published["unit"]) - {"perplexity", "sequence/second", "parameter"}
        if f"`{name}`" not in readme
    ] == []
