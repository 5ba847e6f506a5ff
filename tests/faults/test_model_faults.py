"""Models that cannot be had: one line that says why, and nothing that looks like a model is left."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from model_hub import COMMIT, fetch, serve_model, write_bert, write_tokenizer_json
from safetensors.torch import load_file

from electralab.config import HubModel, LocalModel
from electralab.data.models import convert_gguf, fetch_model
from electralab.electra.convert import load_encoder
from electralab.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = write_bert(tmp_path / "source")
    write_tokenizer_json(source)
    return source


def local_error(source: Path, manifest: Path) -> str:
    with pytest.raises(UserError) as error:
        fetch_model("mine", LocalModel(path=str(source)), manifest, manifest.parent / "downloads")
    assert "\n" not in str(error.value)
    return str(error.value)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hostile-pickle-ran",)


@pytest.mark.parametrize("open_it", ["fetch", "load"])
def test_a_pickle_that_would_run_code_is_refused_without_advice_to_run_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_it: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(2), "more": _Hostile()}, folder / "pytorch_model.bin")
    if open_it == "fetch":
        line = local_error(folder, tmp_path / "out" / "manifest.json")
        assert "pytorch_model.bin is damaged, or holds more than tensors" in line and "model.safetensors" in line
    else:
        with pytest.raises(UserError, match=r"pytorch_model\.bin holds more than tensors") as error:
            load_encoder(folder)
        line = str(error.value)
    assert "weights_only" not in line and "torch.load" not in line
    assert not (tmp_path / "hostile-pickle-ran").exists()


def older(folder: Path, **options: bool) -> Path:
    path = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), path, **options)
    (folder / "model.safetensors").unlink()
    return path


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "cut config": (lambda folder: cut(folder / "config.json"), "config.json is damaged"),
    "config of another kind": (lambda folder: (folder / "config.json").write_text("[1]"), "not a JSON object"),
    "other network": (lambda folder: edit_config(folder, model_type="roberta"), "'roberta' model"),
    "unnamed network": (lambda folder: edit_config(folder, model_type=None), "a None model"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
    "cut weights": (lambda folder: cut(folder / "model.safetensors"), "model.safetensors is damaged"),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
    "cut older weights": (lambda folder: cut(older(folder)), "pytorch_model.bin is damaged"),
    "cut oldest weights": (
        lambda folder: cut(older(folder, _use_new_zipfile_serialization=False)),
        "pytorch_model.bin is damaged",
    ),
    "no tokenizer": (
        lambda folder: [(folder / file).unlink() for file in ("vocab.txt", "tokenizer.json")],
        "no tokenizer",
    ),
    "cut tokenizer": (lambda folder: cut(folder / "tokenizer.json"), "tokenizer cannot be opened"),
    "cut tokenizer config": (
        lambda folder: (folder / "tokenizer_config.json").write_text("{"),
        "tokenizer_config.json is damaged",
    ),
}


def parts(folder: Path, listed: object) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(listed))


FAULTS |= {
    "a part is missing": (
        lambda folder: parts(folder, {"weight_map": {name: f"model-0000{name}-of-00002.safetensors" for name in "12"}}),
        "model-00002-of-00002.safetensors, a part of its weights, is not there",
    ),
    "no list of parts": (lambda folder: parts(folder, {}), "does not list the parts of the weights"),
    "parts elsewhere": (
        lambda folder: parts(folder, {"weight_map": {"a": "model-/../../1-of-2.safetensors"}}),
        "does not list the parts of the weights",
    ),
    "an OPT without a tokenizer": (
        lambda folder: (
            edit_config(folder, model_type="opt"),
            (folder / "vocab.txt").rename(folder / "vocab.json"),
            (folder / "tokenizer.json").unlink(),
        ),
        "no tokenizer",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_folder_is_told_by_its_name_and_leaves_nothing(folder: Path, tmp_path: Path, fault: str) -> None:
    break_it, told = FAULTS[fault]
    break_it(folder)
    message = local_error(folder, tmp_path / "out" / "manifest.json")
    assert told in message and str(folder) in message and ".partial" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_gguf_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find(name))
    with pytest.raises(UserError, match=r"pip install gguf==0\.19\.0"):
        convert_gguf(tmp_path / "model.gguf", tmp_path)


def test_an_earlier_model_stays_when_the_next_is_bad(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "out" / "manifest.json"
    fetch_model("mine", LocalModel(path=str(folder)), manifest, tmp_path)
    before = {path.name: path.read_bytes() for path in manifest.parent.iterdir()}
    cut(folder / "model.safetensors")
    local_error(folder, manifest)
    assert {path.name: path.read_bytes() for path in manifest.parent.iterdir()} == before


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    assert "does not exist" in local_error(tmp_path / "nowhere", tmp_path / "out" / "manifest.json")


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_cut_pickles_are_refused_when_they_are_loaded(folder: Path, share: float, new_format: bool) -> None:
    path = older(folder, _use_new_zipfile_serialization=new_format)
    load_encoder(folder)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="damaged") as error:
        load_encoder(folder)
    assert "\n" not in str(error.value)


def hub_error(tmp_path: Path, url: str, repository: str = "tiny/bert", revision: str = COMMIT, **env: str) -> str:
    done = fetch(tmp_path, HubModel(repository=repository, revision=revision), url, **env)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [".lock"]
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"electralab: hub model {repository} (") and f"revision {revision}) cannot be read: " in line
    return line


def test_no_such_repository_or_revision(folder: Path, tmp_path: Path) -> None:
    with serve_model(folder) as hub:
        assert "no such repository" in hub_error(tmp_path, hub.url, repository="tiny/other")
        assert "no such repository" in hub_error(tmp_path, hub.url, repository="not a name")
        assert "no such revision" in hub_error(tmp_path, hub.url, revision="d" * 40)


def test_a_hub_that_fails(folder: Path, tmp_path: Path) -> None:
    with serve_model(folder) as hub:
        hub.faults["model.safetensors"] = "500"
        assert "500" in hub_error(tmp_path, hub.url)
        hub.faults["model.safetensors"] = "truncated"
        assert "model.safetensors" in hub_error(tmp_path, hub.url)
        hub.faults["model.safetensors"] = "truncated_once"
        done = fetch(tmp_path, HubModel(repository="tiny/bert", revision=COMMIT), hub.url)
        assert done.returncode == 0, done.stderr
    load_encoder(tmp_path / "out")


def test_a_part_of_a_model_in_the_cache_is_no_model(folder: Path, tmp_path: Path) -> None:
    """The weights are not missing from the repository: they could not be fetched."""
    with serve_model(folder) as hub:
        hub.faults["model.safetensors"] = "500"
        hub_error(tmp_path, hub.url)
    assert list((tmp_path / "hub").rglob("config.json"))
    line = hub_error(tmp_path, "http://127.0.0.1:1")
    assert "model.safetensors is not in the cache" in line and "no weights" not in line
    assert "model.safetensors is not in the cache" in hub_error(tmp_path, "http://127.0.0.1:1", HF_HUB_OFFLINE="1")
