"""`reference/published_results.csv`: facts with a source, one unit each, no row twice."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from report_experiment import PUBLISHED

from electralab.config import AdapterMethod, FullFinetuning, InContext
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
RECIPES = {"", "paper", "google_code", "rc2020", "own"}
FACTS = 18  # columns of what sources print, before those of how the number came about
# SHA-256 of those columns; a row that is added or corrected changes it on purpose.
DIGEST = "03f3f92ee91da1074609fbc86665fb4040c5503d54d2fc9825bf491838b20ffa"
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


def test_facts_are_those_collected() -> None:
    with PUBLISHED.open(newline="") as file:
        facts = [row[:FACTS] for row in csv.reader(file)]
    assert len(facts) == 573 and facts[0][-1] == "notes"
    assert hashlib.sha256(json.dumps(facts).encode()).hexdigest() == DIGEST


def test_columns_say_what_names_say(published: pd.DataFrame) -> None:
    """Ranks, alphas, storage and rates that stand in a method's name, and sizes in a model's."""
    for pattern, column, unit in (
        (r"LoRA r(\d+)", "rank", 1.0),
        (r"LoRA r\d+ a(?:lpha)?(\d+)", "alpha", 1.0),
        (r"^Prune.* (\d\d)%", "sparsity", 100.0),
        (r"rate (0\.\d\d)$", "sparsity", 1.0),
        (r"^KD search T=(\d)", "kd_temperature", 1.0),
        (r"^KD search.* alpha=(0\.\d)", "kd_alpha", 1.0),
    ):
        said = published["method"].str.extract(pattern)[0].dropna().astype(float) / unit
        assert len(said) and (pd.to_numeric(published.loc[said.index, column]) == said).all(), column
    tuned = published.loc[~published["method"].str.startswith("inference"), "method"]
    named = tuned.str.extract(r"(?i)(nf4|int8|fp32)")[0].dropna().str.lower()
    assert (published.loc[named.index, "storage"] == named).all()
    whole = published["method"] == "full fine-tuning"
    assert (published.loc[whole, "method_kind"] == "full").all()
    sizes = published["model"].str.extract(r"(?:generator size|gen) ([\d.]+)")[0].dropna().astype(float)
    assert len(sizes) == 9 and (published.loc[sizes.index, "generator_size"] == sizes).all()


def test_kinds_of_ours_are_called_as_ours(published: pd.DataFrame) -> None:
    links = {link for kind in published["method_kind"] for link in kind.split("+") if kind}
    ours = {kind for method in (*get_args(AdapterMethod), FullFinetuning, InContext) for kind in kinds_of(method)}
    compressed = ("static_int8", "qat", "unstructured_", "structured_", "payt")
    assert {link for link in links if not link.startswith(compressed)} <= ours
    assert {"full", "lora", "rslora", "qlora", "adalora", "prefix", "ia3", "loha", "lokr", "oft", "in_context"} <= links


def kinds_of(method: Any) -> tuple[str, ...]:
    return get_args(method.model_fields["kind"].annotation)


def test_set_ups_hold_known_words(published: pd.DataFrame) -> None:
    assert set(published["pretraining_recipe"]) | set(published["finetuning_recipe"]) <= RECIPES
    assert set(published["trained_head"]) == {"yes", "no", ""}
    tasks = {task for text in published["finetuned_on"] for task in text.split(";")}
    assert tasks <= TASKS | {"", "mnli_both", "mnli_unstated", "squad1", "squad2"}
    scores = published["task_id"].isin(TASKS - {"wikitext2"}) & (published["method_kind"] != "")
    assert (published.loc[scores, "finetuned_on"] == published.loc[scores, "task_id"]).all()
    qlora = published[(published["method_kind"] == "qlora") & (published["trained_head"] == "no")]
    assert set(qlora["system"]) == {"electra_pytorch_hpml"}
