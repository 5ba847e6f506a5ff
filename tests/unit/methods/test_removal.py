"""Structures taken out of fine-tuned encoders: what is left computes what zeroed structures leave, and is smaller."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
import torch
from chains import ONNX_ANSWERS, asked, predictions, run_chain
from finetune_task import write_task
from method_models import ENCODERS
from safetensors.torch import load_file
from word_models import PIECES, fetched_words

from electralab.artifacts import read_manifest
from electralab.methods.onnx.network import PlainEncoder, read_network
from electralab.methods.pruning.removal import (
    choose,
    head_scores,
    layers_of,
    neuron_scores,
    shrunken,
    without_layers,
)
from electralab.records import RunRecord

FULL = {
    **{"kind": "full", "layerwise_lr_decay": 1.0, "learning_rates": [1e-3]},
    **{"epochs": 2, "batch_size": 16, "max_length": 32},
}
LORA = {"kind": "lora", "learning_rates": [1e-2], "epochs": 1, "batch_size": 16, "max_length": 32}
# `full` leaves an ELECTRA, whatever it started from; a merged adapter leaves the architecture of its base.
BEFORE = {kind: {"lora": LORA, "merge": {"kind": "merge"}} for kind in ENCODERS} | {"electra": {"full": FULL}}
WIDTH, NEURONS, HEADS, LAYERS = 64, 128, 4, 2  # of the test's encoders
REMOVE = {"kind": "remove", "layers": [0], "neurons": 0.25}
REMOVE_HEADS = {"kind": "remove_heads", "heads": 0.25, "neurons": 0.5}
INT8 = {"kind": "dynamic_int8"}

# `transformers` alone, in another process.
ANSWERS = """
import json, sys
from transformers import pipeline
folder, texts = json.load(sys.stdin)
answers = pipeline("text-classification", folder)(texts, truncation=True)
assert "electralab" not in sys.modules
print(json.dumps(answers))
"""


class Removed(NamedTuple):
    kind: str
    folder: Path  # of the chain's runs
    records: dict[str, RunRecord]

    @property
    def before(self) -> str:
        return "+".join(BEFORE[self.kind])

    def run(self, links: str) -> Path:
        """The folder of the run that ends with these links, or of what they started from."""
        return self.folder / "+".join([self.before, *links.split()])

    def model(self, links: str = "") -> Path:
        return self.run(links) / "model"

    def record(self, links: str = "") -> RunRecord:
        return self.records[self.run(links).name]

    def network(self, links: str = "") -> PlainEncoder:
        reads = read_manifest(self.model(links) / "manifest.json").reads
        assert reads is not None
        return read_network(self.model(links), reads, "a test")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("removed")


@pytest.fixture(scope="module")
def task(root: Path) -> Path:
    return write_task(root / "words")


@pytest.fixture(scope="module", params=ENCODERS)
def removed(request: pytest.FixtureRequest, root: Path, task: Path) -> Removed:
    """A model of every architecture, fine-tuned, without a layer and neurons, then in int8; and without heads."""
    folder, model = root / f"{request.param}_runs", fetched_words(root, request.param)
    before = BEFORE[request.param]
    records = run_chain(folder, task, model, **before, remove=REMOVE, int8=INT8)
    done = tuple("+".join(list(before)[: length + 1]) for length in range(len(before)))
    records |= run_chain(folder, task, model, done=done, **before, remove_heads=REMOVE_HEADS)
    return Removed(request.param, folder, records)


@pytest.fixture(scope="module")
def fine_tuned(root: Path, task: Path) -> Removed:
    """An ELECTRA, from which nothing is removed yet."""
    folder = root / "runs"
    records = run_chain(folder, task, fetched_words(root / "fine_tuned", "electra"), full=FULL)
    return Removed("electra", folder, records)


def removed_after(full: Removed, task: Path, folder: Path, settings: dict[str, object]) -> RunRecord:
    """The record of another removal from a model that is fine-tuned already."""
    shutil.copytree(full.folder / "full", folder / "full", dirs_exist_ok=True)
    model = full.folder.with_name("fine_tuned") / "electra_model" / "manifest.json"
    return run_chain(folder, task, model, done=("full",), full=FULL, link=settings)["full+link"]


def masked(network: PlainEncoder, heads: int, neurons: int) -> PlainEncoder:
    """The whole network, where what the smallest heads and neurons put out is multiplied by zero."""
    twin = copy.deepcopy(network)
    for layer in layers_of(twin):
        size = layer.head_size
        for head in head_scores(layer).argsort()[:heads].tolist():
            layer.attention_output.weight[:, head * size : (head + 1) * size] = 0
        layer.output.weight[:, neuron_scores(layer).argsort()[:neurons]] = 0
    return twin


def logits(network: PlainEncoder) -> torch.Tensor:
    """Of eight rows, some padded."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, len(PIECES), (8, 20), generator=generator)
    mask = torch.ones(8, 20, dtype=torch.bool)
    mask[:4, 13:] = False
    with torch.no_grad():
        answer: torch.Tensor = network(ids, mask, torch.zeros_like(ids))
    return answer


