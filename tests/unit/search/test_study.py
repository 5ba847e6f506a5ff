"""Searches: what is drawn, what is kept, and what is said about it."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from electralab.config import Lora, Range, Search
from electralab.errors import UserError
from electralab.records import Meter, RunRecord, read_record, write_record
from electralab.report.details.searches import trials
from electralab.search.importances import importances
from electralab.search.study import Report, SearchSpec, TrialPruned, run_search
from electralab.specs import RunSpec

SPACE = {
    "rank": [2, 4, 8, 16],
    "alpha": {"low": 1.0, "high": 64.0, "log": True},
    "adapter_dropout": {"low": 0.0, "high": 0.5},
}


def search_spec(method: Lora | None = None, **settings: Any) -> SearchSpec:
    defaults = {"model": "m", "task": "t", "method": "lora", "space": SPACE}
    base = RunSpec(
        model="m", task="t", chain=["lora"], seed=9, settings=method or Lora(), extensions=[], pretraining_recipe=None
    )
    spec = {"name": "s", "settings": Search.model_validate(defaults | settings), "base": base}
    return SearchSpec.model_validate_json(SearchSpec.model_validate(spec).canonical())


def quadratic(settings: Lora) -> float:
    """Best at alpha 8 and rank 8; dropout hardly matters."""
    return (
        1
        - 0.02 * math.log2(settings.alpha / 8) ** 2
        - 0.01 * abs(settings.rank - 8) / 8
        - 1e-4 * settings.adapter_dropout
    )


def record_of(spec: RunSpec, score: float) -> RunRecord:
    meter = Meter("cpu", 1)
    return RunRecord(
        stage="run",
        model=spec.model,
        task=spec.task,
        method=spec.method,
        seed=spec.seed,
        recipe="fixed",
        metrics={"score": score},
        cost=meter.cost(),
        provenance=meter.provenance(),
        spec=spec.model_dump(mode="json"),
    )


def run_quadratic(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
    assert isinstance(spec.settings, Lora)
    record = record_of(spec, quadratic(spec.settings))
    write_record(record_path, record)
    return record


def searched(folder: Path, run_trial: Any = run_quadratic, inputs: Any = None, **settings: Any) -> dict[str, Any]:
    log_to = settings.pop("log_to", ())
    run_search(search_spec(**settings), folder / "search.json", run_trial, inputs=inputs or {}, log_to=log_to)
    return json.loads((folder / "search.json").read_text())


# --- what is drawn and kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_best_is_that_of_the_records(tmp_path: Path, sampler: str) -> None:
    found = searched(tmp_path, sampler=sampler, trials=24, seed=3)
    records = {int(path.parent.name): read_record(path) for path in tmp_path.glob("trials/*/run.json")}
    assert sorted(records) == [trial["trial"] for trial in found["trials"]] == list(range(24))
    assert found["counts"] == {"ok": 24, "failed": 0, "pruned": 0}
    best = max(records, key=lambda number: records[number].metrics["score"])
    assert (found["best"]["trial"], found["best"]["score"]) == (best, records[best].metrics["score"])
    for trial in found["trials"]:
        spec = RunSpec.model_validate_json(json.dumps(records[trial["trial"]].spec))
        assert isinstance(spec.settings, Lora)
        assert trial["options"] == {name: getattr(spec.settings, name) for name in SPACE}
        assert trial["score"] == quadratic(spec.settings)
        assert (trial["seed"], spec.seed) == (3, 3)
        assert spec.settings.learning_rates == Lora().learning_rates


def test_random_search_is_a_function_of_its_seed_alone(tmp_path: Path) -> None:
    def drawn(folder: str, **settings: Any) -> list[dict[str, Any]]:
        return [trial["options"] for trial in searched(tmp_path / folder, **settings)["trials"]]

    whole = drawn("whole", trials=12, seed=1)
    assert drawn("again", trials=12, seed=1) == whole
    assert drawn("other", trials=12, seed=2) != whole
    # More trials add to those that are there, and are those of a longer search; none repeats an earlier one.
    drawn("parts", trials=5, seed=1)
    assert drawn("parts", trials=12, seed=1) == whole
    assert len({trial["alpha"] for trial in whole}) == 12
    assert drawn("parts", trials=3, seed=1) == whole[:3]


def test_draws_are_spread_as_the_space_says(tmp_path: Path) -> None:
    space = {
        "rank": {"low": 1, "high": 8, "integer": True},
        "alpha": {"low": 0.01, "high": 100.0, "log": True},
        "adapter_dropout": {"low": 0.1, "high": 0.3},
        "gradient_checkpointing": [False, True],
    }
    trials = [trial["options"] for trial in searched(tmp_path, trials=100, space=space)["trials"]]
    columns = {name: np.array([trial[name] for trial in trials]) for name in space}
    assert set(columns["rank"]) == set(range(1, 9))
    assert set(columns["gradient_checkpointing"]) == {False, True}
    logarithms = (np.log10(columns["alpha"]) + 2) / 4
    dropout = (columns["adapter_dropout"] - 0.1) / 0.2
    for evenly in (logarithms, dropout):
        assert stats.kstest(evenly, "uniform").pvalue > 0.01
    # Every option has a stream of its own: equal streams would make the two the same numbers.
    assert abs(stats.spearmanr(logarithms, dropout).statistic) < 0.2


def test_tpe_learns_from_earlier_trials(tmp_path: Path) -> None:
    scores = {
        sampler: [trial["score"] for trial in searched(tmp_path / sampler, sampler=sampler, trials=40)["trials"]]
        for sampler in ("random", "tpe")
    }
    assert np.mean(scores["tpe"][20:]) > np.mean(scores["random"][20:])
    assert np.mean(scores["tpe"][20:]) > np.mean(scores["tpe"][:10])


def test_learning_rate_is_searched_in_the_list_of_a_run(tmp_path: Path) -> None:
    rates = []

    def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        assert isinstance(spec.settings, Lora)
        if spec.scored_on == "tuning":
            rates.append(spec.settings.learning_rates)
        return run_quadratic(spec, record_path, report)

    space = {"learning_rates": {"low": 1e-5, "high": 1e-3, "log": True}}
    found = searched(tmp_path, run, trials=4, space=space)
    assert rates == [[trial["options"]["learning_rates"]] for trial in found["trials"]]
    assert all(1e-5 <= rate <= 1e-3 for [rate] in rates)


def test_search_of_other_inputs_or_settings_starts_anew(tmp_path: Path) -> None:
    runs = Counter[str]()

    def search(name: str, **changed: Any) -> dict[str, Any]:
        def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
            runs[name] += spec.scored_on == "tuning"
            return run_quadratic(spec, record_path, report)

        return searched(tmp_path, run, **({"trials": 3, "inputs": {"task": "a"}} | changed))

    first = search("first")
    assert search("same") == first
    assert search("longer", trials=5)["trials"][:3] == first["trials"]
    search("other data", inputs={"task": "b"})
    assert search("the first again") == first
    search("other method", inputs={"task": "b"}, method=Lora(epochs=5))
    assert len(list(tmp_path.glob("trials/*"))) == 3
    assert runs == {"first": 3, "longer": 2, "other data": 3, "other method": 3}


def test_winner_is_run_once_on_the_validation_rows(tmp_path: Path) -> None:
    validated: list[RunSpec] = []

    def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        if spec.scored_on == "tuning":
            return run_quadratic(spec, record_path, report)
        assert report is None
        validated.append(spec)
        record = record_of(spec, 0.123)
        write_record(record_path, record)
        return record

    found = searched(tmp_path, run, trials=8, median_pruning=True)
    assert searched(tmp_path, run, trials=8, median_pruning=True) == found
    [spec] = validated
    assert isinstance(spec.settings, Lora)
    assert {name: getattr(spec.settings, name) for name in SPACE} == found["best"]["options"]
    assert (found["winner"]["status"], found["winner"]["score"]) == ("ok", 0.123)
    assert found["best"]["score"] == max(trial["score"] for trial in found["trials"]) != 0.123
    assert read_record(tmp_path / "winner" / "run.json").metrics == {"score": 0.123}


# --- trials that do not end well --------------------------------------------------------------------------------


def test_refused_and_failed_runs_are_failed_trials_with_reasons(tmp_path: Path) -> None:
    def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        assert isinstance(spec.settings, Lora)
        if spec.settings.rank == 512:
            raise UserError("rank 512 is above the layer's width")
        if spec.settings.rank == 4:
            record = record_of(spec, math.nan)
            record.metrics.clear()
            return record
        return run_quadratic(spec, record_path, report)

    found = searched(tmp_path, run, trials=24, space={"rank": [-1, 4, 8, 512]})
    reasons = {-1: "rank: Input should be greater than or equal to 1", 4: "the score is nan", 8: None}
    reasons[512] = "rank 512 is above the layer's width"
    assert {(trial["options"]["rank"], trial["reason"]) for trial in found["trials"]} == set(reasons.items())
    for trial in found["trials"]:
        ok = trial["options"]["rank"] == 8
        assert trial["status"] == ("ok" if ok else "failed")
        assert (trial["score"] is not None) == ok
        if trial["options"]["rank"] in (-1, 512):
            record = read_record(tmp_path / "trials" / str(trial["trial"]) / "run.json")
            assert (record.status, record.reason) == ("failed", trial["reason"])
            assert record.spec["settings"]["rank"] == trial["options"]["rank"]
    assert found["counts"]["ok"] + found["counts"]["failed"] == 24
    assert found["best"]["options"] == {"rank": 8}


def test_search_without_a_score_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of 3 trials gave a score \(rank: Input should be .* delete .* again"):
        searched(tmp_path, trials=3, space={"rank": [0]})
    assert not (tmp_path / "search.json").exists()


def test_no_trial_starts_after_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.now

    def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        Clock.now += 50
        return run_quadratic(spec, record_path, report)

    monkeypatch.setattr("electralab.search.study.time", Clock)
    found = searched(tmp_path, run, trials=20, timeout_minutes=2.0)
    assert len(found["trials"]) == 3  # at 0, 50 and 100 of 120 seconds
    assert len(searched(tmp_path, run, trials=20, timeout_minutes=4.0)["trials"]) == 3 + 5


def test_median_pruning_stops_what_is_below_the_median(tmp_path: Path) -> None:
    """Against the definition: after the first five, a trial goes on while its best score reaches the median."""
    epochs = 3  # and one that is not reported
    reported: list[list[float]] = []

    def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        assert isinstance(spec.settings, Lora)
        if report is None:
            return run_quadratic(spec, record_path, report)
        reported.append([])
        for epoch in range(1, epochs + 1):
            score = quadratic(spec.settings) * epoch / epochs
            reported[-1].append(score)
            report(epoch, score)
        return run_quadratic(spec, record_path, report)

    found = searched(tmp_path, run, trials=30, median_pruning=True)
    assert found["counts"]["pruned"] > 0
    finished: list[list[float]] = []
    for trial, scores in zip(found["trials"], reported, strict=True):
        medians = [np.median([other[epoch] for other in finished]) for epoch in range(epochs)] if finished else []
        below = [epoch for epoch in range(epochs) if len(finished) >= 5 and max(scores[: epoch + 1]) < medians[epoch]]
        below = [epoch for epoch in below if epoch < len(scores)]
        record = read_record(tmp_path / "trials" / str(trial["trial"]) / "run.json")
        if below:
            assert trial["status"] == "pruned"
            assert len(scores) == below[0] + 1
            assert trial["score"] == scores[-1]
            assert (record.status, record.reason) == ("skipped", trial["reason"])
            assert f"stopped after epoch {below[0] + 1}" in trial["reason"]
        else:
            assert (trial["status"], record.status, len(scores)) == ("ok", "ok", epochs)
            finished.append(scores)


def test_without_pruning_nothing_is_reported(tmp_path: Path) -> None:
    def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        assert report is None
        return run_quadratic(spec, record_path, report)

    assert searched(tmp_path, run, trials=2)["counts"]["ok"] == 2


def test_trial_may_stop_itself(tmp_path: Path) -> None:
    def run(spec: RunSpec, record_path: Path, report: Report | None) -> RunRecord:
        assert isinstance(spec.settings, Lora)
        if spec.settings.rank == 2:
            raise TrialPruned("not worth it")
        return run_quadratic(spec, record_path, report)

    found = searched(tmp_path, run, trials=20)
    assert found["counts"]["pruned"] == sum(trial["options"]["rank"] == 2 for trial in found["trials"]) > 0


@pytest.mark.parametrize("option", ["rnk", "recipe", "learning_rate"])
def test_unknown_option_is_refused_at_once(option: str) -> None:
    with pytest.raises(ValidationError, match=f"searches.s.space: method lora has no option '{option}'.*rank"):
        search_spec(space={option: [1]})


# --- what is said about it --------------------------------------------------------------------------------------


def test_importance_is_larger_for_what_matters(tmp_path: Path) -> None:
    found = searched(tmp_path, trials=30)["importances"]
    assert found["alpha"] > 0.7
    assert found["alpha"] > found["rank"] > found["adapter_dropout"]
    assert sum(found.values()) <= 1 + 1e-9


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_importance_is_the_share_of_the_variance(share: float) -> None:
    """Over a full grid, shares of an additive score are known. Half of one axis is far below 1 % of its range."""
    axis = (np.arange(12) + 0.5) / 12
    trials = [
        {"score": math.sqrt(share) * x + math.sqrt(1 - share) * y, "options": {"rate": 1e-5 ** (1 - x), "other": y}}
        for x in axis.tolist()
        for y in axis.tolist()
    ]
    found = importances({"rate": Range(low=1e-5, high=1.0, log=True), "other": Range(low=0.0, high=1.0)}, trials)
    assert found == {"rate": pytest.approx(share, abs=0.03), "other": pytest.approx(1 - share, abs=0.03)}


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5, 0.5]])
def test_no_importance_where_scores_do_not_vary(scores: list[float]) -> None:
    trials = [{"score": score, "options": {"rank": index}} for index, score in enumerate(scores)]
    assert importances({"rank": [0, 1, 2]}, trials) == {}


def test_rows_of_a_report(tmp_path: Path) -> None:
    found = searched(tmp_path, trials=10, space={"rank": [-1, 4, 8], "alpha": [4.0, 16.0]})
    rows = trials(tmp_path / "search.json")
    columns = ["search", "trial", "status", "score", "seconds", "seed"]
    columns += ["validation_score", "validation_rows", "overlap_rows"]
    assert {tuple(row) for row in rows} == {
        (*columns, "param.alpha", "param.rank", "importance.alpha", "importance.rank")
    }
    assert [row["trial"] for row in rows] == list(range(10))
    assert Counter(row["status"] for row in rows) == {
        status: count for status, count in found["counts"].items() if count
    }
    for row in rows:
        assert (row["score"] is None) == (row["param.rank"] == -1)
        assert row["importance.alpha"] == found["importances"]["alpha"]
        record = read_record(tmp_path / "trials" / str(row["trial"]) / "run.json")
        assert row["seconds"] == record.cost.wall_seconds
    validated = {row["trial"]: row["validation_score"] for row in rows if row["validation_score"] is not None}
    assert validated == {found["best"]["trial"]: found["winner"]["score"]}


def test_trials_are_logged_to_tensorboard_once(tmp_path: Path) -> None:
    found = searched(tmp_path, trials=5, space={"rank": [-1, 4], "kind": ["lora", "dora"]}, log_to=["tensorboard"])
    searched(tmp_path, trials=5, space={"rank": [-1, 4], "kind": ["lora", "dora"]}, log_to=["tensorboard"])
    for trial in found["trials"]:
        (events,) = (tmp_path / "tensorboard" / str(trial["trial"])).iterdir()
        read = EventAccumulator(str(events)).Reload()
        logged = [event.tensor_proto.float_val[0] for event in read.Tensors("score")] if trial["score"] else []
        assert logged == ([pytest.approx(trial["score"])] if trial["score"] else [])
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        content = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        options = HParamsPluginData.FromString(content).session_start_info.hparams
        assert options["rank"].number_value == trial["options"]["rank"]
        assert options["kind"].string_value == trial["options"]["kind"]


def test_logger_that_is_not_installed_is_one_line_before_the_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(UserError, match="log_to asks for wandb, which is not installed: pip install wandb"):
        searched(tmp_path, trials=2, log_to=["wandb"])
    assert not list(tmp_path.iterdir())


def test_wandb_stays_offline_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with the calls of wandb 0.31, which the lock does not hold."""
    begun: list[dict[str, Any]] = []

    class Error(Exception):
        pass

    class Run:
        def log(self, values: dict[str, float]) -> None:
            begun[-1] |= values

        def finish(self) -> None:
            begun[-1]["finished"] = True

    def init(**options: Any) -> Run:
        if os.environ["WANDB_MODE"] == "online":
            raise Error("No API key configured.\nUse `wandb login`.")
        begun.append(options)
        return Run()

    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    vars(module).update(Error=Error, init=init, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setenv("WANDB_MODE", "")  # so that what the search sets is undone with the test
    monkeypatch.delenv("WANDB_MODE")
    found = searched(tmp_path, trials=4, space={"rank": [-1, 4, 8]}, log_to=["wandb"])
    assert os.environ["WANDB_MODE"] == "offline"
    assert [run["config"] for run in begun] == [trial["options"] for trial in found["trials"]]
    assert [run.get("score") for run in begun] == [trial["score"] for trial in found["trials"]]
    assert len({run["id"] for run in begun}) == 4
    assert all(run["finished"] and run["dir"] == tmp_path for run in begun)

    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UserError, match=r"^wandb: No API key configured\.: log in, or set WANDB_MODE=offline"):
        searched(tmp_path, trials=5, space={"rank": [-1, 4, 8]}, log_to=["wandb"])
