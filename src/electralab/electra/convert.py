"""Exact conversion to and from the Hugging Face ELECTRA format (from BERT's too), without importing transformers.

`discriminator/` opens with `AutoModel` (the backbone) or `ElectraForPreTraining`, `generator/` with
`AutoModelForMaskedLM`. Only names differ, and the query, key and value matrices, which are one matrix here.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from electralab.electra.architectures import ARCHITECTURES, as_electra, unsupported, with_pytorch_names
from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.electra.pair import ElectraPair, GeneratorHead, Tied
from electralab.errors import UserError
from electralab.model_files import CONFIG, OLDER_WEIGHTS, WEIGHTS

DISCRIMINATOR = "ElectraForPreTraining"
GENERATOR = "ElectraForMaskedLM"

# Names of our modules and of theirs.
EMBEDDINGS = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "embeddings_project": "embeddings_project",
}
LAYER = {
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
QUERY_KEY_VALUE = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))
DISCRIMINATOR_HEAD = {
    "dense": "discriminator_predictions.dense",
    "prediction": "discriminator_predictions.dense_prediction",
}
GENERATOR_HEAD = {
    "dense": "generator_predictions.dense",
    "norm": "generator_predictions.LayerNorm",
    "": "generator_lm_head",  # our head's own bias
}
# The head of masked language modelling by architecture; every output matrix is the word table.
LANGUAGE_HEADS = {
    "electra": GENERATOR_HEAD,
    "bert": {
        "dense": "cls.predictions.transform.dense",
        "norm": "cls.predictions.transform.LayerNorm",
        "": "cls.predictions",
    },
    "distilbert": {"dense": "vocab_transform", "norm": "vocab_layer_norm", "": "vocab_projector"},
}

# Our config field -> theirs.
FIELDS = {
    "vocab_size": "vocab_size",
    "embedding_size": "embedding_size",
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_eps": "layer_norm_eps",
    "pad_token_id": "pad_token_id",
    "initializer_range": "initializer_range",
}
FREE = (
    "hidden_dropout",
    "attention_dropout",
    "pad_token_id",
    "initializer_range",
)  # no weight has another meaning by them


def huggingface_config(config: ElectraConfig, architecture: str) -> dict[str, Any]:
    """`config.json` of a network."""
    return {
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
        "architectures": [architecture],
        "model_type": "electra",
        "hidden_act": "gelu",
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def discriminator_state(pair: ElectraPair) -> dict[str, Tensor]:
    """The discriminator as an `ElectraForPreTraining` state dict."""
    return encoder_state(pair.discriminator) | _renamed(pair.discriminator_head, DISCRIMINATOR_HEAD)


def generator_state(pair: ElectraPair) -> dict[str, Tensor]:
    """The generator as an `ElectraForMaskedLM` state dict, whose output matrix is tied to the word table."""
    return encoder_state(pair.generator) | _renamed(pair.generator_head, GENERATOR_HEAD)


def encoder_state(encoder: Encoder) -> dict[str, Tensor]:
    """An encoder's weights under Hugging Face names."""
    state: dict[str, Tensor] = {}
    for name, tensor in encoder.state_dict().items():
        module, kind = name.rsplit(".", 1)
        if not module.startswith("layers."):
            state[f"electra.{EMBEDDINGS[module]}.{kind}"] = tensor
            continue
        _, index, part = module.split(".")
        layer = f"electra.encoder.layer.{index}"
        if part == "qkv":
            state |= {f"{layer}.{name}.{kind}": third for name, third in zip(QUERY_KEY_VALUE, tensor.chunk(3))}
        else:
            state[f"{layer}.{LAYER[part]}.{kind}"] = tensor
    return state


def save_discriminator(directory: Path, pair: ElectraPair) -> None:
    """Write `config.json` and `model.safetensors` of the discriminator with its RTD head."""
    write_model(directory, huggingface_config(pair.discriminator.config, DISCRIMINATOR), discriminator_state(pair))


def save_generator(directory: Path, pair: ElectraPair) -> None:
    """Write `config.json` and `model.safetensors` of the generator with its MLM head."""
    write_model(directory, huggingface_config(pair.generator.config, GENERATOR), generator_state(pair))


