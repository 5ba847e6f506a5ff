"""Runs of chains on small models, each link in a folder as the workflow lays them out."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from golden_cases import write_encoder
from tiny_decoder import write_decoder

from electralab.config import LocalModel
from electralab.data.models import fetch_model
from electralab.methods.run import Inputs, run_job
from electralab.names import artifact_in
from electralab.records import RunRecord
from electralab.specs import RunSpec

SEED = 1

# ONNX Runtime and tokenizers alone, in another process.
ONNX_ANSWERS = """
import json, sys
import numpy, onnxruntime, tokenizers
folder, texts = json.load(sys.stdin)
config, tokenizer = json.load(open(folder + "/config.json")), tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
session = onnxruntime.InferenceSession(folder + "/model.onnx")
cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
answers = []
for text in texts:
    ids = numpy.array([[cls, *tokenizer.encode(text, add_special_tokens=False).ids[:30], sep]])
    logits = session.run(None, {
        "input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)})[0][0]
    chances = numpy.exp(logits - logits.max()) / numpy.exp(logits - logits.max()).sum()
    answers.append({"label": config["id2label"][str(int(logits.argmax()))], "score": float(chances.max())})
assert not {"torch", "transformers", "electralab"} & set(sys.modules)
print(json.dumps(answers))
"""


def fetched(folder: Path, kind: str) -> Path:
    """The manifest of a small encoder or decoder."""
    torch.manual_seed(0)
    source = write_encoder(folder / kind) if kind == "encoder" else write_decoder(folder / kind, kind)
    manifest = folder / f"{kind}_model" / "manifest.json"
    fetch_model("toy", LocalModel(path=str(source)), manifest, folder / "downloads")
    return manifest


def run_chain(
    folder: Path, task: Path, model: Path, done: tuple[str, ...] = (), **links: dict[str, Any]
) -> dict[str, RunRecord]:
    """Run every link after the one before it, but those that are done; records by the name of the chain so far."""
    records: dict[str, RunRecord] = {}
    names: list[str] = []
    start: Path = model
    for name, settings in links.items():
        names.append(name)
        chain = "+".join(names)
        spec = RunSpec.model_validate(
            {
                **{"model": "toy", "task": "toy", "chain": list(names), "seed": SEED, "settings": settings},
                "downloaded": LocalModel(path=str(model.parent)),
            }
        )
        tokenizer = model.with_name("tokenizer.json") if len(names) == 1 else None
        if chain not in done:
            records[chain] = run_job(spec, folder / chain / "run.json", Inputs(task, start, tokenizer))
        start = Path(artifact_in(str(folder / chain)))
    return records


def predictions(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's `predictions.csv`."""
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def asked(code: str, model: Path, task: Path, elsewhere: Path) -> list[dict[str, Any]]:
    """What a program says of the validation rows: given a model's folder and their texts on standard input as JSON."""
    texts = [json.loads(line)["text"] for line in task.with_name("validation.jsonl").open()]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([str(model), texts]),
        capture_output=True,
        text=True,
        cwd=elsewhere,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers
