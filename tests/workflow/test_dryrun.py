"""The workflow before anything runs: every preset plans, every name resolves, a wrong one is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from electralab.config import read_experiment
from electralab.names import retention_folder, run_folder
from electralab.plan import Plan

Run = Callable[..., "CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[2]
PRESETS = {path.stem: path for path in sorted((ROOT / "workflow" / "presets").glob("*.yaml"))}
EXPERIMENTS = ["quick", *PRESETS]


@cache
def plan(experiment: str) -> Plan:
    return Plan(read_experiment([ROOT / "config.yaml", *([PRESETS[experiment]] if experiment in PRESETS else [])]))


def overlay(experiment: str) -> list[str | Path]:
    return ["--configfile", PRESETS[experiment]] if experiment in PRESETS else []


def planned_jobs(done: CompletedProcess[str]) -> dict[str, int]:
    """How many jobs of each rule a dry run announces."""
    assert done.returncode == 0, done.stdout + done.stderr
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)}


def without_network() -> tuple[str, ...]:
    """A prefix that runs a command in a network namespace with no interface, where the system allows it."""
    prefix = ("unshare", "--map-root-user", "--net")
    allowed = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if allowed and allowed.returncode == 0 else ()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_plans_offline(experiment: str, tmp_path: Path, snakemake: Run) -> None:
    for folder in ("glue", "imdb_sample"):  # local data must be there before anything is planned
        (tmp_path / "data" / folder).mkdir(parents=True)
    done = snakemake(tmp_path, "-n", *overlay(experiment), prefix=without_network())
    expected = plan(experiment)
    jobs = planned_jobs(done)
    assert jobs.pop("total") == sum(jobs.values())
    assert jobs.get("pretrain", 0) == len(expected.pretraining_runs)
    assert jobs["run"] == len(expected.task_records)
    assert jobs.get("retention", 0) == len(expected.retention_records)
    assert jobs.get("search", 0) == len(expected.search_results)
    assert jobs["table"] == len(expected.tables)
    assert jobs["figure"] == len(expected.figures)


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("all", "all"),
        ("pretraining", "pretraining"),
        ("finetuning", "finetuning"),
        ("tables", "tables"),
        ("figures", "figures"),
        ("glue", "glue"),
        ("submissions", "submissions"),
        ("results/quick/runs.csv", "collect"),
        ("results/quick/tables/efficiency.md", "table"),
        ("results/quick/figures/generator_size.png", "figure"),
        ("results/quick/config.resolved.yaml", "resolved_config"),
        ("artifacts/corpora/bundled_english/manifest.json", "build_corpus"),
        ("artifacts/tokenizers/wordpiece_2k/tokenizer.json", "build_tokenizer"),
        ("artifacts/tokens/bundled_english/wordpiece_2k/manifest.json", "build_tokens"),
        ("artifacts/tasks/word_order/manifest.json", "build_task"),
        ("artifacts/models/pretrained/tiny-g25/seed-1/run.json", "pretrain"),
        ("artifacts/runs/tiny-g100/boolq/quick_full/seed-2/run.json", "run"),
        ("artifacts/runs/tiny-g100/boolq/quick_full+half/seed-2/model/manifest.json", "run"),
        ("artifacts/runs/no_model/boolq/tfidf/seed-0/run.json", "run"),
    ],
)
def test_named_target_resolves(target: str, last: str, tmp_path: Path, snakemake: Run) -> None:
    jobs = planned_jobs(snakemake(tmp_path, target, "-n"))
    assert jobs.get(last, 0) >= 1


def test_single_target_plans_only_what_it_needs(tmp_path: Path, snakemake: Run) -> None:
    jobs = planned_jobs(snakemake(tmp_path, "artifacts/models/pretrained/tiny-g25/seed-0/run.json", "-n"))
    assert jobs == {"build_corpus": 1, "build_tokenizer": 1, "build_tokens": 1, "pretrain": 1, "total": 4}


@pytest.mark.parametrize(
    "target",
    [
        "nonsense",
        "results/quick/figures/nonsense.svg",
        "results/quick/tables/nonsense.csv",
        "results/smoke/runs.csv",
        "artifacts/corpora/nonsense/manifest.json",
        "artifacts/tasks/nonsense/manifest.json",
        "artifacts/tokenizers/nonsense/tokenizer.json",
        "artifacts/models/pretrained/nonsense-g25/seed-0/run.json",
        "artifacts/models/pretrained/tiny-g33/seed-0/run.json",
        "artifacts/models/pretrained/tiny-g25/seed-one/run.json",
        "artifacts/runs/tiny-g25/boolq/tfidf/seed-0/run.json",
        "artifacts/runs/tiny-g25/nonsense/quick_full/seed-0/run.json",
        "artifacts/runs/tiny-g25/boolq/quick_full+nonsense/seed-0/run.json",
        "artifacts/runs/no_model/boolq/quick_full/seed-0/run.json",
        "artifacts/retention/nonsense/tiny-g25/run.json",
    ],
)
def test_wrong_target_is_refused_with_its_name(target: str, tmp_path: Path, snakemake: Run) -> None:
    done = snakemake(tmp_path, target, "-n")
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"\nelectralab: No rule to produce {target} in the experiment quick" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("target", "meant"),
    [("tabels", "tables"), ("results/quick/figures/generator_sizes.svg", "results/quick/figures/generator_size.svg")],
)
def test_the_target_that_was_meant_is_suggested(target: str, meant: str, tmp_path: Path, snakemake: Run) -> None:
    done = snakemake(tmp_path, target, "-n")
    assert done.returncode == 1
    assert f"; did you mean {meant!r}?" in done.stdout + done.stderr


def test_a_name_means_one_thing_in_all_experiments() -> None:
    """The same path under artifacts/ is made from the same inputs by the same spec, whichever preset runs."""
    meanings: dict[str, tuple[str, str]] = {}
    for name in EXPERIMENTS:
        for path, meaning in artifacts(plan(name)).items():
            first, known = meanings.setdefault(path, (name, meaning))
            assert meaning == known, f"{path} differs between {first} and {name}"
    assert len(meanings) > len(plan("quick").records)


def artifacts(of: Plan) -> dict[str, str]:
    """What each artifact of an experiment is made from."""
    made = {f"corpora/{name}": of.corpus_spec(name) for name in of.experiment.corpora}
    made |= {f"tokenizers/{name}": of.tokenizer_spec(name) for name in of.experiment.tokenizers}
    made |= {f"tasks/{name}": of.task_spec(name) for name in of.experiment.tasks}
    for model, seed in of.pretraining_runs:
        made[f"pretrained/{model}/{seed}"] = of.pretrain_spec(model, seed) + str(of.pretrain_inputs(model, seed))
    for run in (*of.finetuning_runs, *of.baseline_runs):
        made[run_folder(*run)] = of.run_spec(*run) + str(of.run_inputs(*run))
    for retention in of.retention_runs:
        made[retention_folder(*retention)] = of.retention_spec(*retention) + str(of.retention_inputs(*retention))
    return made
