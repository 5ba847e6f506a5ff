"""From what a run left to a folder that answers without PyTorch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import onnx
import torch

from electralab.artifacts import Left, Manifest, read_manifest, write_manifest
from electralab.data.models import DECODERS
from electralab.deploy.graphs import ONNX_GRAPH, OPENVINO_GRAPH, import_openvino
from electralab.errors import UserError
from electralab.export.model_card import write_model_card
from electralab.export.origin import find_origin
from electralab.export.parity import Parity, check_parity
from electralab.files import read_json, staged_folder
from electralab.methods.onnx.export import export_onnx
from electralab.methods.onnx.network import read_network
from electralab.model_files import CONFIG, copy_tokenizer
from electralab.names import MANIFEST

Target = Literal["onnx", "openvino"]
# Why an artifact of another form is not exported, and what is.
REMEDIES = {
    "adapter": "is an adapter: let a link of kind merge follow it, and export what that leaves",
    "low_bit": "holds weights that only bitsandbytes reads: export the link before it, or one of kind dynamic_int8",
    "openvino": "is a graph of OpenVINO already: export it with --to openvino, or the link before it",
}


def export_run(source: Path, target: Target, out: Path, threads: int) -> Parity:
    """Write the folder, with a graph of any batch and length; nothing is written if it answers otherwise than the run.

    Args:
        source: the manifest of what a run left.
        target: what runs the graph.
        out: the folder, which must not hold anything yet.
        threads: CPU threads of the comparison.

    Raises:
        UserError: this form or architecture cannot be exported, the folder is not empty, or the answers differ.
        Unsuitable: OpenVINO is not installed.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already: name a folder that does not exist yet, or an empty one")
    torch.set_num_threads(threads)
    manifest = read_manifest(source)
    _check_form(source, manifest, target)
    if target == "openvino":
        import_openvino()
    origin = find_origin(source, manifest)
    with staged_folder(out) as staging:
        _write_graph(source.parent, manifest, target, staging)
        shutil.copyfile(source.parent / CONFIG, staging / CONFIG)
        assert manifest.reads is not None
        copy_tokenizer(source.parent, staging, manifest.reads.max_length)
        _write_manifest(staging, manifest, target)
        parity = check_parity(source, staging / MANIFEST, origin.rows, threads)
        write_model_card(staging, manifest, origin, parity)
    return parity


def _check_form(source: Path, manifest: Manifest, target: Target) -> None:
    if manifest.form is None or manifest.reads is None:
        raise UserError(f"{source} holds nothing to export: {manifest.reason or f'its form is {manifest.form}'}")
    if manifest.form not in ("huggingface", "onnx", target):
        raise UserError(f"{source} {REMEDIES.get(manifest.form, f'has the form {manifest.form}')}")
    kind = read_json(source.parent / CONFIG).get("model_type")
    if kind in DECODERS:
        raise UserError(f"{source} is a decoder ({kind}), and only encoders are exported: use it with transformers")


def _write_graph(folder: Path, manifest: Manifest, target: Target, out: Path) -> None:
    """A graph is copied, a model is exported in fp32; OpenVINO reads either."""
    if manifest.form == target:
        for name in (ONNX_GRAPH, OPENVINO_GRAPH, Path(OPENVINO_GRAPH).with_suffix(".bin").name):
            if (folder / name).exists():
                shutil.copyfile(folder / name, out / name)
        return
    graph = folder / ONNX_GRAPH
    if manifest.form == "huggingface":
        assert manifest.reads is not None
        graph = out / ONNX_GRAPH
        onnx.save(export_onnx(read_network(folder, manifest.reads, str(folder))), graph)
    if target == "openvino":
        _convert(graph, out / OPENVINO_GRAPH)
        (out / ONNX_GRAPH).unlink(missing_ok=True)


def _convert(graph: Path, out: Path) -> None:
    openvino = import_openvino()
    try:
        openvino.save_model(openvino.convert_model(graph), out, compress_to_fp16=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"OpenVINO {openvino.__version__} does not convert {graph}: {reason}") from error


def _write_manifest(folder: Path, manifest: Manifest, target: Target) -> None:
    left = Left(form=target, reads=manifest.reads)
    known = {"model", "task", "method", "seed", "settings", "labels", "score_range"}
    write_manifest(folder, left, **manifest.model_dump(include=known))
