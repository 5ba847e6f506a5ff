"""The cells of methods and architectures that tests of adapters train: what they are, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from method_models import DECODERS, ENCODERS, batch, label_words
from torch.nn import functional as F

from electralab.config import AdaLora, AdapterMethod, Ia3, Loha, Lora, Oft, Prefix, Prompt, Qlora
from electralab.methods.adapters.adapt import AdaptedModel, adapt
from electralab.methods.base_models import load_base, load_causal

STEPS = 8
METHODS: dict[str, AdapterMethod] = {
    "lora": Lora(),
    "lora_checkpointing": Lora(recipe="as_published"),
    "rslora": Lora(kind="rslora", targets="all-linear"),
    "dora": Lora(kind="dora", targets="attention+ffn"),
    "qlora_nf4": Qlora(),
    "qlora_fp4": Qlora(storage="fp4", double_quantization=False, targets="all-linear"),
    "qlora_int8": Qlora(storage="int8"),
    "qlora_as_published": Qlora(recipe="as_published"),
    "adalora": AdaLora(initial_rank=6, target_rank=3, every_steps=1),
    "prefix": Prefix(virtual_tokens=4, max_length=16),
    "prompt": Prompt(virtual_tokens=4, max_length=16),
    "ia3": Ia3(),
    "loha": Loha(),
    "lokr": Loha(kind="lokr", targets="attention+ffn"),
    "oft": Oft(block_size=8, targets="attention+ffn"),
}
# Embeddings and output layer are one matrix in a decoder: the published study of OPT adapts both.
TIED = Lora(targets=["embed_tokens", "lm_head", "q_proj", "v_proj"])
NOT_SUPPORTED = {("distilbert", "prefix")}
NOT_MERGEABLE = {"prefix", "prompt", "qlora_int8"}
CELLS = [
    *((kind, name) for kind in (*ENCODERS, *DECODERS) for name in METHODS if (kind, name) not in NOT_SUPPORTED),
    *((kind, "tied") for kind in DECODERS),
]


@dataclass
class Trained:
    """What one cell left behind."""

    model: AdaptedModel
    first_loss: float
    last_loss: float
    moved: set[str]  # names of parameters that training changed
    logits: torch.Tensor
    folder: Path


def method_of(name: str) -> AdapterMethod:
    return TIED if name == "tied" else METHODS[name]


def fresh(kind: str, folder: Path, method: AdapterMethod, steps: int = STEPS, seed: int = 0) -> AdaptedModel:
    if kind in DECODERS:
        base = load_causal(folder, method)
        torch.manual_seed(seed)
        return adapt(base, method, steps, label_words)
    return adapt(load_base(folder, 2, method, seed), method, steps)


def answers(model: torch.nn.Module, kind: str) -> torch.Tensor:
    input_ids, attention_mask, _ = batch(kind)
    with torch.inference_mode():
        return model.eval()(input_ids, attention_mask)


def loss_of(model: AdaptedModel, kind: str) -> torch.Tensor:
    input_ids, attention_mask, labels = batch(kind)
    return F.cross_entropy(model(input_ids, attention_mask), labels)


def train(model: AdaptedModel, kind: str, steps: int = STEPS, rate: float = 1e-2) -> None:
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=rate)
    model.train()
    for step in range(1, steps + 1):
        loss = loss_of(model, kind)
        penalty = model.penalty()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        model.after_update(step)
        optimizer.zero_grad()


def snapshot(model: AdaptedModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.network.named_parameters()}
