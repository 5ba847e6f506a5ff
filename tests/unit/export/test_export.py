"""`electralab export`: a folder that answers as the run did, with libraries that know nothing of ours."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from chains import fetched, predictions, run_chain
from finetune_task import write_task

from electralab.cli import main
from electralab.export import parity
from electralab.export.parity import made_texts
from electralab.names import record_in, task_manifest
from electralab.records import read_record

ROOT = Path(__file__).resolve().parents[3]
TRAINED = {"learning_rates": [1e-2], "epochs": 3, "batch_size": 16, "max_length": 32}
FULL = {"kind": "full", "layerwise_lr_decay": 1.0, **TRAINED}
LORA = {"kind": "lora", **TRAINED}
CHAINS = {
    "full": ("words", {"full": FULL}),
    "mean": ("pairs", {"full": FULL | {"pooling": "mean"}}),
    "merged": ("words", {"lora": LORA, "merge": {"kind": "merge"}, "half": {"kind": "half"}}),
    "int8": ("words", {"full": FULL, "int8": {"kind": "dynamic_int8"}}),
    "scores_int8": ("scores", {"full": FULL, "int8": {"kind": "static_int8"}}),
}
# Whatever is imported by what is asked afterwards must do without these.
MISSING = "torch pydantic transformers yaml pandas safetensors onnx tqdm datasets snakemake".split()
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({MISSING!r}))
from electralab.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with tasks where the workflow has them."""
    root = tmp_path_factory.mktemp("export")
    options = {"words": {}, "pairs": {"pair": True}, "scores": {"labels": "scores"}}
    for name, more in options.items():
        made = write_task(root / name, **more)
        shutil.copytree(made.parent, (root / task_manifest(name)).parent)
    return root


@pytest.fixture(scope="module")
def encoder(root: Path) -> Path:
    return fetched(root, "encoder")


def left(root: Path, encoder: Path, name: str) -> Path:
    """The folder of the last link of a chain on a task, which is there after the first call."""
    task, links = CHAINS[name]
    folder = root / "artifacts" / "runs" / name / task
    if not folder.exists():
        run_chain(folder, root / task_manifest(task), encoder, **links)
        for path in folder.rglob("*.json"):  # the helper calls every task alike
            if path.name in ("run.json", "manifest.json"):
                told = json.loads(path.read_text())
                path.write_text(json.dumps(told | {"task": task}))
        for run in list(folder.iterdir()):  # as the workflow lays them out
            run.rename(folder / "moved")
            run.mkdir()
            (folder / "moved").rename(run / "seed-1")
    return folder / "+".join(links) / "seed-1"