def size_of(network: PlainEncoder) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(("heads", "neurons"), [(1, 0), (0, 40), (3, 127), (2, 40)])
def test_what_is_taken_out_computes_what_is_zeroed(removed: Removed, heads: int, neurons: int, mean: bool) -> None:
    whole = removed.network()
    whole.mean = mean
    small = shrunken(whole, choose(whole, heads, neurons))
    torch.testing.assert_close(logits(small), logits(masked(whole, heads, neurons)), atol=1e-5, rtol=0)
    assert (logits(small) - logits(whole)).abs().max() > 1e-5
    in_head = WIDTH // HEADS
    a_head = 3 * in_head * (WIDTH + 1) + WIDTH * in_head  # rows of query, key and value with biases, output columns
    a_neuron = WIDTH + 1 + WIDTH
    assert size_of(whole) - size_of(small) == LAYERS * (heads * a_head + neurons * a_neuron)


def test_what_goes_has_the_smallest_products_of_norms(removed: Removed) -> None:
    network = removed.network()
    weights = load_file(removed.model() / "model.safetensors")
    value, output, into, out = {
        "distilbert": ("attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"),
    }.get(removed.kind, ("attention.self.value", "attention.output.dense", "intermediate.dense", "output.dense"))
    prefix = "distilbert.transformer" if removed.kind == "distilbert" else f"{removed.kind}.encoder"
    for number, kept in enumerate(choose(network, 1, 32)):
        of = {name: weights[f"{prefix}.layer.{number}.{name}.weight"] for name in (value, output, into, out)}
        size = WIDTH // HEADS
        heads = [
            float(of[value][at : at + size].norm() * of[output][:, at : at + size].norm())
            for at in range(0, WIDTH, size)
        ]
        neurons = [float(of[into][at].norm() * of[out][:, at].norm()) for at in range(NEURONS)]
        for scores, stay in ((heads, kept.heads.tolist()), (neurons, kept.neurons.tolist())):
            assert stay == sorted(stay)
            assert min(scores[at] for at in stay) >= max(s for at, s in enumerate(scores) if at not in stay)


def test_a_network_without_a_layer_is_one_that_skips_it(removed: Removed) -> None:
    whole = removed.network()
    for gone in range(LAYERS):
        skipping = copy.deepcopy(whole)
        if gone == LAYERS - 1:  # the last layer also picks the first position
            skipping.encoder.layers[gone].forward = lambda hidden, _, at: hidden.flatten(0, 1)[at]
        else:
            skipping.encoder.layers[gone].forward = lambda hidden, *_: hidden
        assert torch.equal(logits(without_layers(whole, [gone])), logits(skipping))


