"""Every method on every architecture: it trains, is reloaded by a new process, and merges exactly where it can."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapter_cells import (
    CELLS,
    METHODS,
    NOT_MERGEABLE,
    NOT_SUPPORTED,
    STEPS,
    Trained,
    answers,
    fresh,
    loss_of,
    method_of,
    snapshot,
    train,
)
from method_models import DECODERS, ENCODERS, batch, save_model
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from electralab.config import (
    AdapterMethod,
    FullFinetuning,
    Ia3,
    Loha,
    Lora,
    Qlora,
)
from electralab.errors import UserError
from electralab.methods.adapters.adapt import (
    AdaptedModel,
    adapt,
    check_gradients,
    classification_logits,
    parameter_counts,
    save_adapter,
)
from electralab.methods.adapters.merging import merged
from electralab.methods.base_models import load_base, load_causal, quiet
from electralab.speed import onednn


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: save_model(kind, root / kind) for kind in (*ENCODERS, *DECODERS)}


@pytest.fixture(scope="module")
def cells(folders, tmp_path_factory) -> dict[tuple[str, str], Trained]:
    """Every method on every architecture, trained for a few steps and saved."""
    root = tmp_path_factory.mktemp("adapters")
    done = {}
    for kind, name in CELLS:
        model = fresh(kind, folders[kind], method_of(name))
        before = snapshot(model)
        with torch.no_grad():
            first = loss_of(model.eval(), kind).item()
        train(model, kind)
        with torch.no_grad():
            last = loss_of(model.eval(), kind).item()
        moved = {key for key, value in snapshot(model).items() if not torch.equal(before[key], value)}
        folder = root / kind / name
        done[kind, name] = Trained(model, first, last, moved, answers(model, kind), folder)
        save_adapter(model, folder / "adapter", folders[kind], 64)
        whole = merged(model)
        if whole is not None:
            with quiet():
                whole.save_pretrained(folder / "merged")
    return done


RELOAD = """
import json, sys
from pathlib import Path
from typing import Annotated
import numpy as np, torch
from pydantic import Field, TypeAdapter
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from electralab.methods.adapters.adapt import classification_logits, reload_adapter
from electralab.methods.base_models import load_base, load_causal
from electralab.config import AdapterMethod
from method_models import DECODERS, batch, label_words

torch.set_num_threads(1)
methods = TypeAdapter(Annotated[AdapterMethod, Field(discriminator="kind")])
differences = []
for cell in json.load(sys.stdin):
    kind, folder = cell["kind"], Path(cell["folder"])
    method = methods.validate_python(cell["method"])
    base_folder = Path(cell["base"])
    decoder = kind in DECODERS
    base = load_causal(base_folder, method) if decoder else load_base(base_folder, 2, method, seed=0)
    read = label_words if decoder else classification_logits
    input_ids, mask, _ = batch(kind)
    expected = torch.tensor(cell["logits"])
    with torch.inference_mode():
        found = reload_adapter(base, folder / "adapter", method, read)(input_ids, mask)
        adapter = float((found - expected).abs().max())
        whole = None
        if (folder / "merged").exists():
            auto = AutoModelForCausalLM if decoder else AutoModelForSequenceClassification
            model = auto.from_pretrained(folder / "merged").eval()
            outputs = model(input_ids=input_ids, attention_mask=mask.long())
            whole = float((read(outputs, input_ids, mask) - expected).abs().max())
    differences.append({"adapter": adapter, "merged": whole})
