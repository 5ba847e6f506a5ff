"""A bad config on the command line: one line that names the thing and the remedy, status 1, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from electralab.config import FullFinetuning

Run = Callable[..., "CompletedProcess[str]"]

BAD = {
    "unknown key": (
        "pretraining: {tiny: {lerning_rate: 0.1}}",
        ["pretraining.tiny.lerning_rate", "mean 'learning_rate'?", "configuration.md"],
    ),
    "unknown section": ("finetuning: {}", ["'finetuning'", "configuration.md"]),
    "wrong type": ("pretraining: {tiny: {steps: many}}", ["pretraining.tiny.steps", "integer", "many"]),
    "text as number": ("pretraining: {tiny: {learning_rate: fast}}", ["tiny.learning_rate", "number", "'fast'"]),
    "unknown task": (
        "run: {finetuning: [{models: [tiny], tasks: [squad], methods: [quick_full]}]}",
        ["run.finetuning[0].tasks", "'squad'", "boolq"],
    ),
    "unknown method": (
        "run: {finetuning: [{models: [tiny], tasks: [boolq], methods: [lora]}]}",
        ["run.finetuning[0].methods", "'lora'", "quick_full"],
    ),
    "unknown model": (
        "run: {finetuning: [{models: [bert], tasks: [boolq], methods: [quick_full]}]}",
        ["run.finetuning[0].models", "'bert'", "tiny_random"],
    ),
    "generator of size 0": ("pretraining: {tiny: {generator_sizes: [0.0]}}", ["generator size 0", "(0, 1]"]),
    "generator too large": ("pretraining: {tiny: {generator_sizes: [1.5]}}", ["generator size 1.5", "(0, 1]"]),
    "sequence too long": (
        "pretraining: {tiny: {sequence_length: 257}}",
        ["sequence_length 257", "max_positions 256"],
    ),
    "vocabulary too large": (
        "tokenizers: {wordpiece_2k: {vocab_size: 65536}}",
        ["tokenizers.wordpiece_2k", "65536", "uint16"],
    ),
    "links that do not fit": (
        "run: {finetuning: [{models: [tiny], tasks: [boolq], chains: [[quick_full, merged]]}]}\n"
        "methods: {merged: {kind: merge}}",
        ["run.finetuning[0]: chain quick_full+merged", "an adapter", "lora"],
    ),
    "no name of its own": ("pretraining: {tiny: {steps: 500}}", ["results/quick", "name: mine"]),
    "no local text": (
        "name: mine\ncorpora: {bundled_english: {parts: [{source: local, path: nowhere}]}}",
        ["corpora.bundled_english.parts[0].path", "'nowhere'"],
    ),
    "not a mapping": ("- a list", ["overlay.yaml", "mapping"]),
    "empty": ("", ["overlay.yaml", "mapping"]),
    "not YAML": ("name: [unclosed", ["cannot read", "overlay.yaml"]),
}


def only_line(done: CompletedProcess[str]) -> str:
    """The one line that a mistake may print."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.mark.parametrize(("overlay", "parts"), BAD.values(), ids=BAD)
def test_bad_config_is_one_line(overlay: str, parts: list[str], tmp_path: Path, root: Path, electralab: Run) -> None:
    path = tmp_path / "overlay.yaml"
    path.write_text(overlay)
    line = only_line(electralab("validate", "--config", root / "config.yaml", path))
    assert line.startswith("electralab: ")
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize("content", [b"name: caf\xe9", b"\xff\xfen\x00a\x00", b"name: \x00"])
def test_unreadable_encoding_is_one_line(content: bytes, tmp_path: Path, electralab: Run) -> None:
    path = tmp_path / "latin1.yaml"
    path.write_bytes(content)
    assert "latin1.yaml" in only_line(electralab("validate", "--config", path))


@pytest.mark.parametrize("what", ["absent", "a folder"])
def test_unreadable_file_is_one_line(what: str, tmp_path: Path, electralab: Run) -> None:
    path = tmp_path / "absent.yaml" if what == "absent" else tmp_path
    assert str(path) in only_line(electralab("validate", "--config", path))


def test_debug_shows_the_traceback(tmp_path: Path, electralab: Run) -> None:
    done = electralab("validate", "--debug", "--config", tmp_path / "absent.yaml")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UserError" in done.stderr


def test_the_resolved_config_has_every_default_filled_in(tmp_path: Path, electralab: Run) -> None:
    experiment = '{"name": "mine", "methods": {"mine": {"kind": "full", "recipe": "rc2020"}}}'
    done = electralab("resolve", "--experiment", experiment, "--out", tmp_path / "resolved.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    written = yaml.safe_load((tmp_path / "resolved.yaml").read_text())
    assert written["methods"]["mine"] == FullFinetuning(recipe="rc2020").model_dump()
    assert written["run"]["pretraining_seed"] == 0


def test_good_config_says_so(root: Path, electralab: Run) -> None:
    done = electralab("validate", "--config", root / "config.yaml", root / "workflow" / "presets" / "smoke.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("smoke: valid")


@pytest.mark.parametrize("damage", ["{}", "not json", '{"model": "x", "colour": 1}'])
def test_bad_spec_of_a_job_is_one_line(damage: str, tmp_path: Path, electralab: Run) -> None:
    arguments = ["--spec", damage, "--task", tmp_path / "manifest.json", "--out", tmp_path / "run.json"]
    assert "--spec" in only_line(electralab("run", *arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["unknown key", "links that do not fit", "no name of its own", "no local text"])
def test_workflow_stops_before_the_dag_and_leaves_results_alone(name: str, tmp_path: Path, snakemake: Run) -> None:
    overlay, parts = BAD[name]
    (tmp_path / "overlay.yaml").write_text(overlay)
    result = tmp_path / "results" / "quick" / "runs.csv"
    result.parent.mkdir(parents=True)
    result.write_text("earlier")
    done = snakemake(tmp_path, "--cores", "1", "all", "--configfile", tmp_path / "overlay.yaml")
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in output
    assert "Building DAG" not in output and "WorkflowError" not in output
    (line,) = [line for line in output.splitlines() if line.startswith("electralab: ")]
    assert output.splitlines()[-1] == line
    assert [part for part in parts if part not in output] == []
    assert result.read_text() == "earlier"


def test_numbers_on_snakemakes_command_line_are_numbers(tmp_path: Path, snakemake: Run) -> None:
    longer = "pretraining={tiny: {steps: 2500, learning_rate: 1e-3}}"
    target = "artifacts/models/pretrained/tiny-g25/seed-0/run.json"
    done = snakemake(tmp_path, target, "--dry-run", "--printshellcmds", "--config", "name=mine", longer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"learning_rate":0.001' in done.stdout and '"steps":2500' in done.stdout


def test_a_change_on_snakemakes_command_line_needs_a_name(tmp_path: Path, snakemake: Run) -> None:
    done = snakemake(tmp_path, "all", "--dry-run", "--config", "pretraining={tiny: {steps: 2500}}")
    assert done.returncode == 1
    assert "--config name=mine" in done.stdout + done.stderr
