"""Graphs of integers answer as exact arithmetic does, and every way of calibration runs on rows of all lengths."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from chains import fetched, run_chain
from finetune_task import write_task
from onnxruntime.quantization import QuantType, quantize_dynamic

from electralab.methods.quantization.integers import ACTIVATION_LEVELS, PRODUCT_LIMIT, REDUCE_RANGE

FULL = {"kind": "full", "learning_rates": [1e-2], "epochs": 2, "batch_size": 16, "max_length": 32}


def graph_of(weight):
    """A graph that multiplies by a weight [K, M]."""
    hidden = onnx.helper.make_tensor_value_info("hidden", onnx.TensorProto.FLOAT, ["rows", len(weight)])
    product = onnx.helper.make_tensor_value_info("product", onnx.TensorProto.FLOAT, ["rows", weight.shape[1]])
    node = onnx.helper.make_node("MatMul", ["hidden", "weight"], ["product"], name="layer")
    tensors = [onnx.numpy_helper.from_array(weight, "weight")]
    graph = onnx.helper.make_graph([node], "layer", [hidden], [product], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def test_weights_of_a_product_cannot_saturate_16_bits(tmp_path):
    assert 2 * ACTIVATION_LEVELS * PRODUCT_LIMIT < 2**15 < 2 * ACTIVATION_LEVELS * 127
    weight, hidden = np.ones((64, 3), np.float32), np.full((2, 64), 3, np.float32)  # the largest products there are
    quantize_dynamic(
        graph_of(weight),
        tmp_path / "model.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
        reduce_range=REDUCE_RANGE,
    )
    stored = onnx.load(tmp_path / "model.onnx").graph.initializer
    (integers,) = (onnx.numpy_helper.to_array(tensor) for tensor in stored if tensor.name.endswith("_quantized"))
    assert np.abs(integers).max() == PRODUCT_LIMIT
    (answers,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"hidden": hidden})
    np.testing.assert_allclose(answers, hidden @ weight, rtol=1e-5)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    root = tmp_path_factory.mktemp("integers")
    task, model = write_task(root / "words"), fetched(root, "encoder")
    records = {}
    for how in ("entropy", "percentile"):
        folder = root / how
        static = {"kind": "static_int8", "calibration": how, "calibration_rows": 20}
        records[how] = run_chain(folder, task, model, full=FULL, static=static)["full+static"]
    return records


@pytest.mark.parametrize("how", ["entropy", "percentile"])
def test_every_calibration_runs(calibrated, how):
    record = calibrated[how]
    assert record.status == "ok", record.reason
    assert record.metrics["quantized_layers"] == record.metrics["expected_layers"]
    assert record.metrics["calibration_rows"] == 20
    assert record.metrics["agreement_with_previous"] >= 0.9
