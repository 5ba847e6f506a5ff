"""Conversion to and from Hugging Face, in both directions, and what bad model folders say."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from electralab.electra.convert import load_encoder, load_pair, save_discriminator, save_generator
from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.initialization import initialize
from electralab.electra.pair import ElectraPair
from electralab.errors import UserError
from electralab.files import staged_folder

CONFIG = ElectraConfig(70, 16, 24, 2, 2, 40, max_positions=20, pad_token_id=1)
WIDE = replace(CONFIG, embedding_size=24)  # no projection between embeddings and layers
IDS = torch.randint(70, (3, 15), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(15) < torch.tensor([[15], [7], [1]])
TYPES = (torch.arange(15) > 5).long().expand(3, 15)


def make_pair(config: ElectraConfig = CONFIG, tied: str = "all") -> ElectraPair:
    pair = ElectraPair(config, generator_config(config, 0.5, head_size=6), tied)  # type: ignore[arg-type]
    initialize(pair, "normal", torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    return pair.eval()


@pytest.fixture
def saved(tmp_path: Path) -> tuple[ElectraPair, Path]:
    pair = make_pair()
    save_discriminator(tmp_path / "discriminator", pair)
    save_generator(tmp_path / "generator", pair)
    return pair, tmp_path


def test_what_is_saved_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    """safetensors writes files that nobody else can read."""
    before = os.umask(0o027)
    try:
        with staged_folder(tmp_path / "d") as staging:
            save_discriminator(staging, make_pair())
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "d").iterdir()} == {0o640}


def assert_equal_logits(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual[MASK], expected[MASK], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, WIDE])
@pytest.mark.parametrize("tied", ["all", "none"])
def test_transformers_opens_what_we_save(config: ElectraConfig, tied: str, tmp_path: Path) -> None:
    pair = make_pair(config, tied)
    save_discriminator(tmp_path / "d", pair)
    save_generator(tmp_path / "g", pair)
    inputs = {"input_ids": IDS, "attention_mask": MASK.long(), "token_type_ids": TYPES}
    with torch.no_grad():
        backbone = transformers.AutoModel.from_pretrained(tmp_path / "d")
        assert_equal_logits(backbone(**inputs).last_hidden_state, pair.discriminator(IDS, MASK, TYPES))
        discriminator = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "d")
        assert_equal_logits(discriminator(**inputs).logits, pair.discriminate(IDS, MASK, TYPES))
        generator, information = transformers.AutoModelForMaskedLM.from_pretrained(
            tmp_path / "g", output_loading_info=True
        )
        assert_equal_logits(generator(**inputs).logits, pair.generator_logits(pair.generator(IDS, MASK, TYPES)))
    assert not information["missing_keys"]
    assert not information["unexpected_keys"]


@pytest.mark.parametrize("config", [CONFIG, WIDE])
def test_we_open_what_transformers_saves(config: ElectraConfig, tmp_path: Path) -> None:
    from electralab.electra.convert import huggingface_config

    torch.manual_seed(0)
    small = generator_config(config, 0.5, head_size=6)
    discriminator = transformers.ElectraForPreTraining(
        transformers.ElectraConfig(**huggingface_config(config, "ElectraForPreTraining"))
    ).eval()
    generator = transformers.ElectraForMaskedLM(
        transformers.ElectraConfig(**huggingface_config(small, "ElectraForMaskedLM"))
    ).eval()
    discriminator.save_pretrained(tmp_path / "d")
    generator.save_pretrained(tmp_path / "g")
    discriminator.electra.save_pretrained(tmp_path / "backbone")
    pair = load_pair(tmp_path / "d", tmp_path / "g", tied="none").eval()
    inputs = {"input_ids": IDS, "attention_mask": MASK.long(), "token_type_ids": TYPES}
    with torch.no_grad():
        assert_equal_logits(pair.discriminate(IDS, MASK, TYPES), discriminator(**inputs).logits)
        logits = pair.generator_logits(pair.generator(IDS, MASK, TYPES))
        assert_equal_logits(logits, generator(**inputs).logits)
        expected = discriminator.electra(**inputs).last_hidden_state
        for folder in ("d", "backbone"):
            encoder, loaded = load_encoder(tmp_path / folder)
            assert loaded == config
            assert_equal_logits(encoder.eval()(IDS, MASK, TYPES), expected)


@pytest.mark.parametrize("tied", ["all", "word_position", "word", "none"])
def test_a_pair_survives_a_round_trip(tied: str, tmp_path: Path) -> None:
    pair = make_pair(tied=tied)
    save_discriminator(tmp_path / "d", pair)
    save_generator(tmp_path / "g", pair)
    loaded = load_pair(tmp_path / "d", tmp_path / "g", tied)  # type: ignore[arg-type]
    expected = pair.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    assert loaded.discriminator.config == pair.discriminator.config
    assert loaded.generator.config == pair.generator.config


def test_saving_leaves_only_the_two_files(saved: tuple[ElectraPair, Path]) -> None:
    _, folder = saved
    for network in ("discriminator", "generator"):
        assert {path.name for path in (folder / network).iterdir()} == {"config.json", "model.safetensors"}


def test_saving_twice_gives_the_same_bytes(saved: tuple[ElectraPair, Path]) -> None:
    pair, folder = saved
    before = (folder / "generator" / "model.safetensors").read_bytes()
    save_generator(folder / "generator", pair)
    assert (folder / "generator" / "model.safetensors").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told_in_one_line(saved: tuple[ElectraPair, Path]) -> None:
    pair, folder = saved
    blocked = folder / "blocked"
    (blocked / "model.safetensors").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot write .*model\.safetensors"):
        save_discriminator(blocked, pair)
    assert {path.name for path in blocked.iterdir()} == {"model.safetensors"}


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in (config | values).items() if value is not None}))


def test_bad_model_folders_are_told_in_one_line(saved: tuple[ElectraPair, Path]) -> None:
    _, folder = saved
    model = folder / "discriminator"
    good = (model / "config.json").read_text()

    def message() -> str:
        with pytest.raises(UserError) as error:
            load_encoder(model)
        assert "\n" not in str(error.value)
        (model / "config.json").write_text(good)
        return str(error.value)

    edit_config(model, model_type="roberta")
    assert "'roberta'" in message()
    edit_config(model, hidden_act="relu")
    assert "'relu'" in message()
    edit_config(model, hidden_size=None)
    assert "lacks hidden_size" in message()
    edit_config(model, intermediate_size=41)
    assert "do not belong together" in message()
    edit_config(model, num_hidden_layers=3)
    assert "has no tensor 'electra.encoder.layer.2" in message()
    (model / "config.json").write_text(good[: len(good) // 2])
    assert "damaged" in message()
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "damaged" in message()
    (model / "model.safetensors").unlink()
    assert "holds no model" in message()


def test_a_backbone_alone_is_not_a_pair(saved: tuple[ElectraPair, Path]) -> None:
    _, folder = saved
    path = folder / "discriminator" / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k.startswith("electra.")}, path)
    load_encoder(folder / "discriminator")
    with pytest.raises(UserError, match="discriminator_predictions"):
        load_pair(folder / "discriminator", folder / "generator")
