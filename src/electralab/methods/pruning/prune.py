"""A fine-tuned model some of whose weights are set to zero, in one shot."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from electralab.artifacts import Left, Manifest, copy_beside, read_manifest
from electralab.config import CALIBRATED, Prune
from electralab.errors import Unsuitable
from electralab.files import staged_folder
from electralab.finetune.examples import sample_examples
from electralab.methods.job import Job, Outcome
from electralab.methods.opening import derived, network_of, open_huggingface
from electralab.methods.pruning.masks import Dense, Masks, choose
from electralab.methods.pruning.moments import input_moments
from electralab.methods.pruning.sparsegpt import sparsegpt
from electralab.methods.pruning.sparsity import WEIGHT, counted, dense_layers
from electralab.model_files import WEIGHTS


def run(job: Job) -> Outcome:
    """Choose, write, and answer with what was written.

    Raises:
        Unsuitable: every row or column would go, a layer's inputs are no multiple of 4 for 2:4, or the task has no
            training row to look at.
    """
    settings = job.spec.settings
    assert isinstance(settings, Prune) and job.start is not None
    torch.set_num_threads(job.threads)
    source, manifest = job.start.parent, read_manifest(job.start)
    state = load_file(source / WEIGHTS)
    layers = dense_layers(state, settings.parts)
    check_shapes(layers, settings.structure, settings.sparsity, job.spec.title)
    masks, rows = _pruned(job, settings, manifest, layers)
    for name, mask in masks.items():
        state[name].mul_(mask)
    with staged_folder(job.artifact) as staging:
        copy_beside(source, staging, WEIGHTS)
        save_file(state, staging / WEIGHTS, metadata={"format": "pt"})
    outcome = derived(job, Left(form="huggingface", reads=manifest.reads), [])
    outcome.metrics.update(counted(job.artifact, list(masks)))
    if rows:
        outcome.metrics["calibration_rows"] = rows
    return outcome


def _pruned(job: Job, settings: Prune, manifest: Manifest, layers: Mapping[str, Dense]) -> tuple[Masks, int]:
    """The masks, and how many rows were looked at; SparseGPT writes what is left into the layers' weights."""
    if settings.criterion not in CALIBRATED:
        return choose(layers, settings, job.spec.seed), 0
    moments, rows = _moments(job, settings, manifest, layers)
    if settings.criterion == "wanda":
        return choose(layers, settings, job.spec.seed, moments), rows
    masks: Masks = {}
    for name, layer in layers.items():
        pruned, masks[f"{name}{WEIGHT}"] = sparsegpt(layer.weight, moments[name], settings)
        layer.weight.copy_(pruned)
    return masks, rows


def _moments(
    job: Job, settings: Prune, manifest: Manifest, layers: Mapping[str, Dense]
) -> tuple[dict[str, Tensor], int]:
    assert job.start is not None
    sample = sample_examples(job.data.train, settings.calibration_rows, job.spec.seed)
    if not sample:
        raise Unsuitable(f"{job.spec.title}: the task has no training rows to look at: use criterion l1")
    opened = open_huggingface(job.start.parent, manifest, len(manifest.labels), job.device)
    encoded = opened.encode(sample, job.data.regression)
    return input_moments(opened.model, network_of(opened.model), list(layers), encoded, job.device), len(sample)


def check_shapes(layers: Mapping[str, Dense], structure: str, sparsity: float, title: str) -> None:
    """See that something of every layer is left, and that fours are whole.

    Raises:
        Unsuitable: names the layer.
    """
    for name, layer in layers.items():
        outputs, inputs = layer.weight.shape
        if structure == "2:4" and inputs % 4:
            raise Unsuitable(f"{title}: {name} has {inputs} inputs, no multiple of 4: use structure unstructured")
        whole = {"rows": outputs, "columns": inputs}.get(structure)
        if whole is not None and round(sparsity * whole) >= whole:
            raise Unsuitable(f"{title}: sparsity {sparsity:g} would remove all {whole} {structure} of {name}: lower it")
