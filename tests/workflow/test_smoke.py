"""The smoke preset end to end: real downloads, real training, tables, figures, report, and what a rerun does."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import matplotlib.image
import pytest
import yaml

from electralab.config import load_experiment, read_experiment
from electralab.names import chain_links, run_folder
from electralab.plan import Plan
from electralab.records import read_record

Run = Callable[..., "CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / "workflow" / "presets" / "smoke.yaml"
PLAN = Plan(read_experiment([ROOT / "config.yaml", PRESET]))
WEIGHTS = {"huggingface": "model.safetensors", "adapter": "adapter_model.safetensors", "onnx": "model.onnx"}

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, snakemake: Run, downloads: Path) -> Path:
    """A folder in which the smoke preset has run once."""
    folder = tmp_path_factory.mktemp("smoke")
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "downloads").symlink_to(downloads, target_is_directory=True)
    done = snakemake(folder, "--cores", "2", "all", "--configfile", PRESET)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    (folder / "console.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return folder


@pytest.fixture
def overlay(tmp_path: Path) -> Callable[[str], Path]:
    """Write an overlay on the smoke preset, with a name of its own."""

    def write(text: str) -> Path:
        path = tmp_path / "overlay.yaml"
        path.write_text(f"name: edited\n{text}")
        return path

    return write


def jobs(done: CompletedProcess[str]) -> dict[str, int]:
    """How many jobs of each rule were run or planned, without the targets that only collect."""
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
    return {rule: count for rule, count in counts.items() if rule not in ("all", "total")}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def runs_of(*methods: str) -> int:
    """Runs of chains that begin with one of these methods: what is made of an artifact is made again with it."""
    return sum(chain_links(chain)[0] in methods for _, _, chain, _ in PLAN.finetuning_runs)


def test_every_run_left_a_record_and_a_row(smoke: Path) -> None:
    records = [read_record(smoke / path) for path in PLAN.records]
    assert {record.status for record in records} == {"ok"}
    assert len(rows(smoke / "results/smoke/runs.csv")) == len(records)
    for record in records:
        assert record.cost.wall_seconds > 0
        assert record.provenance.data
        assert record.synthetic == (record.task == "smoke_word_order")
        if record.stage == "run":
            assert 0 <= record.metrics["accuracy"] <= 1
        if record.stage == "pretrain":
            assert record.extensions == ["position_aware_init", "unigram_warmup"]


@pytest.mark.parametrize("table", PLAN.tables)
def test_table_has_numbers_and_a_readable_twin(smoke: Path, table: str) -> None:
    content = rows(smoke / f"results/smoke/tables/{table}.csv")
    assert len(content) >= 2
    numbers = [
        value for row in content for value in row.values() if re.fullmatch(r"-?\d+\.\d+(e[+-]?\d+)?", value or "")
    ]
    assert len(set(numbers)) >= (1 if table in ("methods", "lora_grid") else 4)
    assert "nan" not in {value.lower() for row in content for value in row.values() if value}
    markdown = (smoke / f"results/smoke/tables/{table}.md").read_text(encoding="utf-8")
    assert markdown.splitlines()[0].startswith("# ") and "**How this was measured.**" in markdown
    assert sum(line.startswith("|") for line in markdown.splitlines()) >= 4
    assert max(line.count(" | ") for line in markdown.splitlines()) < 9
    page = (smoke / f"results/smoke/tables/{table}.html").read_text(encoding="utf-8")
    assert page.count("<tr>") >= 2 and not re.search(r"(src|href)=", page)


def test_what_is_retained_is_measured_beside_the_runs(smoke: Path) -> None:
    records = [read_record(smoke / path) for path in PLAN.retention_records]
    assert [record.status for record in records] == ["ok", "ok", "skipped", "skipped"]  # the model, full, trim, int8
    assert all(0.3 < record.metrics["rtd_auc"] < 0.9 for record in records[:2])
    assert len(rows(smoke / "results/smoke/retention.csv")) == 4


def test_adapters_lie_beside_their_records(smoke: Path) -> None:
    for model, task, chain, seed in PLAN.finetuning_runs:
        folder = smoke / run_folder(model, task, chain, seed) / "model"
        weights = {path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".onnx")}
        assert weights == {WEIGHTS[PLAN.methods[chain_links(chain)[-1]].leaves]}
    trials = sorted((smoke / "artifacts/searches/smoke_search/trials").glob("*/run.json"))
    assert [read_record(path).status for path in trials] == ["ok"] * 3
    assert len(rows(smoke / "results/smoke/searches.csv")) == 3


@pytest.mark.parametrize("figure", PLAN.figures)
def test_figure_is_drawn_twice(smoke: Path, figure: str) -> None:
    svg = ElementTree.parse(smoke / f"results/smoke/figures/{figure}.svg").getroot()
    assert sum(element.tag.endswith("}path") for element in svg.iter()) > 20
    picture = matplotlib.image.imread(smoke / f"results/smoke/figures/{figure}.png")
    height, width = picture.shape[:2]
    assert min(height, width) >= 300
    ink = (picture[..., :3] < 0.9).any(axis=-1).mean()
    assert 0.005 < ink < 0.9


def test_resolved_config_is_the_experiment(smoke: Path) -> None:
    written = yaml.safe_load((smoke / "results/smoke/config.resolved.yaml").read_text(encoding="utf-8"))
    assert load_experiment(written) == PLAN.experiment


def test_no_half_written_or_left_over_files(smoke: Path) -> None:
    left = [path for path in (smoke / "artifacts").rglob("*") if path.name.endswith(".partial")]
    left += list((smoke / "artifacts" / "models").rglob("checkpoints"))
    assert left == []


def test_the_console_is_short_and_ends_with_what_came_out(smoke: Path) -> None:
    lines = (smoke / "console.txt").read_text(encoding="utf-8").splitlines()
    runs = len(PLAN.records)
    assert any(line.startswith(f"smoke: {runs} of {runs} runs to do (") for line in lines)
    assert any(re.match(r"done   smoke-g25 seed 0: MLM loss \d", line) for line in lines)
    started, ended = (sum(line.startswith(word) for line in lines) for word in ("start  ", "done   "))
    assert started == ended > runs
    others = [line for line in lines if not re.match(r"start  |done   | *\d+ % of the work done, ", line)]
    assert len(others) <= 12
    last = lines[next(index for index, line in enumerate(lines) if line.startswith("smoke: done after ")) :]
    assert last[-1].startswith("all on one page: snakemake --cores 1 --report report.html --configfile ")
    assert len(last) <= 6


def test_status_of_a_finished_experiment(smoke: Path, electralab: Run) -> None:
    done = electralab("status", "--configfile", PRESET, cwd=smoke)
    assert done.returncode == 0
    runs = len(PLAN.records)
    assert done.stdout.startswith(f"smoke: {runs} of {runs} runs done, 0 running, 0 failed, 0 skipped, 0 left; ")


def test_neither_another_place_nor_a_change_of_the_command_reruns_anything(smoke: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(smoke, clone, symlinks=True, ignore=shutil.ignore_patterns("*.safetensors"))
    for part in ("Snakefile", "workflow", "profiles", "config.yaml", "reference", "envs"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, clone / part)
    rule = clone / "workflow" / "rules" / "pretrain.smk"
    rule.write_text(rule.read_text().replace("python -m electralab", "python  -m electralab"))
    for snakefile, folder in (("Snakefile", clone), (clone / "Snakefile", smoke), ("clone/Snakefile", tmp_path)):
        command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "-n", "--configfile", PRESET]
        command += ["--directory", clone] if folder == tmp_path else []
        done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
        assert jobs(done) == {}, folder


def test_second_run_has_nothing_to_do(smoke: Path, snakemake: Run) -> None:
    done = snakemake(smoke, "--cores", "2", "all", "--configfile", PRESET)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert jobs(done) == {}


def test_deleted_figure_is_rebuilt_alone(smoke: Path, snakemake: Run) -> None:
    figure = smoke / "results/smoke/figures/generator_size.svg"
    before = {path: path.stat().st_mtime_ns for path in (smoke / "artifacts").rglob("run.json")}
    figure.unlink()
    done = snakemake(smoke, "results/smoke/figures/generator_size.svg", "--cores", "2", "--configfile", PRESET)
    assert [line for line in done.stderr.splitlines() if line.startswith("start  ")] == [
        "start  Draw figure generator_size"
    ]
    assert figure.stat().st_size > 2000
    assert before == {path: path.stat().st_mtime_ns for path in (smoke / "artifacts").rglob("run.json")}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            "methods: {smoke_full: {epochs: 2}}",
            # Not the measurement of the model itself.
            {"run": runs_of("smoke_full", "smoke_distil"), "retention": len(PLAN.retention_runs) - 1},
        ),
        (
            "methods: {smoke_lora: {epochs: 2}}",
            {"run": runs_of("smoke_lora") + runs_of(*PLAN.experiment.expanded("smoke_grid")), "search": 1},
        ),
        ("retention: {smoke_retention: {sequences: 50}}", {"retention": len(PLAN.retention_runs)}),
        ("methods: {smoke_tfidf: {max_train_rows: 150}}", {"run": len(PLAN.baseline_runs)}),
        ("methods: {quick_full: {epochs: 9}}", {}),
    ],
    ids=["fine-tuning method", "method of a grid and a search", "retention", "baseline", "method that is not used"],
)
def test_edited_method_reruns_only_its_runs(
    edit: str, expected: dict[str, int], smoke: Path, snakemake: Run, overlay: Callable[[str], Path]
) -> None:
    planned = jobs(snakemake(smoke, "all", "-n", "--configfile", PRESET, overlay(edit)))
    results = {"collect": 1, "table": len(PLAN.tables), "figure": len(PLAN.figures), "resolved_config": 1}
    assert planned == expected | results


def test_another_generator_size_runs_only_what_is_new(
    smoke: Path, snakemake: Run, overlay: Callable[[str], Path]
) -> None:
    path = overlay("pretraining: {smoke: {generator_sizes: [0.25, 0.5, 1.0]}}")
    planned = jobs(snakemake(smoke, "all", "-n", "--configfile", PRESET, path))
    # The new size, its two fine-tuning seeds on the one task that takes all sizes, and the results.
    assert (planned.pop("pretrain"), planned.pop("run")) == (1, 2)
    assert set(planned) == {"collect", "table", "figure", "resolved_config"}


def test_report_is_one_offline_page_with_every_result(smoke: Path, snakemake: Run, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = snakemake(smoke, "--cores", "1", "--report", page, "--configfile", PRESET)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?://", html)
    for name in [*(f"{table}.html" for table in PLAN.tables), *(f"{figure}.svg" for figure in PLAN.figures)]:
        assert name in html


def test_damaged_run_record_is_named(smoke: Path, snakemake: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(smoke, copy, symlinks=True, ignore=shutil.ignore_patterns("discriminator", "generator"))
    damaged = copy / PLAN.records[-1]
    damaged.write_text(damaged.read_text()[:40])
    done = snakemake(copy, "results/smoke/runs.csv", "--cores", "1", "--configfile", PRESET, "--forcerun", "collect")
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"{PLAN.records[-1]} is damaged" in output
    assert "Traceback" not in output
