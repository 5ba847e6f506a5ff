"""Which weights a fine-tuning starts from, and what is refused before it trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from finetune_task import make_spec, write_tokenizer
from model_hub import WORDS, write_bert
from pretraining_record import write_pretraining_record

from electralab.config import LocalModel
from electralab.data.models import fetch_model
from electralab.electra.convert import load_encoder, save_discriminator, save_generator
from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError
from electralab.files import sha256, write_json
from electralab.finetune.encoder.start import starting_encoder
from electralab.specs import RunSpec
from electralab.tokens.tokenizer import TextEncoder, load_tokenizer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "source")


@pytest.fixture
def manifest(source: Path, tmp_path: Path) -> Path:
    path = tmp_path / "downloaded" / "manifest.json"
    fetch_model("mine", LocalModel(path=str(source)), path, tmp_path)
    return path


@pytest.fixture
def tokenizer(manifest: Path) -> TextEncoder:
    return load_tokenizer(manifest.with_name("tokenizer.json"))


def downloaded(source: Path, **settings: object) -> RunSpec:
    spec = make_spec(random_init=False, **settings)
    return spec.model_copy(
        update={"model": "mine", "downloaded": LocalModel(path=str(source)), "pretraining_recipe": None}
    )


def refused(spec: RunSpec, tokenizer: TextEncoder, model: Path | None) -> str:
    with pytest.raises(UserError) as error:
        starting_encoder(spec, tokenizer, model)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_same_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    theirs_state = theirs.state_dict()
    assert ours.state_dict().keys() == theirs_state.keys()
    assert all(torch.equal(tensor, theirs_state[name]) for name, tensor in ours.state_dict().items())


def test_a_downloaded_model_lies_beside_its_manifest(source: Path, manifest: Path, tokenizer: TextEncoder) -> None:
    encoder, origin = starting_encoder(downloaded(source), tokenizer, manifest)
    assert_same_weights(encoder, load_encoder(source)[0])
    assert origin == sha256(source / "model.safetensors")


@pytest.mark.parametrize(("snapshot", "folder"), [(None, "discriminator"), (0.125, "snapshots/12.5")])
def test_a_pretrained_model_lies_in_a_folder_of_its_run(
    snapshot: float | None, folder: str, tmp_path: Path, tokenizer: TextEncoder
) -> None:
    config = ElectraConfig(len(WORDS), 8, 8, 1, 2, 8, max_positions=24)
    pair = ElectraPair(config, config)
    save_discriminator(tmp_path / "run" / folder, pair)
    record = write_pretraining_record(tmp_path / "run")
    spec = make_spec(random_init=False).model_copy(update={"snapshot": snapshot})
    encoder, origin = starting_encoder(spec, tokenizer, record)
    assert_same_weights(encoder, pair.discriminator)
    weights = tmp_path / "run" / folder / "model.safetensors"
    assert origin == sha256(weights)

    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    assert f"{weights} is not the file that {record} names" in refused(spec, tokenizer, record)


def test_a_generator_lies_beside_its_discriminator(tmp_path: Path, tokenizer: TextEncoder) -> None:
    config = ElectraConfig(len(WORDS), 8, 8, 1, 2, 8, max_positions=24)
    pair = ElectraPair(config, generator_config(config, 0.5))
    save_discriminator(tmp_path / "discriminator", pair)
    save_generator(tmp_path / "generator", pair)
    record, spec = write_pretraining_record(tmp_path), make_spec(random_init=False)
    encoder, origin = starting_encoder(spec, tokenizer, record, generator=True)
    assert_same_weights(encoder, pair.generator)
    assert origin == sha256(tmp_path / "generator" / "model.safetensors")
    for none in ({"snapshot": 0.5}, {"downloaded": LocalModel(path="x")}):
        with pytest.raises(UserError, match="has no generator, only one that a pretraining of this experiment left"):
            starting_encoder(spec.model_copy(update=none), tokenizer, record, generator=True)


def test_a_snapshot_that_was_not_kept_says_what_to_do(tmp_path: Path, tokenizer: TextEncoder) -> None:
    """It was asked for after the pretraining had ended; what an earlier run of the folder kept is none of it."""
    config = ElectraConfig(len(WORDS), 8, 8, 1, 2, 8, max_positions=24)
    save_discriminator(tmp_path / "discriminator", ElectraPair(config, config))
    record = write_pretraining_record(tmp_path)
    spec = make_spec(random_init=False).model_copy(update={"snapshot": 0.5})
    expected = f"snapshots/50 was not kept by the pretraining of {record}, which ended before it was asked for: delete"
    assert expected in refused(spec, tokenizer, record)
    save_discriminator(tmp_path / "snapshots" / "50", ElectraPair(config, config))
    assert expected in refused(spec, tokenizer, record)


def test_an_untrained_model_is_drawn_from_the_seed_alone(tokenizer: TextEncoder) -> None:
    first, origin = starting_encoder(make_spec(seed=1), tokenizer, None)
    again, _ = starting_encoder(make_spec(seed=1), tokenizer, None)
    other, _ = starting_encoder(make_spec(seed=2), tokenizer, None)
    assert_same_weights(first, again)
    assert not torch.equal(first.embeddings.word.weight, other.embeddings.word.weight)
    assert origin == "normal, seed 1"


def test_texts_longer_than_the_model_reads_are_refused(source: Path, manifest: Path, tokenizer: TextEncoder) -> None:
    starting_encoder(downloaded(source, max_length=512), tokenizer, manifest)
    message = refused(downloaded(source, max_length=513), tokenizer, manifest)
    assert "max_length 513" in message and "512 positions of model mine" in message


def test_another_tokenizer_is_refused(source: Path, manifest: Path, tmp_path: Path) -> None:
    larger = load_tokenizer(write_tokenizer(tmp_path / "larger"))
    message = refused(downloaded(source), larger, manifest)
    assert f"{larger.vocab_size} entries" in message and f"embeds {len(WORDS)}" in message


def test_weights_that_are_not_those_that_were_fetched_are_refused(
    source: Path, manifest: Path, tokenizer: TextEncoder
) -> None:
    weights = manifest.with_name("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # no reader of safetensors would notice
    weights.write_bytes(content)
    load_encoder(manifest.parent)
    assert "not those of" in refused(downloaded(source), tokenizer, manifest)


def test_a_model_that_is_not_there_is_refused(source: Path, tmp_path: Path, tokenizer: TextEncoder) -> None:
    assert "--start" in refused(downloaded(source), tokenizer, None)
    manifest = tmp_path / "nowhere" / "manifest.json"
    write_json(manifest, {})
    assert "holds no model" in refused(downloaded(source), tokenizer, manifest)
