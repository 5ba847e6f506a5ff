"""Whole runs of decoders on a task of 400 rows: in context, adapted and trained whole."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from finetune_task import write_task
from sklearn.metrics import f1_score
from tiny_decoder import KINDS, write_decoder
from torch.nn import functional as F

from electralab.config import FullFinetuning, InContext, LinearProbe, LocalModel, Lora, Prefix, Prompt, Search
from electralab.data.models import fetch_model
from electralab.data.tasks import read_task
from electralab.finetune.decoder.model import VerbalizedDecoder
from electralab.finetune.decoder.prompts import PromptTokenizer, template_of
from electralab.methods.adapters.adapt import AdaptedModel, adapt
from electralab.methods.base_models import load_causal
from electralab.methods.run import Inputs, run_job
from electralab.records import RunRecord
from electralab.search.study import SearchSpec, run_search
from electralab.specs import RunSpec

TRAINED = {"max_length": 64, "epochs": 1, "learning_rates": [1e-3], "max_train_rows": 64}
METHODS: dict[str, Any] = {
    "asked": InContext(shots=2, max_length=96, max_validation_rows=50),
    "lora": Lora(**TRAINED, rank=2),
    "full": FullFinetuning(**TRAINED, layerwise_lr_decay=1.0),
}
PUBLISHED = {name: method.model_copy(update={"answers": "as_published"}) for name, method in METHODS.items()}


@pytest.fixture(scope="module", params=KINDS)
def inputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp(request.param)
    weights = write_decoder(root / "weights", request.param)
    fetch_model("toy", LocalModel(path=str(weights)), root / "model" / "manifest.json", root)
    return {"model": root / "model" / "manifest.json", "task": write_task(root / "task"), "weights": weights}


def run(inputs: dict[str, Path], folder: Path, method: str, settings: Any = None) -> RunRecord:
    spec = spec_of(inputs, method, settings)
    return run_job(spec, folder / "run.json", given(inputs))


def given(inputs: dict[str, Path]) -> Inputs:
    return Inputs(inputs["task"], inputs["model"], inputs["weights"] / "tokenizer.json")


def spec_of(inputs: dict[str, Path], method: str, settings: Any = None) -> RunSpec:
    return RunSpec(
        model="toy",
        task="words",
        chain=[method],
        seed=0,
        settings=settings or METHODS[method],
        downloaded=LocalModel(path=str(inputs["weights"])),
        extensions=[],
        pretraining_recipe=None,
    )


def test_a_linear_probe_is_for_encoders(inputs: dict[str, Path], tmp_path: Path) -> None:
    record = run(inputs, tmp_path, "probe", LinearProbe(max_length=64))
    assert record.status == "skipped"
    assert record.reason == "linear_probe trains a head, and this model answers with own words: use an adapter"


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_predictions_that_agree_with_its_record(
    inputs: dict[str, Path], tmp_path: Path, method: str
) -> None:
    record = run(inputs, tmp_path, method)
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels, answers = ([row[name] for row in rows] for name in ("label", "prediction"))
    assert len(rows) == record.metrics["validation_rows"] == (50 if method == "asked" else 200)
    assert record.metrics["f1_weighted"] == pytest.approx(f1_score(labels, answers, average="weighted"))
    trained = {"asked": 0, "full": record.cost.parameters["total"]}.get(method, record.cost.parameters["trainable"])
    assert record.cost.parameters["trainable"] == trained
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "predictions.csv", "model"}
    weights = {"asked": set(), "lora": {"adapter_model.safetensors"}, "full": {"model.safetensors"}}[method]
    assert {path.name for path in (tmp_path / "model").glob("*.safetensors")} == weights


def test_a_decoder_trained_whole_is_kept(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Read by `transformers`, unpadded and one row at a time, it gives the scores that the run wrote."""
    run(inputs, tmp_path, "full")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    data, prompts = read_task(inputs["task"]), PromptTokenizer(inputs["weights"])
    template = template_of(data, "label_words")
    words = prompts.label_ids(template)
    with (tmp_path / "predictions.csv").open() as file:
        scores = {row["id"]: float(row["score_yes"]) for row in csv.DictReader(file)}
    examples = data.validation[:10]
    for example, ids in zip(examples, prompts.encode([template.prompt(example) for example in examples])):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1, words]
        assert scores[example.id] == pytest.approx(logits.softmax(0)[1].item(), abs=1e-5)


