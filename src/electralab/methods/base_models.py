"""The model under an adapter, and every decoder: a Hugging Face folder, in fp32 or with its layers in few bits."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BitsAndBytesConfig,
)
from transformers import logging as transformers_logging
from transformers.modeling_utils import PreTrainedModel

from electralab.config import BnbInt8, InContext, Nf4, Qlora, Training
from electralab.data.models import DECODERS
from electralab.errors import Unsuitable, UserError
from electralab.finetune.decoder.model import left_padded_positions
from electralab.speed.bf16 import has_bf16

# Methods that may store layers in few bits.
FewBit = Qlora | InContext | Nf4 | BnbInt8
# The modules of a classification head, and what has no weights in a model that was pretrained without it.
HEADS = {"electra": ("classifier",), "bert": ("classifier",), "distilbert": ("pre_classifier", "classifier")}
POOLERS = {"bert": "bert.pooler"}
# Options of dropout in `config.json`: hidden states, attention weights, the classifier's input.
DROPOUT = {
    "electra": ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    "distilbert": ("dropout", "attention_dropout", "seq_classif_dropout"),
    "opt": ("dropout", "attention_dropout"),
    "llama": ("attention_dropout",),
}
INT8_THRESHOLD = 6.0  # outliers above it stay in 16 bits (LLM.int8(), Dettmers et al. 2022, section 3.2)


def load_base(folder: Path, outputs: int, method: Training, seed: int, device: str = "cpu") -> PreTrainedModel:
    """An encoder with a new head, of which only the head has `requires_grad`.

    The head depends on the seed alone, whatever the method; torch's global generator is left behind its last draw.

    Args:
        folder: Hugging Face directory of an ELECTRA, BERT or DistilBERT, with or without a head of its own.
        outputs: classes, or 1 for a regression.
        method: dropout; for `Qlora` also the storage of the linear layers and whether the head is caught in it.
        seed: draws the head.
        device: where few-bit layers are stored; a model in fp32 is loaded there too.

    Raises:
        UserError: no such model, or weights of the body are missing.
        Unsuitable: a model of another kind, or few-bit storage is not possible here.
    """
    config = _config(folder, method, num_labels=outputs)
    if config.model_type not in HEADS:
        raise Unsuitable(f"{folder} holds a {config.model_type}, which answers in words and gets no head")
    head = list(HEADS[config.model_type])
    model, missing = _load(AutoModelForSequenceClassification, folder, config, method, head, device)
    pooler = POOLERS.get(config.model_type, "")
    if any(key.startswith(f"{pooler}.") for key in missing):
        # Drawn like the head, so it must be trained like the head, and not be stored in few bits.
        head.append(pooler)
        model, missing = _load(AutoModelForSequenceClassification, folder, config, method, head, device)
    _check_body(folder, missing, head)

    torch.manual_seed(seed)
    for name in head:
        _draw(model.get_submodule(name), config.initializer_range)
    model.requires_grad_(False)
    if isinstance(method, Qlora) and method.recipe == "as_published":
        _store_head(model, head, method, device)
    else:
        for name in head:
            model.get_submodule(name).requires_grad_()
    return model


def load_causal(folder: Path, method: Training | FewBit, device: str = "cpu") -> PreTrainedModel:
    """A decoder with its own output layer, which stays in full precision under `Qlora`, whatever its recipe.

    It counts positions from the first real token, so that padding on the left changes no answer.

    Args:
        folder: Hugging Face directory of an OPT or Llama.
        method: dropout (Llama has none but of attention weights), and storage for the few-bit methods.
        device: where it is loaded.

    Raises:
        UserError: no such model, or weights are missing.
        Unsuitable: a model of another kind, or few-bit storage is not possible here.
    """
    config = _config(folder, method)
    if config.model_type not in DECODERS:
        raise Unsuitable(f"{folder} holds a {config.model_type}, which is no decoder: use {' or '.join(DECODERS)}")
    model, missing = _load(AutoModelForCausalLM, folder, config, method, ["lm_head"], device)
    _check_body(folder, missing, [])
    model.register_forward_pre_hook(count_positions, with_kwargs=True)
    return model


def load_finetuned(folder: Path, pooling: str, method: InContext | Nf4 | BnbInt8, device: str) -> PreTrainedModel:
    """An encoder with the head that it was trained with, which stays in full precision whatever the storage.

    Args:
        folder: Hugging Face directory of an ELECTRA, BERT or DistilBERT; few-bit layers in it stay as they are.
        pooling: `sequence` for the head of the architecture, or that of a classifier of every token.
        method: storage.
        device: where it is loaded.

    Raises:
        UserError: weights are missing.
        Unsuitable: few-bit storage is not possible here.
    """
    config = AutoConfig.from_pretrained(folder)
    head = AutoModelForSequenceClassification if pooling == "sequence" else AutoModelForTokenClassification
    model, missing = _load(head, folder, config, method, kept_modules(config.model_type), device)
    _check_body(folder, missing, [])
    return model


def kept_modules(kind: str) -> list[str]:
    """Modules of an architecture that few-bit links leave in full precision: its head, or its output layer."""
    if kind in DECODERS:
        return ["lm_head"]
    return [*HEADS[kind], *([POOLERS[kind]] if kind in POOLERS else [])]


def count_positions(_: nn.Module, args: tuple[Any, ...], inputs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """A hook before a decoder's forward pass: positions where none are given.

    PEFT 0.21 drops them, and Llama then counts the padding behind a learnt prefix.

    The mask covers a prefix or prompt, too; keys and values of a prefix stand in front of what is read.
    """
    mask = inputs.get("attention_mask")
    if mask is not None and inputs.get("position_ids") is None:
        ids = inputs.get("input_ids")
        read = args[0] if args else (inputs["inputs_embeds"] if ids is None else ids)
        inputs["position_ids"] = left_padded_positions(mask)[:, -read.shape[1] :]
    return args, inputs


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars, the report of a head that is new on purpose, and advice of transformers and PEFT.

    The advice is about sharded training, tied weights (`merging.py` unties them) and names that will change.
    """
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _config(folder: Path, method: Training | FewBit, **options: Any) -> Any:
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no Hugging Face model: config.json is missing")
    config = AutoConfig.from_pretrained(folder, **options)
    if config.model_type not in DROPOUT:
        raise Unsuitable(f"{folder} holds a {config.model_type}: only {', '.join(DROPOUT)} can be adapted or asked")
    for name in DROPOUT[config.model_type]:
        setattr(config, name, method.dropout if isinstance(method, Training) else 0.0)
    return config


