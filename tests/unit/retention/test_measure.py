"""A measurement from files to its record: of a pretrained model, of what runs left, and of what cannot be measured."""

from __future__ import annotations

import csv
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from chains import run_chain
from finetune_task import WORDS, write_task
from masked_models import fetched_masked_model, masked_model
from pretraining_record import write_pretraining_record
from safetensors.torch import load_file, save_file
from tokens_corpus import write_corpus
from transformers import BertConfig, BertForSequenceClassification, ElectraModel
from word_models import PIECES, fetched_words, write_pieces

from electralab.config import LocalModel, Retention
from electralab.data.models import fetch_model
from electralab.electra.convert import save_discriminator, save_generator
from electralab.electra.encoder import ElectraConfig
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError
from electralab.files import sha256
from electralab.names import artifact_in
from electralab.records import RunRecord
from electralab.retention.measure import Inputs, run_retention
from electralab.specs import RetentionSpec

FULL: dict[str, Any] = {"kind": "full", "learning_rates": [1e-3], "epochs": 1, "max_length": 24, "max_train_rows": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("measured")


@pytest.fixture(scope="module")
def corpus(root: Path) -> Path:
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS, k=generator.randrange(5, 60))) for _ in range(20)]
    return write_corpus(root / "corpus", [["w1 w2"]], [texts])


@pytest.fixture(scope="module")
def bert(root: Path) -> Path:
    return fetched_masked_model(root, "bert")


@pytest.fixture(scope="module")
def runs(root: Path, bert: Path) -> Path:
    """A folder of chains on the BERT: `full`, and what is made of it."""
    folder, task = root / "runs", write_task(root / "task")
    run_chain(folder, task, bert, full=FULL, pruned={"kind": "prune", "sparsity": 0.5})
    run_chain(folder, task, bert, done=("full",), full=FULL, small={"kind": "trim_vocabulary"})
    for form in ("onnx", "adapter"):
        edited(shutil.copytree(folder / "full", folder / form), form=form, method=form)
    return folder


def edited(run: Path, **values: Any) -> Path:
    """The manifest of a copied run, which now says something else."""
    manifest = run / "model" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | values))
    return manifest


def spec(manifest: Path | None = None, chain: str | None = None, **settings: Any) -> RetentionSpec:
    told = {"task": "toy", "method": chain} if chain else {}
    downloaded = {"downloaded": LocalModel(path=str(manifest.parent))} if manifest else {}
    retention = Retention(**{"corpus": "c", "window": 24, "sequences": 30, **settings})
    return RetentionSpec(name="own", model="toy", seed=0, settings=retention, **told, **downloaded)


def measure(folder: Path, asked: RetentionSpec, *files: Path | None, generator: Path | None = None) -> RunRecord:
    return run_retention(asked, folder / "run.json", Inputs(*files, generator=generator))  # type: ignore[arg-type]


def influences(folder: Path) -> list[dict[str, str]]:
    with (folder / "documents.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_before_and_after_links(root: Path, corpus: Path, bert: Path, runs: Path, tmp_path: Path) -> None:
    before = measure(tmp_path / "before", spec(bert), corpus, bert)
    again = measure(tmp_path / "again", spec(bert), corpus, bert)
    assert before.metrics == again.metrics
    metrics = before.metrics
    assert before.stage == "retention" and before.primary_metric == "masked_loss"
    assert metrics["pseudo_perplexity"] == pytest.approx(math.exp(metrics["masked_loss"]))
    assert metrics["masked_loss_low"] < metrics["masked_loss"] < metrics["masked_loss_high"]
    assert metrics["pseudo_perplexity_low"] == pytest.approx(math.exp(metrics["masked_loss_low"]))
    after = {
        chain: measure(tmp_path / chain, spec(bert, chain), corpus, bert, Path(artifact_in(str(runs / chain))))
        for chain in ("full", "full+pruned")
    }
    losses = {metrics["masked_loss"], *(record.metrics["masked_loss"] for record in after.values())}
    assert len(losses) == 3
    documents = [[row["document"] for row in influences(tmp_path / name)] for name in ("before", "full", "full+pruned")]
    assert documents[0] == documents[1] == documents[2] and len(documents[0]) == metrics["documents"]
    assert sum(float(row["influence"]) for row in influences(tmp_path / "before")) == pytest.approx(0, abs=1e-6)
    assert set(before.files) == {"documents.csv"}


def test_a_run_is_measured_by_its_own_body_and_word_table(corpus: Path, bert: Path, runs: Path, tmp_path: Path) -> None:
    """`transformers` with the body of the run, one pass a token; the published number keeps pretraining's table."""
    asked = spec(bert, "full", window=64, sequences=99, published_windows=99)
    found = measure(tmp_path, asked, corpus, bert, Path(artifact_in(str(runs / "full")))).metrics
    model = masked_model("bert")
    old_table = model.get_input_embeddings().weight.detach().clone()
    body = ElectraModel.from_pretrained(runs / "full" / "model").eval()  # a BERT under the names of an ELECTRA
    table = body.get_input_embeddings().weight
    assert not torch.equal(table, old_table)
    texts = texts_of(corpus)
    number = {piece: place for place, piece in enumerate(PIECES)}
    rows = [[number["[CLS]"], *(number[word] for word in text.split()), number["[SEP]"]] for text in texts]
    losses = [loss for row in rows for loss in losses_of(body, with_table(model, table), row)]
    assert found["pseudo_perplexity"] == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)
    stream = [number["[CLS]"], *(id_ for row in rows for id_ in row[1:-1]), number["[SEP]"]]
    windows = [stream[start : start + 64] for start in range(0, len(stream), 512)]
    means = [
        sum(own) / len(own) for own in (losses_of(body, with_table(model, old_table), window) for window in windows)
    ]
    assert found["published_windows"] == len(windows)
    assert found["published_perplexity"] == pytest.approx(math.exp(sum(means) / len(means)), rel=1e-5)


