"""Links that take structures out of a fine-tuned encoder: `remove` and `remove_heads`."""

from __future__ import annotations

import shutil
from typing import NamedTuple

import onnx
import torch
from safetensors.torch import load_file, save_file

from electralab.artifacts import Left, Reads, copy_beside, read_manifest
from electralab.config import Remove, RemoveHeads
from electralab.data.models import DECODERS
from electralab.errors import Unsuitable
from electralab.files import read_json, staged_folder, write_json
from electralab.methods.job import Job, Outcome
from electralab.methods.onnx.network import PlainEncoder, read_network
from electralab.methods.onnx.session import GraphEncoder
from electralab.methods.opening import derived
from electralab.methods.pruning.huggingface_files import smaller_config, smaller_weights
from electralab.methods.pruning.removal import Kept, choose, layers_of, shrunken
from electralab.methods.quantization.onnx_link import encoded_rows, logit_error, write_graph
from electralab.model_files import CONFIG, WEIGHTS, copy_tokenizer


class Counts(NamedTuple):
    """How many go: heads and neurons of every layer, and layers of the model."""

    heads: int = 0
    neurons: int = 0
    layers: int = 0


def run(job: Job) -> Outcome:
    """Write a smaller model, and answer with what was written.

    Raises:
        Unsuitable: the model is a decoder, lacks a layer that is to go, or none of its layers, heads or neurons stay.
    """
    settings = job.spec.settings
    assert isinstance(settings, Remove | RemoveHeads) and job.start is not None
    torch.set_num_threads(job.threads)
    source, reads = job.start.parent, read_manifest(job.start).reads
    assert reads is not None
    kind = read_json(source / CONFIG).get("model_type")
    if kind in DECODERS:
        raise Unsuitable(
            f"{job.spec.title}: {kind} is a decoder, and structures are taken out of encoders only: use nf4 or bnb_int8"
        )
    network = read_network(source, reads, job.spec.title)
    counts = counts_of(network, settings, job.spec.title)
    kept = choose(network, counts.heads, counts.neurons)
    if isinstance(settings, Remove):
        outcome = _leave_folder(job, reads, kept, settings.layers)
        smaller: torch.nn.Module = read_network(job.artifact, reads, job.spec.title)
    else:
        outcome = _leave_graph(job, reads, network, shrunken(network, kept))
        smaller = GraphEncoder(job.artifact)
    outcome.metrics.update({f"removed_{name}": float(count) for name, count in counts._asdict().items()})
    outcome.metrics["logit_error"] = logit_error(network, smaller, encoded_rows(job, reads))
    outcome.notes.extend(_notes(settings, counts))
    return outcome


def counts_of(network: PlainEncoder, settings: Remove | RemoveHeads, title: str) -> Counts:
    """How many structures go.

    Raises:
        Unsuitable: a layer that is to go is not there, or no layer, head or neuron would stay.
    """
    layers = layers_of(network)
    neurons = _count(settings.neurons, layers[0].intermediate.out_features, "neurons", title)
    if isinstance(settings, RemoveHeads):
        return Counts(_count(settings.heads, layers[0].heads, "heads", title), neurons)
    gone = sorted(set(settings.layers))
    if gone and gone[-1] >= len(layers):
        raise Unsuitable(
            f"{title}: there is no layer {gone[-1]} to remove, the model's are 0 to {len(layers) - 1}: correct layers"
        )
    if len(gone) == len(layers):
        raise Unsuitable(f"{title}: all {len(layers)} layers would be removed: leave one out of layers")
    return Counts(0, neurons, len(gone))


def _count(share: float, whole: int, what: str, title: str) -> int:
    count = round(share * whole)
    if count == whole:
        raise Unsuitable(f"{title}: a share of {share:g} removes all {whole} {what} of a layer: lower {what}")
    return count


def _leave_folder(job: Job, reads: Reads, kept: list[Kept], gone: list[int]) -> Outcome:
    """The Hugging Face folder without what goes."""
    assert job.start is not None
    source = job.start.parent
    config, weights = read_json(source / CONFIG), load_file(source / WEIGHTS)
    smaller = smaller_weights(weights, config["model_type"], [of_layer.neurons for of_layer in kept], gone)
    with staged_folder(job.artifact) as staging:
        copy_beside(source, staging, WEIGHTS, CONFIG)
        save_file(smaller, staging / WEIGHTS, metadata={"format": "pt"})
        layers = len(kept) - len(set(gone))
        write_json(staging / CONFIG, smaller_config(config, len(kept[0].neurons), layers))
    outcome = derived(job, Left(form="huggingface", reads=reads), [])
    before, after = (sum(tensor.numel() for tensor in held.values()) for held in (weights, smaller))
    outcome.metrics["parameters_before"] = float(outcome.parameters["total"] + before - after)
    return outcome


def _leave_graph(job: Job, reads: Reads, network: PlainEncoder, smaller: PlainEncoder) -> Outcome:
    """A graph of the smaller network in fp32."""
    assert job.start is not None
    source = job.start.parent
    with staged_folder(job.artifact) as staging:
        stored = write_graph(staging, smaller, [], lambda graph, _, file: onnx.save(graph, file), job.spec.title)
        shutil.copyfile(source / CONFIG, staging / CONFIG)
        copy_tokenizer(source, staging, reads.max_length)
    outcome = derived(job, Left(form="onnx", reads=reads), [])
    outcome.metrics.update({name: value for name, value in stored.items() if name.startswith("bytes.")})
    before, after = (sum(parameter.numel() for parameter in model.parameters()) for model in (network, smaller))
    outcome.metrics["parameters_before"] = float(before)
    outcome.metrics["base_parameters"] = outcome.parameters["total"] = after
    return outcome


def _notes(settings: Remove | RemoveHeads, counts: Counts) -> list[str]:
    """Shares that come to nothing."""
    return [
        f"No {what} were removed: a share of {share:g} is less than half of one a layer."
        for what in ("heads", "neurons")
        if (share := getattr(settings, what, 0.0)) and not getattr(counts, what)
    ]
