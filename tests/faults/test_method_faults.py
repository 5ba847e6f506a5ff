"""Adapters that cannot be: one line that says why, before any training."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from method_models import DECODERS, ENCODERS, label_words, save_model
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, T5Config

from electralab.config import AdaLora, AdapterMethod, Loha, Lora, Oft, Prefix, Prompt, Qlora
from electralab.errors import UserError
from electralab.methods.adapters.adapt import adapt, reload_adapter, save_adapter
from electralab.methods.base_models import load_base, load_causal


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: save_model(kind, root / kind) for kind in (*ENCODERS, *DECODERS)}


def build(folder: Path, method: AdapterMethod, steps: int = 100, kind: str = "electra"):
    if kind in DECODERS:
        return adapt(load_causal(folder, method), method, steps, label_words)
    return adapt(load_base(folder, 2, method, seed=0), method, steps)


def refused(match: str):
    return pytest.raises(UserError, match=f"^[^\n]*{match}[^\n]*$")


@pytest.mark.parametrize("kind", [Lora, Qlora, Loha])
def test_rank_zero_is_refused_by_the_config(kind):
    with pytest.raises(ValidationError, match="rank"):
        kind(rank=0)


@pytest.mark.parametrize("method", [Lora, Qlora, Loha])
def test_a_rank_above_the_width_of_a_layer_names_it(folders, method):
    assert build(folders["electra"], method(rank=64))
    with refused(r"rank 65 is above the width 64 of electra\.encoder\.layer\.0\.attention\.self\.query: lower it"):
        build(folders["electra"], method(rank=65))
    # The narrowest layer counts: the projection of embeddings reads 32.
    with refused(r"rank 33 is above the width 32 of electra\.embeddings_project"):
        build(folders["electra"], method(rank=33, targets="all-linear"))


def test_adalora_ranks(folders):
    with refused("rank 65 is above the width 64"):
        build(folders["electra"], AdaLora(initial_rank=65, target_rank=8))
    with refused("target_rank 9 is above initial_rank 8"):
        build(folders["electra"], AdaLora(initial_rank=8, target_rank=9))


def test_adalora_needs_steps_between_its_start_and_its_end(folders):
    method = AdaLora(start_fraction=0.1, final_fraction=0.3, every_steps=6)
    assert build(folders["electra"], method, steps=10)
    with refused("of 9 steps, 1 come before and 3 after .* every 6 steps: train longer"):
        build(folders["electra"], method, steps=9)
    with refused("adalora: of 0 steps"):
        build(folders["electra"], method, steps=0)


def test_a_block_of_oft_must_divide(folders):
    with refused("block_size 24 does not divide the 64 inputs of electra.*query: use a divisor"):
        build(folders["electra"], Oft(block_size=24))
    # 48 divides 96, which feed-forward layers are wide, and not 64.
    with refused("block_size 48 does not divide the 64 inputs of .*layer.0.attention.output.dense"):
        build(folders["electra"], Oft(block_size=48, targets=["output.dense"]))


def test_unknown_targets(folders):
    with pytest.raises(ValidationError, match="targets"):
        Lora(targets="everything")
    with refused("'q_proj' matches no linear or embedding layer"):
        build(folders["electra"], Lora(targets=["q_proj"]))
    with refused("'query' matches no linear or embedding layer"):
        build(folders["opt"], Lora(targets=["query"]), kind="opt")
    with refused("word_embeddings is an embedding, which oft cannot adapt"):
        build(folders["electra"], Oft(block_size=8, targets=["word_embeddings"]))


def test_methods_that_an_architecture_does_not_have(folders):
    with refused("DistilBERT's attention takes no keys and values from outside"):
        build(folders["distilbert"], Prefix(virtual_tokens=4, max_length=16))


def test_a_prefix_and_checkpointing_exclude_each_other(folders):
    with refused("gradient_checkpointing recomputes layers without the prefix: switch it off"):
        build(folders["electra"], Prefix(virtual_tokens=4, max_length=16, gradient_checkpointing=True))


@pytest.mark.parametrize("method", [Prefix, Prompt])
def test_virtual_tokens_take_positions(folders, method):
    assert build(folders["electra"], method(virtual_tokens=14, max_length=50))
    with refused("15 virtual tokens and a max_length of 50 are more than the model's 64 positions"):
        build(folders["electra"], method(virtual_tokens=15, max_length=50))


def test_advice_of_bitsandbytes_is_not_shown_and_its_other_warnings_are():
    """A new process, because it advises when it is imported, on CPUs that could do with its optional kernel."""
    code = """
import logging, sys
sys.modules["kernels"] = None
import electralab.methods
import bitsandbytes
logging.getLogger("bitsandbytes.backends.cpu.ops").warning("Failed to load CPU gemm_4bit_forward from %s", "x")
logging.getLogger("bitsandbytes.backends.cpu.ops").warning("something else")
logging.getLogger("bitsandbytes.autograd._functions").warning("also else")
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert [line for line in found.stderr.splitlines() if "else" in line] == ["something else", "also else"]
    assert "gemm_4bit_forward" not in found.stderr