def _load(
    auto_class: Any, folder: Path, config: Any, method: Training | FewBit, keep: list[str], device: str
) -> tuple[PreTrainedModel, set[str]]:
    """The model in 32 or 16 bits, or with every linear layer but `keep` in few; and which weights the folder lacks."""
    quantization = None
    if isinstance(method, FewBit) and method.storage not in ("fp32", "bf16"):
        quantization = _quantization(method, keep, device)
    stored = getattr(config, "quantization_config", None)  # of a folder that a few-bit link left
    if stored is not None:
        _check_bitsandbytes("nf4" if stored.get("load_in_4bit") else "int8", device)
    few_bits = quantization is not None or stored is not None
    placed = {"device_map": _placement(method, device)} if few_bits or device.startswith("cuda") else {}
    with quiet():
        model, loading = auto_class.from_pretrained(
            folder,
            config=config,
            dtype=torch.bfloat16 if getattr(method, "storage", "") == "bf16" else torch.float32,
            quantization_config=quantization,
            ignore_mismatched_sizes=True,  # a head for another number of classes is replaced anyway
            local_files_only=True,
            output_loading_info=True,
            **placed,
        )
    _keep_unpacked(model)
    return model, set(loading["missing_keys"]) | {str(key[0]) for key in loading["mismatched_keys"]}