def texts_of(corpus: Path) -> list[str]:
    texts: list[str] = pq.read_table(corpus.parent / "held_out" / "00000.parquet").column(0).to_pylist()
    return texts


def with_table(model: Any, table: torch.Tensor) -> Any:
    """The head of a `BertForMaskedLM` with this output matrix."""
    model.cls.predictions.decoder.weight = torch.nn.Parameter(table.detach())
    return model.cls


def losses_of(body: Any, head: Any, row: list[int]) -> list[float]:
    """Of all tokens but the first and the last."""
    ids, found = torch.tensor([row]), []
    with torch.inference_mode():
        for place in range(1, len(row) - 1):
            masked = ids.clone()
            masked[0, place] = PIECES.index("[MASK]")
            logits = head(body(masked).last_hidden_state)
            found.append(float(-logits[0, place].log_softmax(-1)[row[place]]))
    return found


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ("full+small", "full+small left a model with another vocabulary than toy"),
        ("onnx", "onnx left an ONNX graph, and plain models are measured"),
        ("adapter", "adapter left an adapter, and plain models are measured: append a link that merges it"),
    ],
)
def test_what_a_run_left_may_not_be_measurable(
    chain: str, reason: str, corpus: Path, bert: Path, runs: Path, tmp_path: Path
) -> None:
    record = measure(tmp_path, spec(bert, chain), corpus, bert, Path(artifact_in(str(runs / chain))))
    assert (record.status, record.reason, record.metrics) == ("skipped", reason, {})
    assert influences(tmp_path) == []


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "opt"])
def test_models_without_a_head_say_so(kind: str, corpus: Path, tmp_path: Path) -> None:
    manifest = fetched_words(tmp_path, kind)
    record = measure(tmp_path / "out", spec(manifest), corpus, manifest)
    without = "toy comes without a masked-language head, and is no discriminator of an ELECTRA"
    expected = "toy is a decoder (opt): it predicts no masked word" if kind == "opt" else without
    assert (record.status, record.reason) == ("skipped", expected)


def test_an_untrained_model_has_nothing_to_retain(corpus: Path, tmp_path: Path) -> None:
    record = measure(tmp_path, spec(), corpus, None)
    assert record.reason == "toy was never pretrained: there is nothing to retain"


def test_a_window_longer_than_the_positions_is_one_line(corpus: Path, bert: Path, tmp_path: Path) -> None:
    record = measure(tmp_path, spec(bert, window=65), corpus, bert)
    assert record.reason == "window 65 is longer than the 64 positions of model toy: lower retention.own.window"


def test_weights_that_are_no_numbers_fail(root: Path, corpus: Path, tmp_path: Path) -> None:
    model = masked_model("bert")
    model.save_pretrained(write_pieces(tmp_path / "broken"))
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    weights["bert.embeddings.LayerNorm.weight"][0] = float("nan")
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    manifest = tmp_path / "model" / "manifest.json"
    fetch_model("toy", LocalModel(path=str(tmp_path / "broken")), manifest, tmp_path)
    record = measure(tmp_path / "out", spec(manifest), corpus, manifest)
    assert (record.status, record.reason) == ("failed", "the model answers with something that is not a finite number")


def test_a_corpus_without_held_out_text_is_one_line(bert: Path, tmp_path: Path) -> None:
    empty = write_corpus(tmp_path / "empty", [["w1 w2"]], [[]])
    with pytest.raises(UserError, match="corpus c has no held-out text"):
        measure(tmp_path / "out", spec(bert), empty, bert)
    assert not (tmp_path / "out" / "run.json").exists()


# --- discriminators ---------------------------------------------------------------------------------------------------