# Random weights are rounded worse than trained ones: 4 bits leave a mean error of a tenth in every layer.
@pytest.mark.parametrize(("storage", "share", "alike"), [("bf16", 0.5, 0.99), ("nf4", 0.95, 0.4), ("int8", 0.95, 0.98)])
def test_a_decoder_in_few_bits_is_smaller_and_the_same_model(
    inputs: dict[str, Path], tmp_path: Path, storage: Any, share: float, alike: float
) -> None:
    asked = METHODS["asked"]
    whole = run(inputs, tmp_path / "fp32", "asked")
    small = run(inputs, tmp_path / storage, "asked", asked.model_copy(update={"storage": storage}))
    assert small.metrics["weights_bytes"] <= 1.001 * share * whole.metrics["weights_bytes"]
    assert small.cost.parameters == whole.cost.parameters
    scores = []
    for folder in ("fp32", storage):
        with (tmp_path / folder / "predictions.csv").open() as file:
            scores.append(torch.tensor([float(row["score_no"]) for row in csv.DictReader(file)]))
    assert not torch.equal(*scores), "rounded"
    assert torch.corrcoef(torch.stack(scores))[0, 1] > alike


@pytest.mark.parametrize("method", ["lora", "full"])
def test_every_approach_takes_the_published_loss(
    inputs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    """Before it has learnt, a model spreads its probability over the vocabulary: log of some 400 words, not of 2."""
    write_task(tmp_path / "task")
    manifest = json.loads((tmp_path / "task" / "manifest.json").read_text())
    (tmp_path / "task" / "manifest.json").write_text(json.dumps(manifest | {"glue": "wnli"}))
    losses = []
    for name, methods in (("ours", METHODS), ("theirs", PUBLISHED)):
        run(inputs | {"task": tmp_path / "task" / "manifest.json"}, tmp_path / name, method, methods[method])
        losses.append(float(re.findall(r"loss (\d+\.\d+)", capfd.readouterr().err)[-1]))
        with (tmp_path / name / "predictions.csv").open() as file:
            assert all(
                float(row["score_no"]) + float(row["score_yes"]) == pytest.approx(1, abs=1e-5)
                for row in csv.DictReader(file)
            )
    assert losses[0] < 2 < 3 < losses[1]


@pytest.mark.parametrize(
    "method",
    [Lora(dropout=0.0), Prefix(virtual_tokens=4, max_length=64, dropout=0.0), Prompt(virtual_tokens=4, max_length=64)],
    ids=lambda method: method.kind,
)
def test_padding_changes_no_answer_behind_an_adapter(inputs: dict[str, Path], method: Any) -> None:
    """Also not behind a prefix or prompt, from which Llama measures distances; PEFT drops positions there."""
    model = adapt(load_causal(inputs["weights"], method), method, 8, lambda outputs, *_: outputs.logits[:, -1]).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3, generator=generator)
    text = torch.randint(5, 200, (4, 9), generator=generator)
    with torch.inference_mode():
        alone = model(text)
        for padding in (1, 10):
            mask = F.pad(torch.ones_like(text), (padding, 0)).bool()
            padded = model(F.pad(text, (padding, 0), value=1), mask)
            torch.testing.assert_close(padded, alone, atol=2e-5, rtol=1e-5)
    assert alone.std() > 0.1


def full(*_: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation.")


@pytest.mark.parametrize(
    ("method", "module", "remedy"),
    [
        ("asked", VerbalizedDecoder, "lower max_length or shots"),
        ("lora", AdaptedModel, "lower batch_size or max_length, or switch gradient_checkpointing on"),
        ("full", VerbalizedDecoder, "lower batch_size or max_length"),
    ],
)
def test_a_full_gpu_is_one_line(
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    module: type[torch.nn.Module],
    remedy: str,
) -> None:
    monkeypatch.setattr(module, "forward", full)
    monkeypatch.setattr("electralab.methods.in_context.InContextReader._behind_shared_start", full)
    record = run(inputs, tmp_path, method)
    assert (record.status, record.reason) == ("failed", f"the GPU's memory is full: {remedy}")


def test_a_trial_that_fills_the_gpu_fails_and_the_search_goes_on(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = AdaptedModel.forward

    def limited(model: AdaptedModel, *batch: Any) -> torch.Tensor:
        return full() if getattr(model.method, "rank", 0) > 2 else forward(model, *batch)

    monkeypatch.setattr(AdaptedModel, "forward", limited)
    settings = Search(
        model="toy", task="words", method="lora", space={"rank": [1, 2, 4, 8]}, trials=6, sampler="random"
    )
    spec = SearchSpec(name="ranks", settings=settings, base=spec_of(inputs, "lora"))

    def trial(one: RunSpec, record: Path, report: Any) -> RunRecord:
        return run_job(one, record, given(inputs), after_epoch=report)

    run_search(spec, tmp_path / "search.json", trial, inputs={})
    trials = json.loads((tmp_path / "search.json").read_text())["trials"]
    assert Counter(one["status"] for one in trials).keys() == {"ok", "failed"} and len(trials) == 6
    for one in trials:
        assert one["status"] == ("failed" if one["options"]["rank"] > 2 else "ok")
        assert one["status"] == "ok" or "the GPU's memory is full: lower batch_size" in one["reason"]
