"""Where fine-tuning starts: a pretrained discriminator, a downloaded encoder, or a network that is untrained."""

from __future__ import annotations

from pathlib import Path

import torch

from electralab.config import Training
from electralab.data.models import weight_files
from electralab.electra.convert import load_encoder
from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.electra.initialization import initialize
from electralab.electra.pair import ElectraPair
from electralab.errors import Unsuitable, UserError
from electralab.files import files_checksum, read_json
from electralab.records import check_network
from electralab.specs import RandomInit, RunSpec, weights_folder
from electralab.tokens.tokenizer import TextEncoder


def starting_encoder(
    spec: RunSpec, tokenizer: TextEncoder, model: Path | None, generator: bool = False
) -> tuple[Encoder, str]:
    """The encoder before fine-tuning, and the checksum of its weights or how they were drawn.

    Args:
        spec: the run.
        tokenizer: the tokenizer that the run reads its task with.
        model: run record of the pretraining, or manifest of a downloaded model; None for the untrained control.
        generator: the pretraining's generator instead of its discriminator.

    Raises:
        UserError: the model is not there or was changed, or has fewer word pieces than the tokenizer.
        Unsuitable: it reads shorter texts than the method gives it, or has no generator.
    """
    if generator and (spec.random_init, spec.downloaded, spec.snapshot) != (None, None, None):
        raise Unsuitable(
            f"method {spec.method}: model {spec.model} has no generator, only one that a pretraining of this "
            "experiment left has: begin the chain with such a model"
        )
    if spec.random_init is not None:
        origin = f"{spec.random_init.initialization}, seed {spec.seed}"
        return untrained_encoder(spec.random_init, spec.seed, tokenizer), origin
    if model is None:
        raise UserError(f"model {spec.model} has weights: name its run record or manifest with --start")
    folder = model.with_name("generator") if generator else weights_folder(spec, model)
    if spec.downloaded is None:
        check_network(model, folder)
    encoder, config = load_encoder(folder)
    assert isinstance(spec.settings, Training), "nothing else starts from an encoder"
    longest = spec.settings.max_length
    if longest > config.max_positions:
        raise Unsuitable(
            f"method {spec.method}: max_length {longest} is longer than the {config.max_positions} "
            f"positions of model {spec.model}: lower it"
        )
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} entries and {folder} embeds {config.vocab_size}: "
            "use the tokenizer that the model was trained with"
        )
    return encoder, checked_weights(spec, folder, model)


def checked_weights(spec: RunSpec, folder: Path, model: Path) -> str:
    """The checksum of a model's weights.

    Raises:
        UserError: they are not those that the manifest of a downloaded model vouches for.
    """
    checksum = files_checksum(weight_files(folder))
    if spec.downloaded is not None and checksum != read_json(model).get("sha256"):
        raise UserError(
            f"the weights in {folder} are not those of {model}: delete the folder and fetch {spec.model} again"
        )
    return checksum


def refuse_answers(spec: RunSpec) -> None:
    """Refuse an option of decoders.

    Raises:
        Unsuitable: the run would train an encoder to answer in words.
    """
    if getattr(spec.settings, "answers", "label_words") != "label_words":
        raise Unsuitable(f"method {spec.method}: answers is for decoders, and {spec.model} is an encoder: leave it out")


def untrained_encoder(random_init: RandomInit, seed: int, tokenizer: TextEncoder) -> Encoder:
    """Drawn as pretraining draws it, in a pair, of which the discriminator is kept."""
    config = ElectraConfig(tokenizer.vocab_size, **random_init.shape.network, pad_token_id=tokenizer.pad_id)
    pair = ElectraPair(config, config)
    randomness = torch.Generator().manual_seed(seed)
    initialize(pair, random_init.initialization, randomness, sequence_length=random_init.sequence_length)
    return pair.discriminator
