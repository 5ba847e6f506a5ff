"""Trainable parameters and bytes of every method: by formula, and as two studies published them."""

import csv
from pathlib import Path

import pytest
import torch
from adapter_cells import METHODS, answers, fresh
from method_models import save_model
from transformers import BertConfig, BertModel, ElectraConfig, ElectraForPreTraining, ElectraForSequenceClassification

from electralab.config import Lora, Qlora
from electralab.methods.adapters.adapt import adapt, parameter_counts
from electralab.methods.base_models import load_base
from electralab.methods.sizes import parameter_count, weights_bytes

PUBLISHED = Path(__file__).parents[3] / "reference" / "published_results.csv"

# Counts by formula, on the tiny ELECTRA: 2 layers, hidden 64, embeddings 32, feed-forward 96.
HIDDEN, INNER, LAYERS, EMBEDDING = 64, 96, 2, 32
SQUARE, UP, DOWN = (HIDDEN, HIDDEN), (HIDDEN, INNER), (INNER, HIDDEN)  # inputs, outputs
ATTENTION = [SQUARE] * 3 * LAYERS
BLOCKS = ([SQUARE] * 4 + [UP, DOWN]) * LAYERS
HEAD = HIDDEN * HIDDEN + HIDDEN + 2 * HIDDEN + 2


def lora(rank: int, layers: list[tuple[int, int]]) -> int:
    return sum(rank * (inputs + outputs) for inputs, outputs in layers)


def lokr_parameters(inputs: int, outputs: int, rank: int) -> int:
    """A Kronecker product of a small full matrix and a large one, which has two factors where that is smaller."""

    def split(width: int) -> tuple[int, int]:
        small = max(part for part in range(1, int(width**0.5) + 1) if width % part == 0)
        return small, width // small

    (out_small, out_large), (in_small, in_large) = split(outputs), split(inputs)
    large = rank * (out_large + in_large) if rank < max(out_large, in_large) / 2 else out_large * in_large
    return out_small * in_small + large


COUNTS = {
    "lora": lora(8, ATTENTION),
    "rslora": lora(8, [*BLOCKS, (EMBEDDING, HIDDEN)]),
    "dora": lora(8, BLOCKS) + sum(outputs for _, outputs in BLOCKS),
    "qlora_nf4": lora(8, ATTENTION),
    "adalora": lora(6, ATTENTION) + 6 * len(ATTENTION),
    "prefix": 4 * 2 * LAYERS * HIDDEN,
    "prompt": 4 * EMBEDDING,
    "ia3": LAYERS * (HIDDEN + HIDDEN + INNER),
    "loha": 2 * lora(8, ATTENTION),
    "lokr": sum(lokr_parameters(inputs, outputs, 8) for inputs, outputs in BLOCKS),
    "oft": sum(inputs // 8 * (8 * 7 // 2) for inputs, _ in BLOCKS),
}


@pytest.fixture(scope="module")
def electra(tmp_path_factory) -> Path:
    return save_model("electra", tmp_path_factory.mktemp("electra"))


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_formula(electra, name):
    whole = sum(value.numel() for value in ElectraForSequenceClassification(electra_shape()).parameters())
    assert parameter_counts(fresh("electra", electra, METHODS[name])) == {
        "trainable_parameters": COUNTS[name] + HEAD,
        "head_parameters": HEAD,
        "adapter_parameters": COUNTS[name],
        "base_parameters": whole,
    }


def electra_shape() -> ElectraConfig:
    return ElectraConfig(
        vocab_size=90,
        max_position_embeddings=64,
        num_hidden_layers=2,
        hidden_size=64,
        embedding_size=32,
        intermediate_size=96,
    )


def published(system: str, method: str) -> int:
    with PUBLISHED.open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["system"], row["method"], row["metric"]) == (system, method, "trainable")
        ]
    assert len(rows) == 1
    return int(float(rows[0]["value"]))


def test_electra_small_with_rank_64_has_the_published_parameters(tmp_path):
    """Efficient ELECTRA: 9.2 % of 13,549,314."""
    ElectraForPreTraining(ElectraConfig()).save_pretrained(tmp_path)
    model = adapt(load_base(tmp_path, 2, Lora(), seed=0), Lora(rank=64, alpha=64), steps=1)
    counts = parameter_counts(model)
    head = 256 * 256 + 256 + 2 * 256 + 2
    assert counts["adapter_parameters"] == 12 * 3 * 64 * (256 + 256)
    assert counts["head_parameters"] == head
    assert counts["base_parameters"] == 13_549_314
    assert counts["trainable_parameters"] == published("electra_pytorch_hpml", "LoRA r64 a64 qkv")
    assert round(100 * counts["trainable_parameters"] / counts["base_parameters"], 1) == 9.2
    # Its QLoRA counts the head's first layer as 4-bit weights, two in a byte: it was quantized.
    packed = published("electra_pytorch_hpml", "QLoRA r64 a64 qkv nf4")
    assert counts["trainable_parameters"] - packed == 256 * 256 // 2


def test_tinybert_with_rank_16_has_the_published_parameters(tmp_path):
    """TinyBERT_General_4L_312D: the pooler is pretrained, so only one linear layer is a new head."""
    shape = {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200, "num_attention_heads": 12}
    BertModel(BertConfig(**shape)).save_pretrained(tmp_path)
    for method in (Lora(rank=16, alpha=16), Qlora(rank=16, alpha=16)):
        model = adapt(load_base(tmp_path, 2, method, seed=0), method, steps=1)
        counts = parameter_counts(model)
        assert counts["adapter_parameters"] == 4 * 3 * 16 * (312 + 312)
        assert counts["head_parameters"] == 2 * 312 + 2
        assert counts["trainable_parameters"] == 120_434 == published("tinybert_hpml", "LoRA r16 qkv")
        assert counts["base_parameters"] == 14_350_874
        # 312 is no multiple of the 64 weights that share a scale.
        assert torch.isfinite(answers(model, "bert")).all()


def test_memory_of_few_bit_weights(electra):
    """fp4: half a byte a weight, a 4-byte scale for every 64, and a table of 16 values."""
    plain = load_base(electra, 2, Lora(), seed=0)
    assert weights_bytes(plain) >= 4 * parameter_count(plain)  # and the buffers of positions and token types
    few = load_base(electra, 2, Qlora(storage="fp4", double_quantization=False), seed=0)
    assert parameter_count(few) == parameter_count(plain)
    linear = sum(inputs * outputs for inputs, outputs in BLOCKS) + EMBEDDING * HIDDEN
    saved = weights_bytes(plain) - weights_bytes(few)
    tables = (len(BLOCKS) + 1) * 16 * 4
    assert 0 <= saved - (linear * 4 - linear // 2 - linear // 64 * 4 - tables) <= tables  # layers may share a table
    int8 = load_base(electra, 2, Qlora(storage="int8"), seed=0)
    scales = 4 * (sum(outputs for _, outputs in BLOCKS) + HIDDEN)
    assert weights_bytes(plain) - weights_bytes(int8) == linear * 3 - scales
    adapted = adapt(int8, Qlora(storage="int8"), steps=1)
    assert adapted.weights_bytes == weights_bytes(load_base(electra, 2, adapted.method, seed=0)) - 4 * HEAD