def write_model(directory: Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write `config.json` and `model.safetensors`; what is to be whole or not at all goes into a `staged_folder`.

    Raises:
        UserError: the disk does not take them.
    """
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
    directory.mkdir(parents=True, exist_ok=True)
    try:
        save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
        (directory / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {directory / WEIGHTS}: {error}") from error


def load_encoder(directory: Path) -> tuple[Encoder, ElectraConfig]:
    """Load the backbone of an ELECTRA, BERT or DistilBERT model directory, with or without heads.

    Raises:
        UserError: a file is missing or damaged, or the model is none of the three.
    """
    config, state = _read(directory)
    encoder = Encoder(config)
    _fill(encoder, _encoder_weights(encoder, state, directory))
    return encoder, config


def load_pair(discriminator: Path, generator: Path, tied: Tied = "all") -> ElectraPair:
    """Load both directories. Where they are tied, the discriminator's embeddings are used.

    Raises:
        UserError: as `load_encoder`; or a head is missing.
    """
    discriminator_config, discriminator_weights = _read(discriminator)
    generator_config, generator_weights = _read(generator)
    pair = ElectraPair(discriminator_config, generator_config, tied)
    _fill_network(pair.generator, pair.generator_head, GENERATOR_HEAD, generator_weights, generator)
    _fill_network(pair.discriminator, pair.discriminator_head, DISCRIMINATOR_HEAD, discriminator_weights, discriminator)
    return pair


def load_language_head(directory: Path) -> GeneratorHead | None:
    """The head of masked language modelling of an ELECTRA generator, a BERT or a DistilBERT; None where there is none.

    Raises:
        UserError: as `load_encoder`.
    """
    config, _ = _read(directory)
    kind = json.loads((Path(directory) / CONFIG).read_text(encoding="utf-8"))["model_type"]
    state = with_pytorch_names(_read_weights(Path(directory)))
    head, names = GeneratorHead(config), LANGUAGE_HEADS[kind]
    if any(_their_name(name, names) not in state for name in head.state_dict()):
        return None
    _fill(head, _head_weights(head, names, state, directory))
    return head


def has_detection_head(directory: Path) -> bool:
    """Whether a model directory holds the discriminator of an ELECTRA with its head.

    Raises:
        UserError: as `load_encoder`.
    """
    _, state = _read(directory)
    return all(f"{name}.weight" in state for name in DISCRIMINATOR_HEAD.values())


def continue_from(pair: ElectraPair, discriminator: Path, generator: Path | None) -> list[str]:
    """Give a pair the weights of other networks; where the pair is tied, the discriminator's embeddings are used.

    Args:
        pair: drawn already; what the other networks lack stays as it is.
        discriminator: directory of an ELECTRA, or of a BERT or DistilBERT, which have no head for detection.
        generator: directory of its generator, or None for one that shares embeddings only.

    Returns:
        What stays as it was drawn.

    Raises:
        UserError: as `load_encoder`; or the shapes differ.
    """
    drawn = ["generator"] if generator is None else []
    read = []
    for role, encoder, head, names, directory in (
        ("discriminator", pair.discriminator, pair.discriminator_head, DISCRIMINATOR_HEAD, discriminator),
        ("generator", pair.generator, pair.generator_head, GENERATOR_HEAD, generator),
    ):
        if directory is not None:
            config, state = _read(directory)
            _check_shape(role, encoder.config, config, directory)
            read.append((role, encoder, head, names, state, directory))
    for role, encoder, head, names, state, directory in reversed(read):
        _fill(encoder, _encoder_weights(encoder, state, directory))
        if all(_their_name(name, names) in state for name in head.state_dict()):
            _fill(head, _head_weights(head, names, state, directory))
        else:
            drawn.append(f"the {role}'s head")
    return drawn


def _renamed(head: nn.Module, names: dict[str, str]) -> dict[str, Tensor]:
    return {_their_name(name, names): tensor for name, tensor in head.state_dict().items()}


def _their_name(name: str, names: dict[str, str]) -> str:
    module, _, kind = name.rpartition(".")
    return f"{names[module]}.{kind}"


def _read(directory: Path) -> tuple[ElectraConfig, dict[str, Tensor]]:
    """Config and weights of a directory; the weights of the backbone start with `electra.`."""
    directory = Path(directory)
    try:
        values = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        if isinstance(values, dict) and (reason := unsupported(values)):
            raise UserError(
                f"{directory / CONFIG} has {reason}: supported are {', '.join(ARCHITECTURES)} with exact gelu "
                "and absolute positions"
            )
        values, state = as_electra(values, _read_weights(directory))
    except FileNotFoundError as error:
        raise UserError(f"{directory} holds no model: it needs config.json and {WEIGHTS}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError, _DamagedError) as error:
        reason = next(iter(str(error).splitlines()), type(error.__cause__).__name__)
        raise UserError(f"the model in {directory} is damaged ({reason}): make or download it again") from error
    return _read_config(values, directory), state


class _DamagedError(Exception):
    """What a damaged pickle makes `torch.load` raise: almost anything."""


def _read_weights(directory: Path) -> dict[str, Tensor]:
    """Of `model.safetensors`, else of the pickle that older models come as (tensors only: nothing in it is run)."""
    older = directory / OLDER_WEIGHTS
    if (directory / WEIGHTS).exists() or not older.exists():
        return load_file(directory / WEIGHTS)
    try:
        state = torch.load(older, map_location="cpu", weights_only=True)
        return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    except UnpicklingError as error:  # torch's own words tell how to open it nonetheless
        raise _DamagedError(f"{OLDER_WEIGHTS} holds more than tensors, or is cut") from error
    except Exception as error:
        raise _DamagedError(str(error)) from error


def _read_config(values: dict[str, Any], directory: Path) -> ElectraConfig:
    known = {ours: values[theirs] for ours, theirs in FIELDS.items() if values.get(theirs) is not None}
    # Fields with a default here have the same default in Hugging Face.
    missing = [FIELDS[field.name] for field in fields(ElectraConfig)[:6] if field.name not in known]
    if missing:
        raise UserError(f"{directory / CONFIG} lacks {', '.join(missing)}")
    return ElectraConfig(**known)


def _check_shape(role: str, ours: ElectraConfig, theirs: ElectraConfig, directory: Path) -> None:
    names = {field.name for field in fields(ElectraConfig)} - set(FREE)
    wrong = sorted(name for name in names if getattr(ours, name) != getattr(theirs, name))
    if wrong:
        found = ", ".join(f"{FIELDS[name]} {getattr(theirs, name)}" for name in wrong)
        wanted = ", ".join(str(getattr(ours, name)) for name in wrong)
        raise UserError(
            f"{directory / CONFIG} has {found}, where this pretraining's {role} has {wanted}: give the pretraining the "
            "shape, the vocabulary and the generator size of the model that it goes on from"
        )


def _fill_network(
    encoder: Encoder, head: nn.Module, names: dict[str, str], state: dict[str, Tensor], directory: Path
) -> None:
    _fill(encoder, _encoder_weights(encoder, state, directory))
    _fill(head, _head_weights(head, names, state, directory))


def _encoder_weights(encoder: Encoder, state: dict[str, Tensor], directory: Path) -> dict[str, Tensor]:
    """The backbone's weights under our names."""
    weights = {}
    for name in encoder.state_dict():
        module, kind = name.rsplit(".", 1)
        layer = re.fullmatch(r"layers\.(\d+)\.(\w+)", module)
        if layer is None:
            weights[name] = _take(state, f"electra.{EMBEDDINGS[module]}.{kind}", directory)
            continue
        theirs = QUERY_KEY_VALUE if layer[2] == "qkv" else (LAYER[layer[2]],)
        parts = [_take(state, f"electra.encoder.layer.{layer[1]}.{part}.{kind}", directory) for part in theirs]
        weights[name] = torch.cat(parts)
    return weights


def _head_weights(
    head: nn.Module, names: dict[str, str], state: dict[str, Tensor], directory: Path
) -> dict[str, Tensor]:
    return {name: _take(state, _their_name(name, names), directory) for name in head.state_dict()}


def _take(state: dict[str, Tensor], name: str, directory: Path) -> Tensor:
    if name not in state:
        raise UserError(f"{Path(directory) / WEIGHTS} has no tensor {name!r}: it is not the model that was expected")
    return state[name]


def _fill(module: nn.Module, weights: dict[str, Tensor]) -> None:
    for name, parameter in module.state_dict().items():
        if parameter.shape != weights[name].shape:
            raise UserError(
                f"{name} has shape {tuple(weights[name].shape)} where config.json says {tuple(parameter.shape)}: "
                "the files of this model do not belong together"
            )
    module.load_state_dict(weights)
