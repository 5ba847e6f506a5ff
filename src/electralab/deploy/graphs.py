"""Graphs of a fine-tuned encoder, run on the CPU by ONNX Runtime or OpenVINO: arrays in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from electralab.errors import Unsuitable, UserError

Integers = npt.NDArray[np.int64]
ONNX_GRAPH = "model.onnx"
OPENVINO_GRAPH = "model.xml"  # its weights are in `model.bin`


class Graph(Protocol):
    """What answers."""

    def __call__(self, input_ids: Integers, attention_mask: Integers, token_type_ids: Integers) -> npt.NDArray[Any]:
        """Logits [B, outputs] of arguments of [B, S] each."""
        ...


class OnnxGraph:
    """A graph that ONNX Runtime runs.

    Args:
        path: of the graph.
        threads: of the CPU.
        provider: what it runs on, by ONNX Runtime's name.

    Raises:
        Unsuitable: this build of onnxruntime has no such provider.
        UserError: onnxruntime is not installed, or does not open the file.
    """

    def __init__(self, path: Path, threads: int, provider: str = "CPUExecutionProvider") -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{path} needs onnxruntime: pip install onnxruntime") from None

        if provider not in onnxruntime.get_available_providers():
            raise Unsuitable(f"this onnxruntime has no {provider}: install onnxruntime-gpu")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[provider])
        except Exception as error:  # classes of its own, made at run time
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"ONNX Runtime {onnxruntime.__version__} does not open {path}: {reason}") from error

    def __call__(self, input_ids: Integers, attention_mask: Integers, token_type_ids: Integers) -> npt.NDArray[Any]:
        """See `Graph`."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        (logits,) = self._session.run(None, inputs)
        return np.asarray(logits)


class OpenvinoGraph:
    """A graph that OpenVINO runs, in fp32 where the processor would choose bf16.

    Raises:
        Unsuitable: OpenVINO is not installed.
        UserError: it does not open the file.
    """

    def __init__(self, path: Path, threads: int) -> None:
        openvino = import_openvino()
        options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        try:
            self._compiled = openvino.compile_model(path, "CPU", options)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"OpenVINO {openvino.__version__} does not open {path}: {reason}") from error

    def __call__(self, input_ids: Integers, attention_mask: Integers, token_type_ids: Integers) -> npt.NDArray[Any]:
        """See `Graph`."""
        return np.asarray(self._compiled([input_ids, attention_mask, token_type_ids])[0])


# By the form of an artifact: the file of its graph, and what runs it.
GRAPHS: dict[str, tuple[str, Callable[[Path, int], Graph]]] = {
    "onnx": (ONNX_GRAPH, OnnxGraph),
    "openvino": (OPENVINO_GRAPH, OpenvinoGraph),
}


def open_graph(folder: Path, form: str, threads: int) -> Graph:
    """The graph of an artifact's folder (errors: see the classes)."""
    name, opened = GRAPHS[form]
    return opened(folder / name, threads)


def import_openvino() -> Any:
    """The package.

    Raises:
        Unsuitable: it is not installed.
    """
    try:
        import openvino
    except ImportError:
        raise Unsuitable('OpenVINO is not installed: pip install "electralab[openvino]"') from None
    return openvino
