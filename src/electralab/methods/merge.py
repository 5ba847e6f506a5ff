"""An adapter folded into its model: a plain Hugging Face folder that needs no PEFT."""

from __future__ import annotations

from typing import Any

import torch

from electralab.artifacts import Left
from electralab.errors import Unsuitable
from electralab.files import staged_folder
from electralab.finetune.encoder.huggingface import label_names, rescale_output
from electralab.finetune.examples import sample_examples
from electralab.methods.adapters.adapt import AdaptedModel
from electralab.methods.adapters.merging import largest_difference, merged
from electralab.methods.base_models import HEADS, quiet
from electralab.methods.decoder import save_decoder
from electralab.methods.job import Job, Outcome
from electralab.methods.opening import derived, open_artifact, open_huggingface
from electralab.methods.training import unit_scores
from electralab.model_files import copy_tokenizer

COMPARED_ROWS = 32


def run(job: Job) -> Outcome:
    """Merge, write, and answer with what was written.

    Raises:
        Unsuitable: the adapter cannot be folded into the weights exactly.
    """
    assert job.start is not None
    torch.set_num_threads(job.threads)
    manifest, opened = open_artifact(job.start, job.device)
    assert isinstance(opened.model, AdaptedModel), "refused by the configuration"
    network: Any = merged(opened.model)
    if network is None:
        raise Unsuitable(f"{job.spec.title}: {opened.model.method.kind} cannot be merged exactly")
    if opened.reads.prompt is not None:
        save_decoder(job.artifact, network, opened.tokenizer)
        left = Left(form="huggingface", reads=opened.reads)
    else:
        rescale_output(network.get_submodule(HEADS[network.config.model_type][-1]), opened.objective)
        network.config.update(label_names(manifest.labels))
        with staged_folder(job.artifact) as staging:
            with quiet():
                network.save_pretrained(staging)
            copy_tokenizer(opened.tokenizer, staging, opened.reads.max_length)
        left = Left(form="huggingface", reads=unit_scores(opened.reads))
    outcome = derived(job, left, [])
    if not job.data.regression:  # whose merged model answers in other units
        rows = opened.encode(sample_examples(job.data.validation, COMPARED_ROWS, 0), False)
        plain = open_huggingface(job.artifact, left, len(manifest.labels), job.device).model
        outcome.metrics["merge_error"] = largest_difference(opened.model, plain, rows, job.device)
    return outcome
