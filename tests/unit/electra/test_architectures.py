"""BERT and DistilBERT folders give the hidden states that `transformers` computes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from electralab.electra.convert import load_encoder
from electralab.errors import UserError

IDS = torch.randint(5, 70, (3, 15), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(15) < torch.tensor([[15], [7], [2]])
TYPES = (torch.arange(15) > 5).long().expand(3, 15)


class Sizes(NamedTuple):
    layers: int = 3
    heads: int = 2
    head_size: int = 12
    intermediate: int = 40
    positions: int = 20
    embedding: int = 16
    eps: float = 1e-12


def bert(sizes: Sizes) -> PreTrainedModel:
    config = transformers.BertConfig(
        vocab_size=70,
        hidden_size=sizes.heads * sizes.head_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.intermediate,
        max_position_embeddings=sizes.positions,
        layer_norm_eps=sizes.eps,
        type_vocab_size=4,
    )
    return transformers.BertModel(config)


def distilbert(sizes: Sizes) -> PreTrainedModel:
    config = transformers.DistilBertConfig(
        vocab_size=70,
        dim=sizes.heads * sizes.head_size,
        n_layers=sizes.layers,
        n_heads=sizes.heads,
        hidden_dim=sizes.intermediate,
        max_position_embeddings=sizes.positions,
        sinusoidal_pos_embds=sizes.positions % 2 == 0,  # says how the table was drawn, not what is in it
    )
    return transformers.DistilBertModel(config)


def electra(sizes: Sizes) -> PreTrainedModel:
    config = transformers.ElectraConfig(
        vocab_size=70,
        embedding_size=sizes.embedding,
        hidden_size=sizes.heads * sizes.head_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.intermediate,
        max_position_embeddings=sizes.positions,
        layer_norm_eps=sizes.eps,
    )
    return transformers.ElectraModel(config)


ARCHITECTURES = {"bert": bert, "distilbert": distilbert, "electra": electra}


def saved(make: Callable[[], PreTrainedModel], folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    model.save_pretrained(folder)
    return model


def assert_same_states(model: PreTrainedModel, folder: Path) -> None:
    encoder, _ = load_encoder(folder)
    encoder.eval()
    inputs = {"input_ids": IDS, "attention_mask": MASK.long()}
    types = None if model.config.model_type == "distilbert" else TYPES
    if types is not None:
        inputs["token_type_ids"] = types
    with torch.no_grad():
        expected, actual = model(**inputs).last_hidden_state, encoder(IDS, MASK, types)
        torch.testing.assert_close(actual[MASK], expected[MASK], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoder(IDS), model(input_ids=IDS).last_hidden_state, atol=1e-5, rtol=1e-5)


SIZES = st.builds(
    Sizes,
    layers=st.integers(1, 3),
    heads=st.integers(1, 3),
    head_size=st.sampled_from([4, 8]),
    intermediate=st.integers(1, 40),
    positions=st.integers(15, 40),
    embedding=st.sampled_from([8, 16, 24]),  # also as wide as the layers: no projection
    eps=st.sampled_from([1e-12, 1e-5]),
)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@settings(max_examples=8)
@given(sizes=SIZES)
def test_hidden_states_are_those_of_transformers(kind: str, sizes: Sizes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_same_states(saved(lambda: ARCHITECTURES[kind](sizes), Path(folder)), Path(folder))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_backbone_inside_a_larger_model_is_found(kind: str, tmp_path: Path) -> None:
    model = saved(lambda: ARCHITECTURES[kind](Sizes()), tmp_path)
    path = tmp_path / "model.safetensors"
    state = {f"{kind}.{name}": tensor for name, tensor in load_file(path).items()}
    heads = {f"{kind}.embeddings.position_ids": torch.arange(20)[None], "cls.predictions.bias": torch.zeros(70)}
    save_file(state | heads, path)
    assert_same_states(model, tmp_path)


HEADS = [
    (transformers.BertForMaskedLM, transformers.BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2)),
    (transformers.BertForSequenceClassification, transformers.BertConfig(num_hidden_layers=1, hidden_size=24)),
    (transformers.DistilBertForMaskedLM, transformers.DistilBertConfig(n_layers=1, dim=24)),
    (transformers.ElectraForPreTraining, transformers.ElectraConfig(num_hidden_layers=1, hidden_size=24)),
]


@pytest.mark.parametrize(("model_class", "config"), HEADS)
def test_models_with_heads_as_transformers_saves_them(
    model_class: type[PreTrainedModel], config: transformers.PreTrainedConfig, tmp_path: Path
) -> None:
    config.vocab_size = 70
    model = saved(lambda: model_class(config), tmp_path)
    assert_same_states(model.base_model, tmp_path)


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_names_of_tensorflow_and_the_older_format_are_read(kind: str, tmp_path: Path) -> None:
    model = saved(lambda: ARCHITECTURES[kind](Sizes()), tmp_path)
    path = tmp_path / "model.safetensors"
    older = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in load_file(path).items()
    }
    assert any(name.endswith("gamma") for name in older)
    path.unlink()
    torch.save(older, tmp_path / "pytorch_model.bin")
    assert_same_states(model, tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    saved(lambda: bert(Sizes()), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"x": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="damaged"):
        load_encoder(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (transformers.RobertaConfig(), "'roberta'"),
        (transformers.BertConfig(hidden_act="gelu_new"), "'gelu_new'"),
        (transformers.BertConfig(position_embedding_type="relative_key"), "'relative_key'"),
        (transformers.BertConfig(is_decoder=True), "is_decoder True"),
        (transformers.DistilBertConfig(activation="relu"), "'relu'"),
    ],
)
def test_other_networks_are_refused_by_name(config: transformers.PreTrainedConfig, named: str, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=named) as error:
        load_encoder(tmp_path)
    assert "\n" not in str(error.value)
