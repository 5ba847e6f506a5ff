"""A model with an adapter, through PEFT: how it is made, called, counted, saved and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from peft import (
    AdaLoraConfig,
    AdaLoraModel,
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
)
from safetensors.torch import load_file
from torch import Tensor
from transformers.modeling_utils import PreTrainedModel

from electralab.config import AdaLora, AdapterMethod, Ia3, Qlora
from electralab.data.models import DECODERS
from electralab.errors import RunFailed, UserError
from electralab.files import read_json, staged_folder, write_json
from electralab.finetune.trained_model import TrainedModel
from electralab.methods.adapters.fit import PROMPTS, check_fit
from electralab.methods.adapters.peft_configs import BUILDERS, Placement
from electralab.methods.adapters.targets import target_modules
from electralab.methods.base_models import HEADS, POOLERS, quiet
from electralab.methods.sizes import parameter_count, weights_bytes
from electralab.model_files import ADAPTER_WEIGHTS, copy_tokenizer
from electralab.speed.dropout import use_fast_dropout
from electralab.speed.onednn import use_onednn

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "default"  # PEFT's name of the only adapter
# Outputs of the network, input ids [B, S] and attention mask [B, S] -> logits [B, outputs].
Read = Callable[[Any, Tensor, Tensor | None], Tensor]


class Size(NamedTuple):
    """The model under an adapter."""

    parameters: int  # the head included, packed weights counted as what they stand for
    weights_bytes: int  # of what is frozen, as stored in memory


class AdaptedModel(TrainedModel):
    """A frozen model with an adapter and, in an encoder, a head that is trained."""

    def __init__(self, network: PeftModel, method: AdapterMethod, read: Read, size: Size) -> None:
        super().__init__()
        self.network = network
        self.method = method
        self.read = read
        self.base_parameters, self.weights_bytes = size
        config: Any = network.get_base_model().config
        self._reads_types = config.model_type in ("electra", "bert")
        decoder = config.model_type in DECODERS
        # A cache of keys and values would be kept for nothing; recomputing activations does not go with one.
        uncached = decoder or (self._reads_types and method.gradient_checkpointing)
        self._options: dict[str, Any] = {"use_cache": False} if uncached else {}
        if decoder:
            self._options["logits_to_keep"] = 1  # the answer comes behind the last token, and vocabularies are large

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """What `read` makes of the network's output.

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S] bool, True for real tokens; None = no padding.
            token_type_ids: [B, S] int64; None = one segment. Only ELECTRA and BERT have types.
        """
        if attention_mask is None and isinstance(self.method, PROMPTS):
            attention_mask = torch.ones_like(input_ids)
        inputs = {"input_ids": input_ids, "attention_mask": None if attention_mask is None else attention_mask.long()}
        if self._reads_types and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        return self.read(self.network(**inputs, **self._options), input_ids, attention_mask)

    def penalty(self) -> Tensor | None:
        """AdaLoRA: how far the singular vectors are from orthogonal (Zhang et al. 2023, equation 4)."""
        if not isinstance(self.method, AdaLora):
            return None
        distances = []
        for name, parameter in self.network.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                gram = parameter @ parameter.T if ".lora_A." in name else parameter.T @ parameter
                distances.append(torch.linalg.norm(gram - torch.eye(len(gram), device=gram.device)))
        weight: float = cast(AdaLoraConfig, self.network.peft_config[ADAPTER]).orth_reg_weight
        return weight * torch.stack(distances).mean()

    def after_update(self, step: int) -> None:
        """Check after the first update that gradients arrive; AdaLoRA moves ranks by its gradients.

        Raises:
            RunFailed: a parameter that is to be trained has no gradient.
        """
        if step == 1:
            check_gradients(self)
        if isinstance(self.method, AdaLora):
            cast(AdaLoraModel, self.network.base_model).update_and_allocate(step)  # type: ignore[no-untyped-call]


def classification_logits(outputs: Any, _input_ids: Tensor, _attention_mask: Tensor | None) -> Tensor:
    """Logits [B, outputs] of a model with a classification head."""
    logits: Tensor = outputs.logits
    return logits


def adapt(base: PreTrainedModel, method: AdapterMethod, steps: int, read: Read = classification_logits) -> AdaptedModel:
    """Put an adapter into a model, in place. It is drawn from torch's global generator.

    Args:
        base: from `load_base` or `load_causal`.
        method: the adapter.
        steps: optimizer steps that are to come, for AdaLoRA's schedule.
        read: turns outputs, input ids and attention mask into logits [B, outputs]; of a decoder it gets the logits of
            the last position alone, [B, 1, vocabulary].

    Raises:
        Unsuitable: the method does not fit the model or the number of steps.
    """
    head = _trained_head(base)
    targets = _targets(base, method, head)
    check_fit(base, method, targets)
    size = _size(base, head)
    if method.gradient_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    head_parameters = sum(parameter_count(base.get_submodule(name)) for name in head)
    with quiet():
        network = get_peft_model(base, BUILDERS[method.kind](method, Placement(base, targets, head, steps)))
    use_onednn(network)
    use_fast_dropout(network)
    if isinstance(method, Qlora):
        from electralab.methods.adapters.four_bit import use_onednn_in_4_bits  # imports bitsandbytes

        use_onednn_in_4_bits(network)
    model = AdaptedModel(network, method, read, size)
    counts = parameter_counts(model)
    assert counts["head_parameters"] == head_parameters, "PEFT froze a part of the head"
    assert counts["adapter_parameters"], "PEFT froze the adapter"
    return model


def check_gradients(model: AdaptedModel) -> None:
    """Refuse a model of which a part that is to be trained got no gradient in the last backward pass.

    Layers that `module_dropout` skipped have none; of such an adapter only the head is checked.

    Raises:
        RunFailed: names the parameter.
    """
    some_skipped = getattr(model.method, "module_dropout", 0) > 0
    for name, parameter in model.network.named_parameters():
        if parameter.requires_grad and parameter.grad is None and not (some_skipped and not _in_head(name)):
            raise RunFailed(f"{model.method.kind}: {name} is to be trained, but no gradient reaches it")


def parameter_counts(model: AdaptedModel) -> dict[str, int]:
    """`trainable_parameters`, which are `head_parameters` and `adapter_parameters`; `base_parameters` with the head.

    4-bit weights count as what they stand for.
    """
    trained = {name: value.numel() for name, value in model.network.named_parameters() if value.requires_grad}
    total = sum(trained.values())
    head = sum(size for name, size in trained.items() if _in_head(name))
    return {
        "trainable_parameters": total,
        "head_parameters": head,
        "adapter_parameters": total - head,
        "base_parameters": model.base_parameters,
    }


def save_adapter(model: AdaptedModel, folder: Path, base: Path, max_length: int) -> int:
    """Write a PEFT directory, the head and the tokenizer in it, in place of an earlier one.

    Args:
        model: the trained model.
        folder: where to.
        base: folder of the frozen model, which the adapter names by its absolute path.
        max_length: longest text in tokens.

    Returns:
        The bytes of the adapter's weights.

    Raises:
        UserError: the disk is full; an earlier adapter stays.
    """
    with staged_folder(folder) as staging:
        # A frozen embedding that LoRA touches is the base model's, not the adapter's.
        with quiet():
            model.network.save_pretrained(str(staging), save_embedding_layers=False)
        (staging / "README.md").unlink()  # PEFT's card: a form with nothing filled in
        config = read_json(staging / ADAPTER_CONFIG)
        write_json(staging / ADAPTER_CONFIG, config | {"base_model_name_or_path": str(base.resolve())})
        copy_tokenizer(base, staging, max_length)
    return (folder / ADAPTER_WEIGHTS).stat().st_size


def reload_adapter(
    base: PreTrainedModel, folder: Path, method: AdapterMethod, read: Read = classification_logits
) -> AdaptedModel:
    """A saved adapter on its base model, to be used and not trained.

    Args:
        base: from `load_base` or `load_causal`, as the adapter was trained on. The head is replaced by the saved one;
            that of `as_published` QLoRA was never trained and comes from the seed.
        folder: what `save_adapter` wrote.
        method: how it was trained.
        read: as in `adapt`.

    Raises:
        UserError: no adapter there, or one that was trained on a model of another architecture or shape.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise UserError(f"{folder} holds no adapter: {ADAPTER_WEIGHTS} is missing")
    head = _trained_head(base)
    size, targets = _size(base, head), _targets(base, method, head)
    mismatch = UserError(
        f"{folder} was trained on a model of another architecture or shape than {base.name_or_path}: "
        "load the model that it was trained on"
    )
    try:
        _check_prompt_shape(base, PeftConfig.from_pretrained(str(folder)))
        # Reloading a pruned AdaLoRA for inference fails in PEFT 0.21: it looks for an adapter that is trained.
        with quiet():
            network = PeftModel.from_pretrained(base, str(folder), is_trainable=isinstance(method, AdaLora))
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise mismatch from error
    # PEFT passes over layers that the file does not know, and leaves them as they were drawn.
    loaded = get_peft_model_state_dict(network, save_embedding_layers=False)
    file = load_file(folder / ADAPTER_WEIGHTS)
    if {key: value.shape for key, value in loaded.items()} != {key: value.shape for key, value in file.items()}:
        raise mismatch
    if targets and set(cast(Any, network.base_model).targeted_module_names) != set(targets):
        raise mismatch
    network.requires_grad_(False)
    return AdaptedModel(network.eval(), method, read, size)


