"""OpenVINO: its own graphs, and those of ONNX in fp32."""

from __future__ import annotations

from pathlib import Path

from electralab.benchmark.backends.graph_model import GraphModel
from electralab.deploy.graphs import OPENVINO_GRAPH, OpenvinoGraph
from electralab.errors import Unsuitable
from electralab.files import read_json


def open_model(manifest: Path, threads: int, device: str, name: str) -> GraphModel:
    """See `backends`."""
    form, folder = read_json(manifest).get("form"), manifest.parent
    if form != "openvino":
        raise Unsuitable(f"OpenVINO runs what a link of kind openvino_int8 leaves, and this is of the form {form}")
    if device != "cpu":
        raise Unsuitable("OpenVINO runs on the CPU here")
    return GraphModel(folder, OpenvinoGraph(folder / OPENVINO_GRAPH, threads), name)
