"""Roles mean the same layers in every architecture."""

import pytest
import torch
from method_models import DECODERS, ENCODERS, make_model, save_model

from electralab.config import Lora
from electralab.errors import UserError
from electralab.methods.adapters.adapt import adapt
from electralab.methods.adapters.targets import target_modules
from electralab.methods.base_models import HEADS, load_base

# Layers of one block by role, by hand from the papers' descriptions of a Transformer block.
ATTENTION = {
    "electra": ["attention.self.query", "attention.self.key", "attention.self.value"],
    "bert": ["attention.self.query", "attention.self.key", "attention.self.value"],
    "distilbert": ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    "opt": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "llama": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
}
BLOCK = {
    "electra": "encoder.layer.{}.",
    "bert": "encoder.layer.{}.",
    "distilbert": "transformer.layer.{}.",
    "opt": "model.decoder.layers.{}.",
    "llama": "model.layers.{}.",
}
FEED_FORWARD = {
    "electra": ["attention.output.dense", "intermediate.dense", "output.dense"],
    "bert": ["attention.output.dense", "intermediate.dense", "output.dense"],
    "distilbert": ["attention.out_lin", "ffn.lin1", "ffn.lin2"],
    "opt": ["self_attn.out_proj", "fc1", "fc2"],
    "llama": ["self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"],
}
OUTSIDE = {
    "electra": ["embeddings_project"],
    "bert": ["pooler.dense"],
    "distilbert": [],
    "opt": ["model.decoder.project_in", "model.decoder.project_out"],
    "llama": [],
}
KINDS = [*ENCODERS, *DECODERS]


def in_every_block(kind: str, names: list[str]) -> set[str]:
    return {BLOCK[kind].format(layer) + name for layer in range(2) for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_a_role_is_these_layers_of_every_block(kind):
    model = make_model(kind)
    attention = ATTENTION[kind]
    roles = {
        "query_value": in_every_block(kind, [attention[0], attention[2]]),
        "attention": in_every_block(kind, attention),
        "attention+ffn": in_every_block(kind, attention + FEED_FORWARD[kind]),
        "all-linear": in_every_block(kind, attention + FEED_FORWARD[kind]) | set(OUTSIDE[kind]),
    }
    for role, names in roles.items():
        found = target_modules(model, role, [])
        assert set(found) == names
        assert len(found) == len(names)


@pytest.mark.parametrize("kind", ENCODERS)
def test_peft_adapts_exactly_these_layers_and_never_the_head(kind, tmp_path):
    folder = save_model(kind, tmp_path)
    for role in ("attention", "attention+ffn", "all-linear"):
        base = load_base(folder, 3, Lora(), seed=0)
        expected = target_modules(base, role, HEADS[kind])
        assert not any("classifier" in name for name in expected)
        adapted = adapt(base, Lora(targets=role, rank=2), steps=1).network
        assert {name.removeprefix("base_model.model.") for name in adapted.targeted_module_names} == set(expected)


def test_a_list_names_ends_of_modules_and_may_name_embeddings():
    model = make_model("opt")
    assert target_modules(model, ["fc1"], []) == ["model.decoder.layers.0.fc1", "model.decoder.layers.1.fc1"]
    assert target_modules(model, ["layers.1.fc1"], []) == ["model.decoder.layers.1.fc1"]
    assert set(target_modules(model, ["embed_tokens", "lm_head"], [])) == {"model.decoder.embed_tokens", "lm_head"}


def test_a_name_of_no_layer_is_refused():
    model = make_model("electra")
    with pytest.raises(UserError, match=r"'q_proj' matches no linear or embedding layer .* \(.*query.*\)"):
        target_modules(model, ["query", "q_proj"], [])
    # Part of a name, and a layer without a matrix of weights.
    for name in ("uery", "LayerNorm"):
        with pytest.raises(UserError, match=repr(name)):
            target_modules(model, [name], [])


def test_the_head_is_no_target():
    model = make_model("bert")
    model.add_module("classifier", torch.nn.Linear(32, 2))
    with pytest.raises(UserError, match="'classifier'"):
        target_modules(model, ["classifier"], ["classifier"])


def test_an_unknown_role_is_refused():
    with pytest.raises(UserError, match=r"'everything' is no role: use one of query_value, attention.*all-linear"):
        target_modules(make_model("bert"), "everything", [])