print(json.dumps(differences))
"""


@pytest.fixture(scope="module")
def reloaded(cells, folders) -> dict[tuple[str, str], dict[str, Any]]:
    """Differences of logits after a new process loaded adapters and merged models, one process for all."""
    request = [
        {
            "kind": kind,
            "method": method_of(name).model_dump(mode="json"),
            "base": str(folders[kind]),
            "folder": str(trained.folder),
            "logits": trained.logits.tolist(),
        }
        for (kind, name), trained in cells.items()
    ]
    path = os.pathsep.join([str(Path(__file__).parents[2] / "helpers"), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", RELOAD],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
    )
    assert result.returncode == 0, result.stderr
    return dict(zip(cells, json.loads(result.stdout.splitlines()[-1])))


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_training_moves_adapter_and_head_and_nothing_else(cells, cell):
    trained = cells[cell]
    assert trained.last_loss < trained.first_loss
    wanted = {name for name, value in trained.model.network.named_parameters() if value.requires_grad}
    # Ranks that AdaLoRA takes away are set back to the zero that they started from.
    still = {name for name in wanted - trained.moved if not (cell[1] == "adalora" and ".lora_E." in name)}
    assert not still
    assert trained.moved <= wanted
    assert wanted
    head = {name for name in wanted if ".modules_to_save." in name}
    assert bool(head) == (cell[0] in ENCODERS and cell[1] != "qlora_as_published")


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_a_new_process_reloads_the_adapter(reloaded, cell):
    assert reloaded[cell]["adapter"] <= 1e-5


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[1] not in NOT_MERGEABLE], ids="-".join)
def test_the_merged_model_is_exact_and_loads_as_a_hugging_face_model(reloaded, cell):
    assert reloaded[cell]["merged"] <= 1e-5


@pytest.mark.parametrize("cell", [("bert", "qlora_nf4"), ("electra", "lora")], ids="-".join)
def test_merged_layers_compute_as_adapted_ones_do(cells, cell, monkeypatch):
    """Else the two would be timed with different products."""
    monkeypatch.setattr(onednn, "onednn_is_faster", lambda: True)
    network = merged(cells[cell].model)
    assert {type(layer) for layer in network.modules() if isinstance(layer, torch.nn.Linear)} == {onednn.Linear}


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_merging_leaves_the_adapted_model_as_it_was(cells, cell):
    kind, name = cell
    whole = merged(cells[cell].model)
    assert (whole is None) == (name in NOT_MERGEABLE)
    assert torch.equal(answers(cells[cell].model, kind), cells[cell].logits)


def test_adapters_change_what_the_model_answers(cells):
    """A silent no-op would pass all of the above: without the adapter, but with the head, the logits are others."""
    for (kind, name), trained in cells.items():
        if name in ("prefix", "prompt"):
            continue  # nothing to switch off; PEFT cannot switch off a prefix beside a head
        with trained.model.network.disable_adapter():
            assert not torch.allclose(answers(trained.model, kind), trained.logits, atol=1e-4), (kind, name)


def dequantized_head(model: AdaptedModel) -> list[torch.Tensor]:
    import bitsandbytes as bnb

    head = model.network.base_model.model.classifier
    return [
        bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        for layer in (head.dense, head.out_proj)
    ]


def test_qlora_trains_the_head_and_as_published_does_not(folders):
    fixed = fresh("electra", folders["electra"], METHODS["qlora_nf4"])
    loss_of(fixed.train(), "electra").backward()
    check_gradients(fixed)
    head = fixed.network.base_model.model.classifier.modules_to_save["default"]
    assert all(value.dtype == torch.float32 and value.grad.abs().sum() > 0 for value in head.parameters())

    mistaken = fresh("electra", folders["electra"], METHODS["qlora_as_published"])
    drawn = load_base(folders["electra"], 2, Lora(), seed=0).classifier
    before = dequantized_head(mistaken)
    for stored, layer in zip(before, (drawn.dense, drawn.out_proj)):
        # nf4 keeps the largest of every 64 weights and rounds the rest to 15 others.
        assert 0 < (stored - layer.weight).abs().max() < 0.2 * layer.weight.abs().max()
    train(mistaken, "electra")
    assert all(torch.equal(old, new) for old, new in zip(before, dequantized_head(mistaken)))
    assert parameter_counts(mistaken)["head_parameters"] == 0
    assert parameter_counts(mistaken)["base_parameters"] == parameter_counts(fixed)["base_parameters"]


def test_a_head_depends_on_the_seed_alone(folders, tmp_path):
    def head(folder: Path, seed: int, method: AdapterMethod | None = None, outputs: int = 2) -> torch.Tensor:
        model = load_base(folder, outputs, method or Lora(), seed)
        return torch.cat([value.flatten() for value in model.classifier.parameters()])

    first = head(folders["electra"], 3)
    assert torch.equal(first, head(folders["electra"], 3, Qlora()))
    assert torch.equal(first, head(folders["electra"], 3, Ia3()))
    assert not torch.equal(first, head(folders["electra"], 4))
    # A folder that was fine-tuned before, on as many or on other classes, gets a new head too.
    for outputs in (2, 3):
        old = load_base(folders["electra"], outputs, Lora(), seed=9)
        with quiet():
            old.save_pretrained(tmp_path / str(outputs))
        assert torch.equal(first, head(tmp_path / str(outputs), 3))
    assert len(head(folders["electra"], 3, outputs=1)) == 64 * 64 + 64 + 64 + 1


def test_the_same_seed_gives_the_same_adapter(folders):
    for name in ("lora", "qlora_nf4", "prefix", "prompt", "oft"):
        one, two, other = (
            snapshot(fresh("electra", folders["electra"], METHODS[name], seed=seed)) for seed in (1, 1, 2)
        )
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert any(not torch.equal(one[key], other[key]) for key in one)


def test_a_pooler_that_was_not_pretrained_is_trained_with_the_head(tmp_path):
    """Nothing but its random weights would stand between body and head; and no few-bit storage may catch it."""
    shape = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=90, max_position_embeddings=64, **shape), add_pooling_layer=False).save_pretrained(
        tmp_path
    )
    for method in (Lora(), Qlora()):
        model = fresh("bert", tmp_path, method)
        assert parameter_counts(model)["head_parameters"] == 32 * 32 + 32 + 2 * 32 + 2
        before = snapshot(model)
        train(model, "bert")
        assert all(not torch.equal(before[key], new) for key, new in snapshot(model).items() if "pooler.modules" in key)


def test_dropout_is_that_of_the_method(folders):
    for kind, folder in folders.items():
        for rate in (0.0, 0.3):
            method = Lora(dropout=rate, adapter_dropout=0.0)
            load = load_causal(folder, method) if kind in DECODERS else load_base(folder, 2, method, seed=0)
            rates = {module.p for module in load.modules() if isinstance(module, torch.nn.Dropout)}
            assert rates <= {rate}
            base = fresh(kind, folder, method).train()
            first, second = (loss_of(base, kind) for _ in range(2))
            assert torch.equal(first, second) == (rate == 0.0)


def test_adalora_adds_pefts_penalty_and_ends_with_the_target_rank(cells, folders):
    model = fresh("electra", folders["electra"], METHODS["adalora"]).eval()
    input_ids, attention_mask, labels = batch("electra")
    # With labels, PEFT adds the penalty to the loss itself.
    whole = model.network(input_ids=input_ids, attention_mask=attention_mask.long(), labels=labels).loss
    plain = F.cross_entropy(model(input_ids, attention_mask), labels)
    assert model.penalty().item() == pytest.approx((whole - plain).item(), abs=1e-6)
    for name in ("lora", "qlora_nf4", "ia3"):
        assert cells["electra", name].model.penalty() is None
    kept = [
        (value != 0).sum().item()
        for name, value in cells["electra", "adalora"].model.network.named_parameters()
        if "lora_E" in name
    ]
    layers = 2 * 3  # query, key and value of each layer
    assert sum(kept) == 3 * layers
    assert len(kept) == layers


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_checkpointing_recomputes_layers_and_gives_the_same_gradients(kind, folders):
    gradients, passes = [], []
    for checkpointing in (False, True):
        model = fresh(kind, folders[kind], Lora(gradient_checkpointing=checkpointing)).train()
        query = next(m for name, m in model.network.named_modules() if name.endswith((".query", ".q_lin", ".q_proj")))
        calls: list[int] = []
        query.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(5)
        loss_of(model, kind).backward()
        gradients.append([value.grad for value in model.parameters() if value.requires_grad])
        passes.append(len(calls))
    assert passes == [1, 2]
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(*gradients))


@pytest.mark.parametrize("name", ["lora", "prefix", "prompt"])
@pytest.mark.parametrize("kind", ["electra", "bert", "opt"])
def test_padding_does_not_change_an_answer(cells, kind, name):
    """The mask of a prefix or prompt joins that of the text."""
    model = cells[kind, name].model.eval()
    input_ids, _, _ = batch(kind)
    text = input_ids[5:6, :9]
    left = kind in DECODERS
    padded = F.pad(text, (3, 0) if left else (0, 3), value=0)
    mask = F.pad(torch.ones_like(text), (3, 0) if left else (0, 3)).bool()
    with torch.inference_mode():
        assert torch.allclose(model(text, None), model(padded, mask), atol=1e-5)


def test_token_types_are_read_where_there_are_any(cells):
    input_ids, attention_mask, _ = batch("electra")
    types = torch.zeros_like(input_ids)
    types[:, 5:] = 1
    for kind, heard in (("electra", True), ("bert", True), ("distilbert", False)):
        for name in ("lora", "prefix", "prompt"):
            if (kind, name) in NOT_SUPPORTED:
                continue
            model = cells[kind, name].model.eval()
            with torch.inference_mode():
                same = torch.equal(model(input_ids, attention_mask, types), model(input_ids, attention_mask))
            assert same != heard


def test_a_parameter_without_gradient_is_named(folders):
    model = fresh("electra", folders["electra"], METHODS["lora"])
    with pytest.raises(UserError, match=r"lora: .*lora_A.*no gradient reaches it"):
        check_gradients(model)
    with pytest.raises(UserError, match="no gradient"):
        model.after_update(1)
    # Skipped layers of `module_dropout` have no gradient and are no mistake.
    method = Loha(module_dropout=0.9)
    skipping = fresh("electra", folders["electra"], method).train()
    torch.manual_seed(0)
    loss_of(skipping, "electra").backward()
    assert any(value.grad is None for value in skipping.parameters() if value.requires_grad)
    check_gradients(skipping)


def test_a_decoder_computes_the_logits_of_the_last_position_alone(folders):
    for name in ("lora", "prefix", "prompt"):
        shapes = []

        def read(outputs, *_, shapes=shapes):
            shapes.append(tuple(outputs.logits.shape))
            return outputs.logits[:, -1]

        for kind in DECODERS:
            adapt(load_causal(folders[kind], METHODS[name]), METHODS[name], STEPS, read)(*batch(kind)[:2])
        assert shapes == [(8, 1, 90), (8, 1, 90)]


def test_full_finetuning_of_a_decoder_trains_all_of_it(folders):
    model = load_causal(folders["opt"], FullFinetuning(dropout=0.0))
    assert all(value.requires_grad for value in model.parameters())


def test_saving_replaces_an_earlier_adapter_and_leaves_nothing_else(folders, tmp_path):
    for name in ("adalora", "lora"):
        model = fresh("electra", folders["electra"], METHODS[name])
        size = save_adapter(model, tmp_path / "adapter", folders["electra"], 64)
        assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
            "tokenizer_config.json",
        }
        assert size == (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    counts = parameter_counts(model)
    assert 4 * counts["trainable_parameters"] < size < 4 * counts["trainable_parameters"] + 5000


def test_logits_are_the_outputs_logits():
    logits = torch.from_numpy(np.eye(2))

    class Outputs:
        pass

    outputs = Outputs()
    outputs.logits = logits
    assert classification_logits(outputs, logits, None) is logits
