"""ONNX Runtime: graphs as they are, and Hugging Face folders as the graph that they export to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from electralab.benchmark.backends.graph_model import GraphModel
from electralab.deploy.graphs import ONNX_GRAPH, OnnxGraph
from electralab.errors import Unsuitable
from electralab.files import read_json


def open_model(manifest: Path, threads: int, device: str, name: str) -> GraphModel:
    """See `backends`."""
    form, folder = read_json(manifest).get("form"), manifest.parent
    provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
    if form == "onnx":
        return GraphModel(folder, OnnxGraph(folder / ONNX_GRAPH, threads, provider), name)
    if form != "huggingface":
        raise Unsuitable(f"ONNX Runtime runs graphs, and this is of the form {form}")
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / ONNX_GRAPH
        _export(manifest, graph)
        return GraphModel(folder, OnnxGraph(graph, threads, provider), name)


def _export(manifest: Path, graph: Path) -> None:
    import onnx

    from electralab.artifacts import read_manifest
    from electralab.methods.onnx.export import export_onnx
    from electralab.methods.onnx.network import read_network

    reads = read_manifest(manifest).reads
    assert reads is not None, "a Hugging Face artifact says how it reads"
    onnx.save(export_onnx(read_network(manifest.parent, reads, str(manifest.parent))), graph)
