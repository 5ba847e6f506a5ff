"""Pruned models: what their files hold, what trains on and what opens them."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from chains import asked, predictions, run_chain
from finetune_task import write_task
from pydantic import ValidationError
from safetensors.torch import load_file
from word_models import fetched_words

from electralab.artifacts import read_manifest
from electralab.config import FullFinetuning, Prune, PruneFull
from electralab.data.tasks import read_task
from electralab.methods.opening import open_artifact
from electralab.methods.pruning.prune_full import SparserClassifier

TRAINED = {"learning_rates": [1e-2], "batch_size": 16, "max_length": 32, "layerwise_lr_decay": 1.0}
FULL = {"kind": "full", "epochs": 4, **TRAINED}
RECOVER = {"kind": "recover", "epochs": 1, **TRAINED, "learning_rates": [3e-3]}
PRUNED = {
    "l1": {},
    "global": {"among": "global", "sparsity": 0.25, "parts": "published"},
    "random": {"criterion": "random", "sparsity": 0.3},
    "rows": {"structure": "rows", "criterion": "l2", "sparsity": 0.25, "parts": "published"},
    "columns": {"structure": "columns", "sparsity": 0.25},
    "wanda": {"criterion": "wanda", "calibration_rows": 40},
    "sparsegpt": {"criterion": "sparsegpt", "calibration_rows": 40},
    "two_of_four": {"criterion": "sparsegpt", "structure": "2:4"},
}
PIPELINE = """
import json, sys
from transformers import pipeline
folder, texts = json.load(sys.stdin)
print(json.dumps(pipeline("text-classification", folder)(texts, truncation=True)))
"""


@pytest.fixture(scope="module")
def full(root: Path, task: Path, encoder: Path) -> Path:
    run_chain(root / "runs", task, encoder, full=FULL)
    return root / "runs" / "full"


def after_full(folder: Path, full: Path, task: Path, encoder: Path, **links):
    shutil.copytree(full, folder / "full", dirs_exist_ok=True)
    return run_chain(folder, task, encoder, done=("full",), full=FULL, **links)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def dense_names(state, head: bool) -> list[str]:
    """By hand: what ELECTRA calls the matrices of its layers, and of its head."""
    ends = ("query.weight", "key.weight", "value.weight", "dense.weight", "embeddings_project.weight")
    inside = [name for name in state if name.endswith(ends) and name.startswith("electra.")]
    return inside + (
        [name for name in state if name.startswith("classifier") and name.endswith("weight")] if head else []
    )


@pytest.mark.parametrize("name", PRUNED)
def test_what_is_zero_is_counted_in_the_file_and_stays_zero(name, full, task, encoder, tmp_path):
    settings = {"kind": "prune", **PRUNED[name]}
    records = after_full(tmp_path, full, task, encoder, pruned=settings, recover=RECOVER)
    assert {record.status for record in records.values()} == {"ok"}
    published = settings.get("parts") == "published"
    before, after, recovered = (
        weights_of(tmp_path / chain) for chain in ("full", "full+pruned", "full+pruned+recover")
    )
    eligible = dense_names(after, published)
    if published:
        eligible += [name.replace("weight", "bias") for name in eligible]
    for chain, state in (("full+pruned", after), ("full+pruned+recover", recovered)):
        metrics = records[chain].metrics
        encoder_names = dense_names(state, False)
        for key, names in (("encoder", encoder_names), ("all", list(state))):
            zeros = sum(int((state[n] == 0).sum()) for n in names) / sum(state[n].numel() for n in names)
            assert metrics[f"sparsity.{key}"] == pytest.approx(zeros, abs=1e-12)
        assert metrics["nonzero_parameters"] == sum(int((tensor != 0).sum()) for tensor in state.values())
        assert 0 < metrics["bytes_compressed"] < 1.01 * (records[chain].cost.bytes_on_disk or 0)
    if not published:
        wanted = settings.get("sparsity", 0.5)
        assert records["full+pruned"].metrics["sparsity.encoder"] == pytest.approx(wanted, abs=0.005)
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if name not in eligible)
    zero = {n: tensor == 0 for n, tensor in after.items() if n in eligible}
    assert all((recovered[n][mask] == 0).all() for n, mask in zero.items())
    assert any(not torch.equal(recovered[n], after[n]) for n in eligible)  # the rest was trained
    if settings.get("criterion") != "sparsegpt":
        assert all(torch.equal(after[n][~mask], before[n][~mask]) for n, mask in zero.items())


def test_what_recovered_answers_through_transformers_as_it_was_trained(root, task, tmp_path):
    model = fetched_words(tmp_path, "bert")
    records = run_chain(
        tmp_path, task, model, full=FULL | {"learning_rates": [3e-3]}, pruned={"kind": "prune"}, recover=RECOVER
    )
    assert {record.status for record in records.values()} == {"ok"}
    chain = "full+pruned+recover"  # whose answers are of the model that was trained, not of the file
    rows, said = predictions(tmp_path / chain), asked(PIPELINE, (tmp_path / chain / "model").resolve(), task, root)
    assert [answer["label"] for answer in said] == [row["prediction"] for row in rows]
    scores = [float(row[f"score_{row['prediction']}"]) for row in rows]
    assert [answer["score"] for answer in said] == pytest.approx(scores, abs=2e-5)
    names = [set(weights_of(tmp_path / chain)) for chain in ("full", "full+pruned+recover")]
    assert names[0] == names[1]


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_an_adapter_that_was_merged_recovers_under_the_names_of_its_model(kind, root, task, tmp_path):
    """Its folder is that of BERT or DistilBERT, unlike what `full` leaves."""
    lora = {"kind": "lora", "targets": "all-linear", "epochs": 2, "learning_rates": [1e-2], "batch_size": 16}
    links = {
        "lora": lora | {"max_length": 32},
        "merge": {"kind": "merge"},
        "pruned": {"kind": "prune"},
        "recover": RECOVER,
    }
    pairs = write_task(tmp_path / "pairs", pair=True)
    records = run_chain(tmp_path, pairs, fetched_words(tmp_path, kind), **links)
    assert {record.status for record in records.values()} == {"ok"}
    chain = "lora+merge+pruned+recover"
    before, after = weights_of(tmp_path / "lora+merge"), weights_of(tmp_path / chain)
    assert set(before) == set(after)
    config = json.loads((tmp_path / chain / "model" / "config.json").read_text())
    assert config["model_type"] == kind
    # Read again from its folder it answers as the trained model did: nothing that was trained is lost.
    _, opened = open_artifact(tmp_path / chain / "model" / "manifest.json", "cpu")
    answers = np.exp(opened.answer(read_task(pairs).validation, "cpu", "again"))
    recorded = [[float(row["score_no"]), float(row["score_yes"])] for row in predictions(tmp_path / chain)]
    np.testing.assert_allclose(answers, recorded, atol=1e-5)
    assert records[chain].metrics["sparsity.encoder"] == pytest.approx(0.5, abs=1e-3)


def test_a_regression_recovers_in_its_units(root, encoder, tmp_path):
    scores = write_task(root / "scores", labels="scores")
    records = run_chain(
        tmp_path, scores, encoder, full=FULL, pruned={"kind": "prune", "sparsity": 0.3}, recover=RECOVER
    )
    rows = predictions(tmp_path / "full+pruned+recover")
    said = asked(PIPELINE, (tmp_path / "full+pruned+recover" / "model").resolve(), scores, root)
    assert [answer["score"] for answer in said] == pytest.approx([float(row["prediction"]) for row in rows], abs=1e-3)
    assert records["full+pruned+recover"].metrics["score"] > 0.9


@pytest.mark.parametrize("head", ["linear", "huggingface"])
def test_pruned_before_fine_tuning_as_published(head, task, encoder, tmp_path):
    """The zeros are those of the pretrained weights, and of a head that nothing has trained."""
    settings = {**FULL, "kind": "prune_full", "head": head, "sparsity": 0.25, "parts": "published"}
    records = run_chain(tmp_path, task, encoder, pf=settings, recover=RECOVER)
    assert records["pf"].status == "ok"
    assert records["pf"].metrics["sparsity.encoder"] == pytest.approx(0.25, abs=1e-3)
    assert records["pf"].metrics["sparsity.eligible"] == pytest.approx(0.25, abs=5e-3)
    pretrained, left = load_file(encoder.parent / "model.safetensors"), weights_of(tmp_path / "pf")
    for name in dense_names(left, False):
        start = pretrained.get(name, pretrained.get(name.removeprefix("electra.")))
        assert start is not None
        gone = start.abs().flatten().argsort(stable=True)[: round(0.25 * start.numel())]
        assert (left[name].flatten()[gone] == 0).all()
    assert records["pf+recover"].metrics["sparsity.encoder"] == records["pf"].metrics["sparsity.encoder"]


def test_without_sparsity_it_is_full_fine_tuning(task, encoder, full, tmp_path):
    run_chain(tmp_path, task, encoder, pf={**FULL, "kind": "prune_full", "sparsity": 0.0})
    wanted, found = weights_of(full), weights_of(tmp_path / "pf")
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize("structure", ["rows", "columns"])
@pytest.mark.parametrize("first", [True, False])
def test_a_rate_that_leaves_nothing_is_one_line(structure, first, full, task, encoder, tmp_path):
    settings = {"structure": structure, "sparsity": 0.995}
    if first:
        record = run_chain(tmp_path, task, encoder, pf={**FULL, "kind": "prune_full", **settings})["pf"]
    else:
        record = after_full(tmp_path, full, task, encoder, pruned={"kind": "prune", **settings})["full+pruned"]
    assert record.status == "skipped"
    assert "sparsity 0.995 would remove all" in str(record.reason) and str(record.reason).endswith("lower it")
    folder = tmp_path / ("pf" if first else "full+pruned") / "model"
    assert read_manifest(folder / "manifest.json").form is None and not (folder / "model.safetensors").exists()


def test_settings_of_chains():
    """What follows what is said before anything runs."""
    from electralab.config import DynamicInt8, Half
    from electralab.config.methods.chains import check_chain

    full = FullFinetuning()
    assert check_chain([full, Prune(), DynamicInt8()], ["full", "prune", "int8"]) is None
    assert check_chain([full, Half(), Prune()], ["full", "half", "prune"]) is None
    told = check_chain([full, DynamicInt8(), Prune()], ["full", "int8", "prune"])
    assert told is not None and "int8 leaves an ONNX graph" in told
    assert "prune cannot be first" in str(check_chain([Prune()], ["prune"]))


# --- more and more zeros --------------------------------------------------------------------------------------------

GROWING = {"kind": "prune_full", "epochs": 3, **TRAINED, "growth": "agp", "prune_every": 4}


@pytest.mark.parametrize(
    "options",
    [{}, {"among": "global", "parts": "published"}, {"structure": "rows", "growth": "linear", "sparsity": 0.25}],
    ids=["agp", "published", "rows"],
)
def test_sparsity_grows_while_a_model_is_trained(options, task, encoder, tmp_path, monkeypatch):
    zeros, trained = [], SparserClassifier.after_update

    def watch(model, step):
        trained(model, step)
        zeros.append(model.zeros())

    monkeypatch.setattr(SparserClassifier, "after_update", watch)
    record = run_chain(tmp_path, task, encoder, growing=GROWING | options)["growing"]
    target = options.get("sparsity", 0.5)
    assert record.status == "ok", record.reason
    assert record.metrics["sparsity.eligible"] == zeros[-1] == pytest.approx(target, abs=0.002)
    steps = len(zeros) - 1  # the first is before training
    assert zeros[0] == 0 and all(earlier <= later for earlier, later in pairwise(zeros))
    assert len(set(zeros)) > 5 and zeros[int(0.6 * steps)] == pytest.approx(target, abs=0.002)


def test_pruning_at_once_is_what_it_was(task, encoder, tmp_path):
    """A schedule of one pruning before the first step gives the same model."""
    once = {"kind": "prune_full", "epochs": 1, **TRAINED}
    same = once | {"growth": "linear", "prune_from": 0.0, "prune_until": 0.1, "prune_every": "epoch_start"}
    records = [run_chain(tmp_path / name, task, encoder, p=told)["p"] for name, told in (("a", once), ("b", same))]
    assert records[0].metrics["loss"] == records[1].metrics["loss"]
    first, second = (weights_of(tmp_path / name / "p") for name in ("a", "b"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_head_alone_is_trained_on_what_pruning_leaves(task, encoder, tmp_path):
    record = run_chain(tmp_path, task, encoder, p=GROWING | {"growth": "once", "trained": "head"})["p"]
    before, after = load_file(encoder.parent / "model.safetensors"), weights_of(tmp_path / "p")
    assert record.metrics["trainable_parameters"] == record.metrics["head_parameters"]
    assert record.metrics["sparsity.encoder"] == pytest.approx(0.5, abs=0.001)
    names = {name: name.removeprefix("electra.") for name in dense_names(after, False)}
    assert len(names) > 10 and all(torch.equal(after[n], before[old] * (after[n] != 0)) for n, old in names.items())


def test_growth_that_cannot_be(task, encoder, tmp_path):
    with pytest.raises(ValidationError, match="structure 2:4 is pruned at once: growth agp is for other structures"):
        PruneFull(structure="2:4", growth="agp")
    record = run_chain(tmp_path, task, encoder, p=GROWING | {"prune_every": 1000})["p"]
    assert record.status == "skipped" and "no pruning falls between steps" in str(record.reason)
