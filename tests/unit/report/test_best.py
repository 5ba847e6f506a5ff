"""`electralab best`: what it chooses under limits, checked by hand, and what it says where nothing fits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from report_benchmark_experiment import TASK, runs_to_time, write_benchmark
from report_experiment import MINILM, Builder, collected

from electralab.cli import main
from electralab.errors import UserError
from electralab.report.best import choose, limits
from electralab.report.results import Results
from electralab.report.statistics.comparisons import Arm


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    builder = Builder(tmp_path_factory.mktemp("best") / "artifacts")
    runs_to_time(builder)
    return collected(builder, benchmarks=[write_benchmark(builder)])


def chosen(results: Results, *under: str, memory: str | None = None) -> str:
    one = choose(results, TASK, limits(under, memory)).chosen
    return f"{one.method}@{one.timing.backend}" if one.timing else one.method


def refused(results: Results, *under: str, memory: str | None = None, task: str = TASK) -> str:
    with pytest.raises(UserError) as caught:
        choose(results, task, limits(under, memory))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_difference_shown_is_decided_by_size(results: Results) -> None:
    found = choose(results, TASK, limits(["25MB"]))
    # Under 25 MB: trim+int8 .811, int8 .819, openvino .820, static .701; only the last is shown to score lower.
    assert (found.highest.method, found.chosen.method) == ("full+openvino", "full+trim+int8")


def test_what_is_shown_to_score_lower_is_not_chosen_for_its_size(builder: Builder) -> None:
    for seed in (0, 1, 2):
        for method, score, size in (("large", 0.82, 9e7), ("alike", 0.819, 5e7), ("small", 0.70, 1e6)):
            told = {"method": method, "hub": MINILM, "known_cost": {"bytes_on_disk": int(size)}}
            builder.finetune("minilm", TASK, seed, score + 0.005 * seed, **told)
    own = collected(builder)
    assert chosen(own) == "alike"
    assert chosen(own, "10 mb") == "small"  # alone under the limit


def test_a_highest_that_scatters_does_not_hide_what_scores_lower(builder: Builder) -> None:
    for seed, wide in ((0, -0.05), (1, 0.0), (2, 0.06)):
        for method, score, size in (("restless", 0.82 + wide, 9e7), ("steady", 0.82, 8e7), ("small", 0.72, 1e6)):
            told = {"method": method, "hub": MINILM, "known_cost": {"bytes_on_disk": int(size)}}
            builder.finetune("minilm", TASK, seed, score, **told)
    own = collected(builder)
    found = choose(own, TASK, [])
    small, restless, steady = (Arm("minilm", name) for name in ("small", "restless", "steady"))
    unclear, lower = (own.runs.difference(TASK, small, other) for other in (restless, steady))
    assert unclear and lower and (unclear.verdict, lower.verdict) == ("unclear", "lower")
    assert (found.highest.method, found.chosen.method) == ("restless", "steady")


def test_one_seed_leaves_the_highest_mean(builder: Builder) -> None:
    for method, score, size in (("large", 0.82, 9e7), ("small", 0.81, 1e6)):
        told = {"method": method, "hub": MINILM, "known_cost": {"bytes_on_disk": int(size)}}
        builder.finetune("minilm", TASK, 0, score, **told)
    assert chosen(collected(builder)) == "large"


def test_every_limit_counts(results: Results) -> None:
    assert chosen(results, "25MB", "4.5ms") == "full+openvino@openvino"
    assert chosen(results, "4.5ms", memory="230MB") == "full+openvino@openvino"
    assert chosen(results, memory="100MB") == "full+trim+int8@onnxruntime"


def test_a_limit_that_nobody_meets_names_the_nearest(results: Results) -> None:
    said = refused(results, "10MB")
    assert said == (
        f"no model on {TASK} is under 10MB: the nearest is minilm full+trim+int8@onnxruntime (files of weights 17.3 MB)"
    )
    both = refused(results, "4.5ms", memory="120MB")
    assert "under 4.5ms and 120MB: the nearest is" in both and "latency 4.78 ms" in both


def test_unknown_tasks_and_units(results: Results) -> None:
    assert refused(results, task="sst2").endswith(f"has no finished run on it; there are {TASK}")
    assert "--under 5s: write a number and its unit, as 25MB or 5ms" in refused(results, "5s")
    assert "--under-memory 5ms: write" in refused(results, memory="5ms")
    assert "at most" in refused(results, "5MB", "6MB")


def test_milliseconds_need_a_benchmark(builder: Builder) -> None:
    builder.finetune("minilm", TASK, 0, 0.8, hub=MINILM, known_cost={"bytes_on_disk": 1_000_000})
    own = collected(builder)
    assert chosen(own, "25MB") == "full"
    assert "knows the latency of no model on movie_sentiment" in refused(own, "5ms")
    assert "knows the memory of the process of no model" in refused(own, memory="100MB")


def test_a_model_of_which_nothing_was_kept_has_no_path(builder: Builder) -> None:
    builder.finetune("minilm", TASK, 0, 0.8, hub=MINILM)
    builder.baseline(TASK, 0.7)
    assert "of which anything was kept: see save_model" in refused(collected(builder))


def test_the_command_prints_numbers_and_the_path(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["best", "--task", TASK, "--under", "25MB", "--under", "5ms", "--under-memory", "120MB"]
    assert main([*told, "--results", str(results.folder)]) == 0
    said = capsys.readouterr().out
    assert (
        "minilm full+trim+int8@onnxruntime on movie_sentiment\n  score    0.811 [0.788, 0.833] n=3 (accuracy)" in said
    )
    assert "  size     17.3 MB\n  latency  4.78 ms [4.63, 4.97]: 1 row of 32 tokens, 1 thread, " in said
    assert "  memory   96.1 MB of the process" in said
    path = Path(next(line.split()[-1] for line in said.splitlines() if "artifact" in line))
    assert (path.parent / "run.json").is_file() and path.name == "model"
    assert "Smaller, and no difference shown (" in said and "TF-IDF + linear model 0.700; this one scores +0.1" in said
    assert main(["best", "--task", "sst2", "--results", str(results.folder)]) == 1
    assert capsys.readouterr().err.startswith("electralab: --task sst2: ")


def test_it_does_without_torch(results: Results) -> None:
    code = (
        "import sys; from electralab.cli import main; "
        f"main(['best', '--task', {TASK!r}, '--results', {str(results.folder)!r}]); "
        "print([name for name in ('torch', 'transformers', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