def test_the_folder_is_the_network_without_them(removed: Removed) -> None:
    """Layer 0 and a quarter of the neurons: the written model, read again, against the zeroed one."""
    whole, small = removed.network(), removed.network("remove")
    assert len(small.encoder.layers) == LAYERS - 1
    expected = without_layers(masked(whole, 0, NEURONS // 4), [0])
    torch.testing.assert_close(logits(small), logits(expected), atol=1e-5, rtol=0)


def test_files_and_records_say_what_went(removed: Removed) -> None:
    attention, norms = 4 * WIDTH * (WIDTH + 1), 4 * WIDTH
    a_layer = attention + norms + NEURONS * (2 * WIDTH + 1) + WIDTH
    fewer = a_layer + NEURONS // 4 * (2 * WIDTH + 1)
    before, after = (load_file(removed.model(links) / "model.safetensors") for links in ("", "remove"))
    sizes = [sum(tensor.numel() for tensor in held.values()) for held in (before, after)]
    assert sizes[0] - sizes[1] == fewer
    record = removed.record("remove")
    assert [record.metrics["parameters_before"], record.cost.parameters["total"]] == sizes
    removals = [record.metrics[f"removed_{name}"] for name in ("heads", "neurons", "layers")]
    assert removals == [0, NEURONS // 4, 1]
    bytes_before, bytes_after = removed.record().cost.bytes_on_disk, record.cost.bytes_on_disk
    assert bytes_before is not None and bytes_after is not None
    assert 0 <= bytes_before - bytes_after - 4 * fewer < 4096  # the header names fewer tensors
    config = json.loads((removed.model("remove") / "config.json").read_text())
    names = ("n_layers", "hidden_dim") if removed.kind == "distilbert" else ("num_hidden_layers", "intermediate_size")
    assert config["model_type"] == removed.kind
    assert [config[name] for name in names] == [LAYERS - 1, NEURONS * 3 // 4]


def test_transformers_alone_gives_the_recorded_answers(removed: Removed, task: Path, root: Path) -> None:
    answers, rows = (
        asked(ANSWERS, removed.model("remove").resolve(), task, root),
        predictions(removed.run("remove")),
    )
    assert [answer["label"] for answer in answers] == [row["prediction"] for row in rows]
    scores = [float(row[f"score_{row['prediction']}"]) for row in rows]
    assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=2e-5)


@pytest.mark.parametrize(("links", "error"), [("remove_heads", 2e-5), ("remove int8", 0.02)])
def test_onnx_runtime_alone_gives_the_recorded_answers(
    removed: Removed, links: str, error: float, task: Path, root: Path
) -> None:
    record = removed.record(links)
    assert record.status == "ok"
    answers, rows = asked(ONNX_ANSWERS, removed.model(links).resolve(), task, root), predictions(removed.run(links))
    assert [answer["label"] for answer in answers] == [row["prediction"] for row in rows]
    scores = [float(row[f"score_{row['prediction']}"]) for row in rows]
    assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=error)


def test_the_graph_is_the_network_without_heads(removed: Removed) -> None:
    graph = onnx.load(removed.model("remove_heads") / "model.onnx").graph
    stored = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    left = WIDTH * 3 // 4
    for number in range(LAYERS):
        layer = f"encoder.layers.{number}"
        assert stored[f"{layer}.qkv.weight"] == (WIDTH, 3 * left)
        assert stored[f"{layer}.attention_output.weight"] == (left, WIDTH)
        assert stored[f"{layer}.intermediate.weight"] == (WIDTH, NEURONS // 2)
        assert stored[f"{layer}.output.weight"] == (NEURONS // 2, WIDTH)
    whole, record = removed.network(), removed.record("remove_heads")
    assert record.metrics["parameters_before"] == size_of(whole)
    assert record.cost.parameters["total"] == size_of(shrunken(whole, choose(whole, 1, NEURONS // 2)))
    removals = [record.metrics[f"removed_{name}"] for name in ("heads", "neurons", "layers")]
    assert removals == [1, NEURONS // 2, 0]
    file = removed.model("remove_heads") / "model.onnx"
    parts = [record.metrics[f"bytes.{part}"] for part in ("embeddings", "linear", "head", "other")]
    assert sum(parts) == record.cost.bytes_on_disk == file.stat().st_size
    linear = LAYERS * (4 * WIDTH * left + 2 * WIDTH * NEURONS // 2)
    assert record.metrics["bytes.linear"] == 4 * linear


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"layers": [0, 7]}, "there is no layer 7 to remove, the model's are 0 to 1: correct layers"),
        ({"layers": [1, 0, 1]}, "all 2 layers would be removed: leave one out of layers"),
        ({"neurons": 0.999}, "a share of 0.999 removes all 128 neurons of a layer: lower neurons"),
        ({"kind": "remove_heads", "heads": 0.9}, "a share of 0.9 removes all 4 heads of a layer: lower heads"),
        ({"kind": "remove_heads", "neurons": 0.999}, "removes all 128 neurons of a layer: lower neurons"),
    ],
)
def test_what_cannot_go_is_one_line(
    fine_tuned: Removed, task: Path, tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    record = removed_after(fine_tuned, task, tmp_path, {"kind": "remove"} | settings)
    refused(record, tmp_path, reason)


def refused(record: RunRecord, folder: Path, reason: str) -> None:
    """A skipped run of one line that left a manifest and nothing to open."""
    assert record.status == "skipped"
    assert reason in str(record.reason) and "\n" not in str(record.reason)
    assert [path.name for path in (folder / "full+link" / "model").iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_a_decoder_is_skipped_with_a_remedy(kind: str, task: Path, tmp_path: Path) -> None:
    model = fetched_words(tmp_path, kind)
    full = FULL | {"max_length": 64, "epochs": 1, "max_train_rows": 16}
    reason = f"{kind} is a decoder, and structures are taken out of encoders only: use nf4 or bnb_int8"
    record = run_chain(tmp_path / "runs", task, model, full=full, link={"kind": "remove", "layers": [0]})["full+link"]
    refused(record, tmp_path / "runs", reason)
    record = run_chain(tmp_path / "runs", task, model, done=("full",), full=full, link={"kind": "remove_heads"})[
        "full+link"
    ]
    refused(record, tmp_path / "runs", reason)


@pytest.mark.parametrize(
    ("settings", "what", "share"),
    [
        ({"kind": "remove", "neurons": 0.003}, "neurons", "0.003"),
        ({"kind": "remove_heads", "heads": 0.1}, "heads", "0.1"),
    ],
)
def test_a_share_of_nothing_is_a_note(
    fine_tuned: Removed, task: Path, tmp_path: Path, settings: dict[str, object], what: str, share: str
) -> None:
    record = removed_after(fine_tuned, task, tmp_path, settings)
    assert record.status == "ok"
    assert f"No {what} were removed: a share of {share} is less than half of one a layer." in record.notes
    assert record.metrics[f"removed_{what}"] == 0
    assert record.metrics["agreement_with_previous"] == 1
    assert record.metrics["logit_error"] < 1e-4
    assert record.cost.parameters["total"] == record.metrics["parameters_before"]
