"""Dense layers in few bits through bitsandbytes, in a folder that `transformers` opens: nf4 and int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedModel

from electralab.artifacts import LAYERS, Left, Reads, read_manifest
from electralab.config import BnbInt8, Nf4
from electralab.data.models import DECODERS
from electralab.files import read_json, staged_folder, write_json
from electralab.finetune.examples import sample_examples
from electralab.methods.base_models import kept_modules, load_causal, load_finetuned, quiet
from electralab.methods.job import Job, Outcome
from electralab.methods.onnx.graph import Layer, layers_of, write_layers
from electralab.methods.opening import derived, network_of, open_huggingface
from electralab.methods.quantization.onnx_link import COMPARED_ROWS, check_quantized, logit_error
from electralab.model_files import CONFIG, WEIGHTS, copy_tokenizer
from electralab.weight_bytes import part_of, stored_tensors

BITS = {"F32": 32, "F16": 16, "BF16": 16, "I8": 8, "U8": 4}  # 4-bit weights are packed in pairs, as unsigned bytes


def run(job: Job) -> Outcome:
    """Store the dense layers of the link before in few bits, and answer with what was written.

    Raises:
        Unsuitable: bitsandbytes is not installed or cannot compute on this device.
        RunFailed: other layers are in few bits than were to be.
    """
    settings = job.spec.settings
    assert isinstance(settings, Nf4 | BnbInt8) and job.start is not None
    torch.set_num_threads(job.threads)
    source, manifest = job.start.parent, read_manifest(job.start)
    assert manifest.reads is not None
    left = Left(form="low_bit", reads=manifest.reads)
    classes = len(manifest.labels)
    network = load_few_bit(source, manifest.reads, settings, job.device)
    before = open_huggingface(source, manifest, classes, job.device)
    exact = network_of(before.model)
    with staged_folder(job.artifact) as staging:
        with quiet():
            network.save_pretrained(staging)
        # What is not in few bits is computed in fp32, whatever the link before stored or computed in.
        write_json(staging / CONFIG, read_json(staging / CONFIG) | {"dtype": "float32"})
        copy_tokenizer(source, staging, tokenizer_length(network, manifest.reads))
        after = open_huggingface(staging, left, classes, job.device)
        layers = stored_layers(staging / WEIGHTS, exact, network_of(after.model))
        wanted = layers_to_store(exact)
        check_quantized(layers, wanted, job.spec.title)
        write_layers(staging / LAYERS, layers)
    outcome = derived(job, left, [])
    rows = before.encode(sample_examples(job.data.validation, COMPARED_ROWS, 0), job.data.regression)
    outcome.metrics["expected_layers"] = len(wanted)
    outcome.metrics["quantized_layers"] = sum(layer.bits < 16 for layer in layers)
    outcome.metrics["logit_error"] = logit_error(before.model, after.model, rows, job.device)
    return outcome


def load_few_bit(folder: Path, reads: Reads, settings: Nf4 | BnbInt8, device: str) -> PreTrainedModel:
    """A fine-tuned model with its dense layers in few bits."""
    if reads.prompt is not None:
        return load_causal(folder, settings, device)
    return load_finetuned(folder, reads.pooling, settings, device)


def tokenizer_length(network: PreTrainedModel, reads: Reads) -> int:
    """What the tokenizer cuts texts to: a decoder's prompts are cut before they reach it."""
    config: Any = network.config
    return int(config.max_position_embeddings) if config.model_type in DECODERS else reads.max_length


def layers_to_store(network: PreTrainedModel) -> list[str]:
    """Names of the dense layers that few bits are for: all but the head's."""
    kept = tuple(f"{name}." for name in kept_modules(network.config.model_type))
    layers = layers_of(network).items()
    return [name for name, layer in layers if isinstance(layer, nn.Linear) and not f"{name}.".startswith(kept)]


def stored_layers(file: Path, exact: nn.Module, stored: nn.Module) -> list[Layer]:
    """How a file stores every dense layer and embedding of a network.

    Args:
        file: the weights.
        exact: the network before.
        stored: the same as it is opened from the file.
    """
    found = []
    tensors, _ = stored_tensors(file)
    for name, layer in layers_of(exact).items():
        weight = f"{name}.weight"
        if weight not in tensors:  # an output layer that shares the embeddings' weights
            continue
        own = {key: tensor for key, tensor in tensors.items() if _belongs(key, name)}
        error = _relative_error(unpacked(stored.get_submodule(name)), layer.weight.detach())
        size = sum(tensor.bytes for tensor in own.values())
        bits = BITS[tensors[weight].dtype]
        found.append(Layer(name, part_of(weight, 2), bits, layer.weight.numel(), size, error))
    return found


def unpacked(layer: nn.Module) -> Tensor:
    """The weights that a layer stands for, in fp32."""
    weight: Any = layer.weight
    if getattr(weight, "quant_state", None) is not None:
        from bitsandbytes.functional import dequantize_4bit

        rows: Tensor = dequantize_4bit(weight.data, weight.quant_state).float()
        return rows
    scales = getattr(weight, "SCB", None)
    values: Tensor = weight.detach().float()
    return values if scales is None else values * scales[:, None] / 127


def _belongs(key: str, name: str) -> bool:
    """Whether a tensor is a layer's weights or their scales; biases are not."""
    return key.startswith(f"{name}.") and key != f"{name}.bias"


def _relative_error(stored: Tensor, exact: Tensor) -> float:
    return float((stored - exact).norm() / exact.norm().clamp(min=1e-12))
