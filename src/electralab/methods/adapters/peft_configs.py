"""From our methods to PEFT's configurations: one entry per method in `BUILDERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from peft import (
    AdaLoraConfig,
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    PromptTuningInit,
)

from electralab.config import AdaLora, Ia3, Loha, Lora, Oft, Prefix, Prompt, Qlora
from electralab.data.models import DECODERS
from electralab.errors import Unsuitable
from electralab.methods.adapters.targets import IA3_INPUTS, IA3_OUTPUTS


class Placement(NamedTuple):
    """What a method's configuration depends on beside the method."""

    base: Any  # a PreTrainedModel
    targets: list[str]  # full names of the layers to adapt
    head: list[str]  # modules that are trained in full
    steps: int

    @property
    def common(self) -> dict[str, Any]:
        """What all of PEFT's configurations take. Without a task type, PEFT does not wrap a head that is frozen."""
        decoder = self.base.config.model_type in DECODERS
        task = "CAUSAL_LM" if decoder else ("SEQ_CLS" if self.head else None)
        return {"task_type": task, "modules_to_save": self.head or None}


def _lora(method: Lora | Qlora, placement: Placement) -> PeftConfig:
    return LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,  # type: ignore[arg-type]
        lora_dropout=method.adapter_dropout,
        use_rslora=method.kind == "rslora",
        use_dora=method.kind == "dora",
        target_modules=placement.targets,
        **placement.common,
    )


def _adalora(method: AdaLora, placement: Placement) -> PeftConfig:
    steps = placement.steps
    first, last = round(method.start_fraction * steps), round(method.final_fraction * steps)
    if method.target_rank > method.initial_rank:
        raise Unsuitable(f"adalora: target_rank {method.target_rank} is above initial_rank {method.initial_rank}")
    if steps - first - last < method.every_steps:
        raise Unsuitable(
            f"adalora: of {steps} steps, {first} come before and {last} after the time when ranks are reduced, "
            f"every {method.every_steps} steps: train longer, or lower start_fraction, final_fraction or every_steps"
        )
    return AdaLoraConfig(
        init_r=method.initial_rank,
        target_r=method.target_rank,
        lora_alpha=method.alpha,  # type: ignore[arg-type]
        lora_dropout=method.adapter_dropout,
        tinit=first,
        tfinal=last,
        deltaT=method.every_steps,
        total_step=steps,
        target_modules=placement.targets,
        **placement.common,
    )


def _prefix(method: Prefix, placement: Placement) -> PeftConfig:
    return PrefixTuningConfig(num_virtual_tokens=method.virtual_tokens, **placement.common)


def _prompt(method: Prompt, placement: Placement) -> PeftConfig:
    config = placement.base.config
    return PromptTuningConfig(
        num_virtual_tokens=method.virtual_tokens,
        # The embeddings' own width, which in ELECTRA-Small and OPT-350m is not that of the hidden states.
        token_dim=placement.base.get_input_embeddings().weight.shape[1],
        num_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        # Lester et al. 2021, section 3.2: embeddings of words are a better start than random vectors.
        prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,
        **placement.common,
    )


def _ia3(_: Ia3, placement: Placement) -> PeftConfig:
    outputs, inputs = (names[placement.base.config.model_type] for names in (IA3_OUTPUTS, IA3_INPUTS))
    return IA3Config(target_modules=f"{outputs}|{inputs}", feedforward_modules=inputs, **placement.common)


def _loha(method: Loha, placement: Placement) -> PeftConfig:
    build = LoHaConfig if method.kind == "loha" else LoKrConfig
    return build(
        r=method.rank,
        alpha=method.alpha,  # type: ignore[arg-type]
        rank_dropout=method.rank_dropout,
        module_dropout=method.module_dropout,
        target_modules=placement.targets,
        **placement.common,
    )


def _oft(method: Oft, placement: Placement) -> PeftConfig:
    return OFTConfig(
        r=0,  # follows from the size of blocks
        oft_block_size=method.block_size,
        module_dropout=method.module_dropout,
        target_modules=placement.targets,
        **placement.common,
    )


BUILDERS: dict[str, Callable[[Any, Placement], PeftConfig]] = {
    "lora": _lora,
    "rslora": _lora,
    "dora": _lora,
    "qlora": _lora,
    "adalora": _adalora,
    "prefix": _prefix,
    "prompt": _prompt,
    "ia3": _ia3,
    "loha": _loha,
    "lokr": _loha,
    "oft": _oft,
}