def _targets(base: PreTrainedModel, method: AdapterMethod, head: Sequence[str]) -> list[str]:
    """Full names of the layers that a method adapts; none where it names none."""
    return [] if isinstance(method, (*PROMPTS, Ia3)) else target_modules(base, method.targets, head)


def _size(base: PreTrainedModel, head: Sequence[str]) -> Size:
    trained = sum(parameter.nbytes for name in head for parameter in base.get_submodule(name).parameters())
    return Size(parameter_count(base), weights_bytes(base) - trained)


def _trained_head(base: PreTrainedModel) -> list[str]:
    """The modules that `load_base` made trainable; a decoder answers with its own frozen output layer."""
    kind = base.config.model_type
    candidates = [*HEADS.get(kind, ()), *([POOLERS[kind]] if kind in POOLERS else [])]
    return [name for name in candidates if next(base.get_submodule(name).parameters()).requires_grad]


def _in_head(name: str) -> bool:
    return ".modules_to_save." in name


def _check_prompt_shape(base: Any, config: Any) -> None:
    """PEFT builds prompts to the shape in their file, and fails only when they meet the model."""
    if config.is_prompt_learning:
        shape = base.config
        heads = getattr(shape, "num_key_value_heads", None) or shape.num_attention_heads
        keys = shape.hidden_size // shape.num_attention_heads * heads
        width = keys if config.peft_type == "PREFIX_TUNING" else base.get_input_embeddings().weight.shape[1]
        if (config.num_layers, config.token_dim) != (shape.num_hidden_layers, width):
            raise ValueError("another shape")