def rows_of(root: Path, name: str) -> list[dict[str, str]]:
    lines = (root / task_manifest(CHAINS[name][0])).with_name("validation.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def exported(run: Path, out: Path) -> Path:
    assert main(["export", str(run), "--to", "onnx", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("name", CHAINS)
def test_the_folder_answers_as_the_run_without_torch_and_pydantic(name, root, encoder, tmp_path, capsys):
    run = left(root, encoder, name)
    out = exported(run, tmp_path / "out")
    assert "232 texts (200 of the task)" in capsys.readouterr().out
    table, answers = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    rows = [{"text": row["text"], **({"pair": row["pair"]} if row["pair"] else {})} for row in rows_of(root, name)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-c", WITHOUT, "predict", str(out)]
    command += ["--file", str(table), "--out", str(answers)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found, wanted = [json.loads(line) for line in answers.read_text().splitlines()], predictions(run)
    assert len(found) == len(wanted) == 200
    for one, other in zip(found, wanted):
        if CHAINS[name][0] == "scores":
            assert one["prediction"] == pytest.approx(float(other["prediction"]), abs=1e-3)
        else:
            assert one["prediction"] == other["prediction"]
            assert one["scores"]["yes"] == pytest.approx(float(other["score_yes"]), abs=1e-4)


def block(language: str) -> str:
    """An example of docs/deploying.md."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "deploying.md").read_text(), re.DOTALL)
    return code


@pytest.mark.parametrize("name", ["full", "int8"])
def test_the_python_example_of_the_documentation(name, root, encoder, tmp_path):
    run = left(root, encoder, name)
    out, rows = exported(run, tmp_path / "out"), rows_of(root, name)[:40]
    assert block("python").count("\n") <= 20
    (tmp_path / "answer.py").write_text(block("python"))
    texts = [row["text"] for row in rows]
    done = subprocess.run(
        [sys.executable, "answer.py", str(out), *texts], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    said = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert said == [row["prediction"] for row in predictions(run)[:40]]


@pytest.mark.network
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_node_example_of_the_documentation(root, encoder, tmp_path):
    run = left(root, encoder, "full")
    out, rows = exported(run, tmp_path / "out"), rows_of(root, "full")[:10]
    (tmp_path / "answer.mjs").write_text(block("js"))
    install = re.search(r"`(npm install [^`]+)`", (ROOT / "docs" / "deploying.md").read_text())
    assert install is not None
    subprocess.run(install[1].split(), cwd=tmp_path, capture_output=True, check=True)
    texts = [row["text"] for row in rows]
    done = subprocess.run(
        ["node", "answer.mjs", str(out), *texts], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    said = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert said == [row["prediction"] for row in predictions(run)[:10]]


@pytest.mark.network
def test_the_extra_is_all_that_predict_needs(root, encoder, tmp_path):
    """Installed as its users install it, into an environment of its own."""
    run = left(root, encoder, "int8")
    out = exported(run, tmp_path / "out")
    copy = tmp_path / "project"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    shutil.copytree(
        ROOT / "src" / "electralab", copy / "src" / "electralab", ignore=shutil.ignore_patterns("__pycache__")
    )
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{copy}[deploy]"], check=True, capture_output=True)
    packages = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "onnxruntime" in packages and not re.search(r"^(torch|pydantic|transformers)\b", packages, re.MULTILINE)
    texts = [row["text"] for row in rows_of(root, "int8")]
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "electralab", "predict", str(out)],
        input="\n".join(texts),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    said = [line.split("\t")[0] for line in done.stdout.splitlines()[1:]]
    assert said == [row["prediction"] for row in predictions(run)]


def test_lines_are_answered_as_they_come(root, encoder, tmp_path):
    out = exported(left(root, encoder, "full"), tmp_path / "out")
    command = [sys.executable, "-m", "electralab", "predict", str(out), "--rows-at-once", "1", "--format", "jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asked:
        assert asked.stdin is not None and asked.stdout is not None
        for text in ("w1 w2", "w3", "w4 w5 w6"):
            asked.stdin.write(f"{text}\n")
            asked.stdin.flush()
            assert json.loads(asked.stdout.readline())["text"] == text
        asked.stdin.close()


def test_the_model_card_says_what_is_known(root, encoder, tmp_path):
    run = left(root, encoder, "int8")
    card = (exported(run, tmp_path / "out") / "README.md").read_text()
    record = read_record(Path(record_in(str(run))))
    header, body = card.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(header)["pipeline_tag"] == "text-classification"
    assert f"accuracy {record.metrics['score']:.3f} [" in body and "200 validation rows, seed 1" in body
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", body, re.DOTALL)[1])
    assert list(settings) == ["full", "int8"] and settings["full"]["epochs"] == 3
    assert "`no`, `yes`" in body and "licence" in body and "100.0% of the labels are the same" in body
    # A copy that is far from its record has a card too.
    shutil.copytree(run / "model", tmp_path / "copied" / "model")
    alone = (exported(tmp_path / "copied" / "model", tmp_path / "again") / "README.md").read_text()
    assert "no score is known" in alone and "0 of the task" in alone


def refused(capsys, *asked: str) -> str:
    capsys.readouterr()
    assert main(["export", *asked]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(root, encoder, tmp_path, capsys):
    task, out = root / task_manifest("words"), ("--to", "onnx", "--out", str(tmp_path / "out"))
    run_chain(tmp_path / "adapter", task, encoder, lora=LORA)
    adapter = refused(capsys, str(tmp_path / "adapter" / "lora"), *out)
    assert "is an adapter: let a link of kind merge follow it" in adapter
    run_chain(tmp_path / "decoder", task, fetched(tmp_path, "opt"), full=FULL | {"max_length": 64, "epochs": 1})
    assert "only encoders are exported" in refused(capsys, str(tmp_path / "decoder" / "full"), *out)
    run_chain(tmp_path / "wild", task, encoder, full=FULL | {"learning_rates": [1e30]})
    assert "holds nothing to export: the run is failed" in refused(capsys, str(tmp_path / "wild" / "full"), *out)
    assert "holds nothing that a run left" in refused(capsys, str(tmp_path), *out)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.skipif(importlib.util.find_spec("openvino") is not None, reason="the extra `openvino` is installed")
def test_a_runtime_that_is_not_installed_is_one_line(root, encoder, tmp_path, capsys):
    run = left(root, encoder, "full")
    told = refused(capsys, str(run), "--to", "openvino", "--out", str(tmp_path / "out"))
    assert told == 'electralab: OpenVINO is not installed: pip install "electralab[openvino]"'
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_kept(root, encoder, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    run = left(root, encoder, "full")
    assert "is there already" in refused(capsys, str(run), "--to", "onnx", "--out", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_other_answers_are_not_exported(root, encoder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parity, "open_deployed", lambda *_: Wrong())
    run = left(root, encoder, "full")
    told = refused(capsys, str(run), "--to", "onnx", "--out", str(tmp_path / "out"))
    assert "is not exported, because what came out of it answers otherwise than the run" in told
    assert not list(tmp_path.iterdir())


class Wrong:
    """A model that is sure of the first class."""

    def answer(self, texts):
        return np.log(np.tile([0.99, 0.01], (len(texts), 1)))


def test_a_changed_folder_is_refused(root, encoder, tmp_path, capsys):
    out = exported(left(root, encoder, "full"), tmp_path / "out")
    (out / "README.md").write_text("a card of my own")  # which is the user's
    assert main(["predict", str(out), "w1"]) == 0
    (out / "tokenizer.json").write_text((out / "tokenizer.json").read_text() + " ")
    capsys.readouterr()
    assert main(["predict", str(out), "w1"]) == 1
    assert "tokenizer.json is not the file that" in capsys.readouterr().err
    (out / "manifest.json").write_text('{"form": "onnx", "schema_version": 1}')
    assert main(["predict", str(out), "w1"]) == 1
    assert "is not the manifest of a graph" in capsys.readouterr().err


def test_made_texts_are_of_every_length():
    lengths = [len(example.text.split()) for example in made_texts(32, True)]
    assert lengths[0] == 0 and lengths[-1] == 48 and lengths == sorted(lengths)
    assert all(example.pair is not None for example in made_texts(32, True))