def test_bitsandbytes_is_missing(folders, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else found(name, *a)
    )
    for load in (lambda: load_base(folders["electra"], 2, Qlora(), 0), lambda: load_causal(folders["opt"], Qlora())):
        with refused("storage nf4 needs bitsandbytes: pip install bitsandbytes"):
            load()
    assert build(folders["electra"], Lora())


def test_no_backend_for_few_bits(folders, monkeypatch):
    import bitsandbytes
    from bitsandbytes import cextension

    if not torch.cuda.is_available():
        with refused("storage int8: this installation of bitsandbytes cannot compute on cuda"):
            load_base(folders["electra"], 2, Qlora(storage="int8"), 0, device="cuda")
    with monkeypatch.context() as patched:
        patched.setattr(bitsandbytes, "supported_torch_devices", {"cuda"})
        with refused("cannot compute on cpu"):
            load_base(folders["electra"], 2, Qlora(), 0)
    with monkeypatch.context() as patched:
        patched.setattr(cextension, "lib", cextension.ErrorHandlerMockBNBNativeLibrary("no library"))
        with refused("cannot compute on cpu"):
            load_base(folders["electra"], 2, Qlora(), 0)


@pytest.fixture(scope="module")
def saved(folders, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    for name, method in METHODS.items():
        save_adapter(build(folders["electra"], method), root / name, folders["electra"], 64)
    return {name: root / name for name in METHODS}


METHODS: dict[str, AdapterMethod] = {
    "lora": Lora(),
    "adalora": AdaLora(initial_rank=6, target_rank=3),
    "prefix": Prefix(virtual_tokens=4, max_length=16),
    "prompt": Prompt(virtual_tokens=4, max_length=16),
}


@pytest.mark.parametrize("name", METHODS)
def test_an_adapter_of_another_model_is_refused(folders, saved, tmp_path, name):
    method = METHODS[name]
    reload_adapter(load_base(folders["electra"], 2, method, 0), saved[name], method)
    for kind in ("bert", "distilbert"):
        with refused("was trained on a model of another architecture or shape than"):
            reload_adapter(load_base(folders[kind], 2, method, 0), saved[name], method)
    with refused("was trained on a model of another architecture or shape than"):
        reload_adapter(load_base(folders["electra"], 3, method, 0), saved[name], method)


def test_an_adapter_of_fewer_or_more_layers_is_refused(tmp_path):
    """PEFT would leave the layers that the file does not know as they were drawn."""
    shape = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    for layers in (1, 2):
        BertModel(BertConfig(**shape, num_hidden_layers=layers)).save_pretrained(tmp_path / str(layers))
    for name in ("lora", "prefix", "prompt"):
        method = METHODS[name]
        for trained, other in ((1, 2), (2, 1)):
            base = tmp_path / str(trained)
            save_adapter(build(base, method), tmp_path / "adapter", base, 64)
            with refused("another architecture or shape"):
                reload_adapter(load_base(tmp_path / str(other), 2, method, 0), tmp_path / "adapter", method)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SafetensorError("No space left on device (os error 28)")],
)
def test_a_full_disk_leaves_the_earlier_adapter(folders, tmp_path, monkeypatch, error):
    model = build(folders["electra"], Lora())
    save_adapter(model, tmp_path / "adapter", folders["electra"], 64)
    before = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}

    def full(folder, **_):
        (Path(folder) / "adapter_model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(model.network, "save_pretrained", full)
    with refused("no space left on the disk while writing .*adapter: free some"):
        save_adapter(model, tmp_path / "adapter", folders["electra"], 64)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}


def test_no_adapter_there(folders, tmp_path):
    with refused(r"holds no adapter: adapter_model\.safetensors is missing"):
        reload_adapter(load_base(folders["electra"], 2, Lora(), 0), tmp_path, Lora())


def test_models_that_are_not_there_or_of_another_kind(folders, tmp_path):
    with refused(r"holds no Hugging Face model: config\.json is missing"):
        load_base(tmp_path, 2, Lora(), 0)
    T5Config().save_pretrained(tmp_path)
    with refused("holds a t5: only electra, bert, distilbert, opt, llama can be adapted or asked"):
        load_base(tmp_path, 2, Lora(), 0)
    with refused("holds a opt, which answers in words and gets no head"):
        load_base(folders["opt"], 2, Lora(), 0)
    with refused("holds a bert, which is no decoder: use opt or llama"):
        load_causal(folders["bert"], Lora())


@pytest.mark.parametrize("method", [Lora(), Qlora()], ids=["fp32", "nf4"])
def test_a_body_without_all_its_weights(folders, tmp_path, method):
    """Hugging Face would draw them and say so in a report that nobody reads."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folders["bert"] / name).read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    key = next(key for key in weights if key.endswith("layer.1.attention.self.query.weight"))
    lost = {name: value for name, value in weights.items() if name != key}
    save_file(lost, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with refused(r"1 weights of the body are missing .*first: .*layer\.1\.attention\.self\.query\.weight"):
        load_base(tmp_path, 2, method, 0)
    config = json.loads((tmp_path / "config.json").read_text())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with refused("weights of the body are missing or of another shape than config.json says"):
        load_base(tmp_path, 2, method, 0)
