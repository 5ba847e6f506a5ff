"""What every link shares that leaves a graph: export, quantize, look at what was saved, and ask it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from torch import nn

from electralab.artifacts import LAYERS, Left, Reads, read_manifest, weights_in
from electralab.config import WeightScope
from electralab.deploy.graphs import GRAPHS
from electralab.errors import RunFailed, UserError
from electralab.files import staged_folder
from electralab.finetune.examples import EncodedExamples, encode_examples, sample_examples
from electralab.methods.job import Job, Outcome
from electralab.methods.onnx.export import export_onnx, quiet_exporter
from electralab.methods.onnx.graph import Layer, bytes_by_part, stored_layers, write_layers
from electralab.methods.onnx.network import PlainEncoder, read_network
from electralab.methods.onnx.session import GraphEncoder
from electralab.methods.opening import derived
from electralab.methods.quantization import openvino_graph
from electralab.methods.quantization.scope import layers_in_scope
from electralab.model_files import CONFIG, TOKENIZER, copy_tokenizer
from electralab.tokens.tokenizer import load_tokenizer

COMPARED_ROWS = 128

GraphForm = Literal["onnx", "openvino"]
Quantize = Callable[[onnx.ModelProto, list[str], Path], None]


def run_link(job: Job, scope: WeightScope, quantize: Quantize, form: GraphForm = "onnx") -> Outcome:
    """Write the quantized graph of the link before, and answer with what was written.

    Args:
        job: the run.
        scope: which layers are to be quantized.
        quantize: from a graph in fp32 and the names of these layers to a file.
        form: what the file is.

    Raises:
        Unsuitable: the model is a decoder.
        RunFailed: other layers are quantized than were to be.
    """
    assert job.start is not None, "the configuration lets it follow a fine-tuned model only"
    torch.set_num_threads(job.threads)
    source, manifest = job.start.parent, read_manifest(job.start)
    assert manifest.reads is not None
    network = read_network(source, manifest.reads, job.spec.title)
    wanted = layers_in_scope(network, scope)
    with staged_folder(job.artifact) as staging:
        metrics = write_graph(staging, network, wanted, quantize, job.spec.title, form)
        shutil.copyfile(source / CONFIG, staging / CONFIG)
        copy_tokenizer(source, staging, manifest.reads.max_length)
    outcome = derived(job, Left(form=form, reads=manifest.reads), [])
    outcome.metrics.update(metrics)
    outcome.metrics["base_parameters"] = outcome.parameters["total"] = sum(p.numel() for p in network.parameters())
    outcome.metrics["logit_error"] = logit_error(
        network, GraphEncoder(job.artifact, form), encoded_rows(job, manifest.reads)
    )
    return outcome


def write_graph(
    folder: Path, network: PlainEncoder, wanted: list[str], quantize: Quantize, title: str, form: GraphForm = "onnx"
) -> dict[str, float]:
    """Write a network's quantized graph and what it holds; bytes by part, expected and quantized layers.

    Raises:
        RunFailed: other layers are quantized than were to be.
    """
    file = folder / GRAPHS[form][0]
    with quiet_exporter():
        graph = export_onnx(network)
        try:
            quantize(graph, wanted, file)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # of a library's own making
            raise RunFailed(f"{title}: the quantizer stops with {type(error).__name__}: {error}") from error
    layers = stored_layers(file, network) if form == "onnx" else openvino_graph.stored_layers(file, network)
    check_quantized(layers, wanted, title)
    write_layers(folder / LAYERS, layers)
    counts = {"expected_layers": len(wanted), "quantized_layers": sum(layer.bits < 16 for layer in layers)}
    return bytes_by_part(layers, sum(path.stat().st_size for path in weights_in(folder))) | counts


def check_quantized(layers: list[Layer], wanted: list[str], title: str) -> None:
    """See that what was saved has exactly the wanted layers in few bits.

    Raises:
        RunFailed: names the layers.
    """
    found = {layer.name for layer in layers if layer.bits < 16}
    missing, more = [name for name in wanted if name not in found], sorted(found - set(wanted))
    if missing or more:
        what = f"not quantized: {', '.join(missing)}" if missing else f"quantized and not wanted: {', '.join(more)}"
        raise RunFailed(f"{title}: {len(found)} of {len(wanted)} layers are quantized ({what})")


def encoded_rows(job: Job, reads: Reads) -> EncodedExamples:
    """Validation rows on which two models are compared."""
    assert job.start is not None
    tokenizer = load_tokenizer(job.start.with_name(TOKENIZER))
    rows = sample_examples(job.data.validation, COMPARED_ROWS, 0)
    return encode_examples(rows, tokenizer, reads.max_length, job.data.regression)


def logit_error(network: nn.Module, other: nn.Module, rows: EncodedExamples, device: str = "cpu") -> float:
    """|other - network| / |network| of logits, Frobenius, over some rows in batches of 32.

    Both are given token ids, mask and types, on `device`.
    """
    squared = reference = 0.0
    with torch.inference_mode():
        for start in range(0, len(rows), 32):
            batch = rows.batch(np.arange(start, min(start + 32, len(rows)))).to(device)
            inputs = batch.input_ids, batch.attention_mask, batch.token_type_ids
            exact, rounded = network(*inputs), other(*inputs)
            squared += float((rounded - exact).double().square().sum())
            reference += float(exact.double().square().sum())
    return float(np.sqrt(squared / max(reference, 1e-24)))