def write_pretraining(folder: Path, positions: int = 64, pieces: list[str] | None = None) -> Path:
    """The record of a pretraining whose networks nobody trained."""
    shape = {"vocab_size": len(PIECES), "layers": 2, "attention_heads": 4, "max_positions": positions}
    torch.manual_seed(0)
    pair = ElectraPair(
        ElectraConfig(**shape, hidden_size=64, embedding_size=64, intermediate_size=96),
        ElectraConfig(**shape, hidden_size=32, embedding_size=64, intermediate_size=64),
        "all",
    )
    save_discriminator(folder / "discriminator", pair)
    save_generator(folder / "generator", pair)
    for network in ("discriminator", "generator"):
        write_pieces(folder / network)
        if pieces is not None:
            path = folder / network / "tokenizer.json"
            content = json.loads(path.read_text())
            content["model"]["vocab"] = {piece: number for number, piece in enumerate(pieces)}
            path.write_text(json.dumps(content))
    return write_pretraining_record(folder)


def test_a_discriminator_is_asked_with_a_frozen_generator(corpus: Path, tmp_path: Path) -> None:
    own, other = write_pretraining(tmp_path / "own"), write_pretraining(tmp_path / "other", positions=48)
    by_own = measure(tmp_path / "a", spec(), corpus, own)
    by_other = measure(tmp_path / "b", spec(generator="x-g50"), corpus, own, generator=other)
    assert by_own.primary_metric == "rtd_auc" and 0.3 < by_own.metrics["rtd_auc"] < 0.7
    assert 0.1 < by_own.metrics["rtd_base_rate"] < 0.2
    assert by_own.metrics["tokens"] == by_other.metrics["tokens"]
    assert by_own.metrics["rtd_auc"] != by_other.metrics["rtd_auc"]
    assert set(by_own.provenance.data) == {"corpus", "model", "generator"}


def test_a_downloaded_discriminator_needs_a_generator(corpus: Path, tmp_path: Path) -> None:
    own = write_pretraining(tmp_path / "own")
    manifests = {}
    for network in ("discriminator", "generator"):
        manifests[network] = tmp_path / f"{network}_model" / "manifest.json"
        fetch_model(network, LocalModel(path=str(own.parent / network)), manifests[network], tmp_path)
    start = manifests["discriminator"]
    alone = measure(tmp_path / "a", spec(start), corpus, start)
    assert alone.reason == (
        "toy comes without the generator that it was trained with: name one in retention.own.generator"
    )
    both = measure(tmp_path / "b", spec(start, generator="g"), corpus, start, generator=manifests["generator"])
    assert both.metrics == measure(tmp_path / "c", spec(), corpus, own).metrics


def test_a_generator_with_another_tokenizer_is_one_line(corpus: Path, tmp_path: Path) -> None:
    own = write_pretraining(tmp_path / "own")
    other = write_pretraining(tmp_path / "other", pieces=[*reversed(PIECES)])
    with pytest.raises(UserError, match=r"has another vocabulary than .*: name one with the model's tokenizer"):
        measure(tmp_path / "out", spec(generator="x-g50"), corpus, own, generator=other)


def test_a_generator_with_fewer_positions_is_one_line(corpus: Path, tmp_path: Path) -> None:
    own, other = write_pretraining(tmp_path / "own"), write_pretraining(tmp_path / "other", positions=16)
    record = measure(tmp_path / "out", spec(generator="x-g50"), corpus, own, generator=other)
    assert record.reason == ("window 24 is longer than the 16 positions of the generator: lower retention.own.window")


def test_a_pretraining_that_came_to_nothing_skips(corpus: Path, tmp_path: Path) -> None:
    own = write_pretraining(tmp_path / "own")
    content = json.loads(own.read_text())
    own.write_text(json.dumps(content | {"status": "failed", "reason": "it diverged"}))
    shutil.rmtree(own.parent / "discriminator")
    record = measure(tmp_path / "out", spec(), corpus, own)
    assert (record.status, record.reason) == ("skipped", "pretraining m-g25 is failed (it diverged)")


def test_a_narrower_body_does_not_fit_the_head(corpus: Path, bert: Path, runs: Path, tmp_path: Path) -> None:
    narrow = tmp_path / "runs" / "full"
    shutil.copytree(runs / "full", narrow)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(PIECES), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                   intermediate_size=32, max_position_embeddings=64)
    )  # fmt: skip
    model.save_pretrained(narrow / "model")
    names = json.loads((narrow / "model" / "manifest.json").read_text())["files"]
    manifest = edited(narrow, files={name: sha256(narrow / "model" / name) for name in names})
    record = measure(tmp_path / "out", spec(bert, "full"), corpus, bert, manifest)
    assert record.reason == "its layers are 32 wide, and the head of toy reads 64"
