"""Going on from given weights: they are the start, and what does not fit is refused in a line."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_pretraining import make_inputs, run_spec

from electralab.config import LocalModel, ModelTokenizer
from electralab.data.models import fetch_model
from electralab.errors import UserError
from electralab.files import sha256
from electralab.pretrain.inputs import Inputs
from electralab.pretrain.trainer import Trainer, run_pretraining
from electralab.records import read_record
from electralab.tokens.tokenizer import build_tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("start")


@pytest.fixture(scope="module")
def inputs(root: Path) -> Inputs:
    return make_inputs(root / "inputs")


@pytest.fixture(scope="module")
def base(root: Path, inputs: Inputs) -> Path:
    record = root / "base" / "run.json"
    run_pretraining(run_spec(unigram_warmup=0.1), inputs, record)
    return record


def evaluations(record: Path) -> list[dict[str, str]]:
    with record.with_name("evaluation.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def refused(inputs: Inputs, tmp_path: Path, **settings: object) -> str:
    with pytest.raises(UserError) as caught:
        Trainer(run_spec(**settings), inputs, tmp_path / "run.json", 1, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_pretraining_goes_on_where_another_ended(base: Path, inputs: Inputs, tmp_path: Path) -> None:
    more = tmp_path / "run.json"
    record = run_pretraining(run_spec(start_from="base"), inputs._replace(start=base), more)
    first, last = evaluations(more)[0], evaluations(base)[-1]
    measured = [name for name in last if name.startswith(("mlm", "rtd", "sampled"))]
    assert [float(first[name]) for name in measured] == pytest.approx([float(last[name]) for name in measured])
    assert float(evaluations(more)[-1]["mlm_loss"]) < float(last["mlm_loss"])
    assert record.extensions == ["start_from", "unigram_warmup"]
    assert record.provenance.data["start"] == sha256(base.parent / "discriminator" / "model.safetensors")
    assert record.provenance.data["start_generator"] == sha256(base.parent / "generator" / "model.safetensors")
    assert f"goes on from {base.parent / 'discriminator'}" in record.notes
    assert read_record(more).files.keys() >= {"discriminator/model.safetensors", "generator/model.safetensors"}


def write_electra(folder: Path, inputs: Inputs, generator: bool = False, **changes: Any) -> Path:
    """A model of the transformers library with the tokenizer of the inputs; returns the manifest of its copy."""
    width = 16 if generator else 32
    values = {
        **{"vocab_size": 120, "embedding_size": 16, "hidden_size": width, "num_hidden_layers": 1},
        **{"num_attention_heads": width // 16, "intermediate_size": 2 * width * (2 if generator else 1)},
        "max_position_embeddings": 32,
        **changes,
    }
    config = transformers.ElectraConfig(**values)
    torch.manual_seed(len(str(folder)))
    kind = transformers.ElectraForMaskedLM if generator else transformers.ElectraForPreTraining
    kind(config).save_pretrained(folder / "source")
    for path in inputs.tokenizer.parent.iterdir():
        shutil.copy(path, folder / "source")
    fetch_model("mine", LocalModel(path=str(folder / "source")), folder / "model" / "manifest.json", folder)
    return folder / "model" / "manifest.json"


def test_a_downloaded_pair_is_the_start(inputs: Inputs, tmp_path: Path) -> None:
    vocabulary = {"vocab_size": vocabulary_of(inputs)}
    start = write_electra(tmp_path / "d", inputs, **vocabulary)
    generator = write_electra(tmp_path / "g", inputs, generator=True, **vocabulary)
    both = inputs._replace(start=start, start_generator=generator)
    settings = {"start_from": "mine", "start_generator_from": "its", "tied_embeddings": "none", "steps": 2}
    trainer = Trainer(run_spec(**settings), both, tmp_path / "run.json", 1, CPU)
    theirs = transformers.ElectraForPreTraining.from_pretrained(start.parent).eval()
    their_generator = transformers.ElectraForMaskedLM.from_pretrained(generator.parent).eval()
    ids = torch.randint(5, 60, (2, 16), generator=torch.Generator().manual_seed(0))
    pair = trainer.pair.eval()
    with torch.no_grad():
        torch.testing.assert_close(pair.discriminate(ids), theirs(ids).logits, rtol=1e-4, atol=1e-5)
        logits = pair.generator_logits(pair.generator(ids))
        torch.testing.assert_close(logits, their_generator(ids).logits, rtol=1e-4, atol=1e-5)
    assert run_pretraining(run_spec(**settings), both, tmp_path / "run.json").status == "ok"


def test_a_discriminator_alone_gives_the_generator_its_embeddings(inputs: Inputs, tmp_path: Path) -> None:
    start = write_electra(tmp_path / "d", inputs, vocab_size=vocabulary_of(inputs))
    trainer = Trainer(run_spec(start_from="mine"), inputs._replace(start=start), tmp_path / "run.json", 1, CPU)
    theirs = transformers.ElectraForPreTraining.from_pretrained(start.parent)
    expected = theirs.electra.embeddings.word_embeddings.weight
    assert torch.equal(trainer.pair.generator.embeddings.word.weight, expected)
    assert "generator is drawn anew, it was not given" in trainer.notes


def vocabulary_of(inputs: Inputs) -> int:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(inputs.tokenizer)).get_vocab_size()


def test_other_shapes_and_vocabularies_are_refused(base: Path, inputs: Inputs, tmp_path: Path) -> None:
    own = inputs._replace(start=base)
    wide = {**run_spec().settings.discriminator.model_dump(), "intermediate_size": 96, "layers": 2}
    line = refused(own, tmp_path, start_from="base", discriminator=wide)
    assert "intermediate_size 64, num_hidden_layers 1, where this pretraining's discriminator has 96, 2" in line

    from electralab.pretrain.start import read_start

    other = tmp_path / "other"
    shutil.copytree(inputs.tokenizer.parent, other)
    text = (other / "tokenizer.json").read_text()
    assert '"lowercase":true' in text.replace(" ", "")
    trainer = Trainer(run_spec(), inputs, tmp_path / "run.json", 1, CPU)
    for changed, words in (
        (text.replace('"house"', '"horse"'), "other vocabularies"),
        (text.replace('"lowercase": true', '"lowercase": false'), "cuts text otherwise"),
    ):
        assert changed != text
        (other / "tokenizer.json").write_text(changed)
        with pytest.raises(UserError, match=words) as caught:
            read_start(base, None).give(trainer.pair, other / "tokenizer.json")
        assert "\n" not in str(caught.value) and "kind: model" in str(caught.value)


def test_weights_that_were_changed_or_never_finished_are_refused(base: Path, inputs: Inputs, tmp_path: Path) -> None:
    copied = tmp_path / "base"
    shutil.copytree(base.parent, copied)
    weights = copied / "generator" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-9] ^= 4
    weights.write_bytes(content)
    assert f"{weights} is not the file" in refused(inputs._replace(start=copied / "run.json"), tmp_path, start_from="b")
    record = (copied / "run.json").read_text()
    (copied / "run.json").write_text(record.replace('"status": "ok"', '"status": "failed"'))
    assert "is failed" in refused(inputs._replace(start=copied / "run.json"), tmp_path, start_from="b")


def test_the_tokenizer_of_a_model_is_its_own(inputs: Inputs, tmp_path: Path) -> None:
    target = tmp_path / "tokenizer" / "tokenizer.json"
    build_tokenizer(ModelTokenizer(model="mine"), target, tmp_path, inputs.tokenizer)
    assert target.read_bytes() == inputs.tokenizer.read_bytes()
    assert target.with_name("tokenizer_config.json").exists()
    with pytest.raises(UserError, match="needs its tokenizer"):
        build_tokenizer(ModelTokenizer(model="mine"), target, tmp_path, None)
