"""Adapters folded into the weights that they adapt, where that is exact."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedModel

from electralab.config import Qlora
from electralab.finetune.examples import EncodedExamples
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.adapters.adapt import ADAPTER, AdaptedModel
from electralab.methods.base_models import quiet
from electralab.speed.onednn import use_onednn


def merged(model: AdaptedModel) -> PreTrainedModel | None:
    """The network with the adapter folded into its weights, in fp32 and for inference; None where that is not exact.

    The adapted model stays as it is. Few-bit weights are unpacked first, because packing the sum would round it.
    """
    if model.method.cannot_merge:
        return None
    network: Any = copy.deepcopy(model.network).eval()
    with quiet():
        if isinstance(model.method, Qlora):
            network = _unpacked(network)
        return _folded(network)


class Merged(TrainedModel):
    """A merged network, called as the adapted one is."""

    def __init__(self, adapted: AdaptedModel, network: nn.Module) -> None:
        super().__init__()
        self.adapted = copy.copy(adapted)
        self.adapted._modules = {"network": network}

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits [B, outputs]."""
        logits: Tensor = self.adapted(input_ids, attention_mask, token_type_ids)
        return logits


def largest_difference(one: TrainedModel, other: TrainedModel, examples: EncodedExamples, device: str) -> float:
    """Largest difference of two models' logits on the first rows."""
    input_ids, attention_mask, token_type_ids, _ = examples.batch(np.arange(min(32, len(examples)))).to(device)
    with torch.inference_mode():
        first, second = (model.eval()(input_ids, attention_mask, token_type_ids) for model in (one, other))
    return float((first - second).abs().max())


def _folded(network: Any) -> PreTrainedModel:
    """Consumes `network`."""
    _untie(network)
    base = network.base_model.model
    for name, module in list(base.named_modules()):
        # Most of PEFT's methods fail to merge beside a head of several layers, such as ELECTRA's.
        if isinstance(module, ModulesToSaveWrapper):
            base.set_submodule(name, module.modules_to_save[ADAPTER])
    whole: PreTrainedModel = network.merge_and_unload().eval().requires_grad_(False)
    use_onednn(whole)  # layers that were unpacked are new ones
    return whole


def _unpacked(network: Any) -> PeftModel:
    """The same adapter on the same model with its few-bit layers unpacked to fp32; consumes `network`."""
    config, state = network.peft_config[ADAPTER], get_peft_model_state_dict(network)
    plain: PeftModel = get_peft_model(network.unload().dequantize(torch.float32), config)
    set_peft_model_state_dict(plain, state)
    return plain.eval()


def _untie(network: Any) -> None:
    """Give an output layer weights of its own if it shares them with embeddings and one of the two is adapted."""
    base = network.base_model.model
    pair = base.get_input_embeddings(), base.get_output_embeddings()
    if all(hasattr(layer, "weight") for layer in pair) and any(hasattr(layer, "base_layer") for layer in pair):
        inner = getattr(pair[1], "base_layer", pair[1])
        inner.weight = nn.Parameter(inner.weight.detach().clone())
        base.config.tie_word_embeddings = False