def _placement(method: Training | FewBit, device: str) -> Any:
    """On one device; a decoder that is only asked is spread over all GPUs of the job, if there are several."""
    spread = isinstance(method, InContext) and device == "cuda" and torch.cuda.device_count() > 1
    return "auto" if spread else {"": device}


def _check_body(folder: Path, missing: set[str], head: list[str]) -> None:
    lost = sorted(key for key in missing if not any(key.startswith(f"{name}.") for name in head))
    if lost:
        raise UserError(
            f"{folder}: {len(lost)} weights of the body are missing or of another shape than config.json says "
            f"(first: {lost[0]}): fetch or convert the model again"
        )


def _draw(module: nn.Module, scale: float) -> None:
    """As Hugging Face draws a head, but on the CPU's generator and also where the folder has a head of its own."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            with torch.no_grad():
                layer.weight.copy_(torch.empty(layer.weight.shape).normal_(std=scale))
                layer.bias.zero_()


def _quantization(method: FewBit, keep: list[str], device: str) -> BitsAndBytesConfig:
    _check_bitsandbytes(method.storage, device)
    options: dict[str, Any] = {"load_in_8bit": True, "llm_int8_threshold": INT8_THRESHOLD}
    if method.storage != "int8":
        options = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": method.storage,
            "bnb_4bit_use_double_quant": method.double_quantization,
            "bnb_4bit_compute_dtype": _compute_dtype(device),
        }
    return BitsAndBytesConfig(**options, llm_int8_skip_modules=keep)  # type: ignore[no-untyped-call]


def _compute_dtype(device: str) -> torch.dtype:
    """bf16 on a GPU that has it. A CPU computes in fp32, because emulated bf16 is slower and less exact."""
    return torch.bfloat16 if has_bf16(device) else torch.float32


def _check_bitsandbytes(storage: str, device: str) -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise Unsuitable(f"storage {storage} needs bitsandbytes: pip install bitsandbytes")
    import bitsandbytes
    from bitsandbytes.cextension import ErrorHandlerMockBNBNativeLibrary, lib

    kind = torch.device(device).type
    supported = getattr(bitsandbytes, "supported_torch_devices", {"cpu", "cuda"})
    usable = kind in supported and (kind != "cuda" or torch.cuda.is_available())
    if not usable or isinstance(lib, ErrorHandlerMockBNBNativeLibrary):
        raise Unsuitable(
            f"storage {storage}: this installation of bitsandbytes cannot compute on {device}: use another "
            "device, or a bitsandbytes that is built for it"
        )


def _store_head(model: PreTrainedModel, head: list[str], method: Qlora, device: str) -> None:
    """Efficient ELECTRA's mistake: without a list of modules to skip, the untrained head is stored in few bits too.

    No gradient reaches few-bit weights, so the head stays as it was drawn.
    """
    for name in head:
        for child, layer in list(model.get_submodule(name).named_modules(prefix=name)):
            if isinstance(layer, nn.Linear):
                model.set_submodule(child, _few_bit(layer, method, device))


def _few_bit(layer: nn.Linear, method: Qlora, device: str) -> nn.Module:
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    stored: nn.Module
    if method.storage == "int8":
        stored = Linear8bitLt(layer.in_features, layer.out_features, has_fp16_weights=False, threshold=INT8_THRESHOLD)
    else:
        stored = Linear4bit(  # type: ignore[no-untyped-call]
            layer.in_features,
            layer.out_features,
            compute_dtype=_compute_dtype(device),
            compress_statistics=method.double_quantization,
            quant_type=method.storage,
        )
    stored.load_state_dict(layer.state_dict())
    _keep_unpacked(stored)
    return stored.to(device).requires_grad_(False)


def _keep_unpacked(model: nn.Module) -> None:
    """Forbid bitsandbytes 0.50 to repack 4-bit weights for bf16 when a CPU that has it evaluates.

    That would compute in bf16, and it fails on layers whose width is no multiple of 64, such as TinyBERT's.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast(Any, module).support_avx512bf16_for_cpu = False
