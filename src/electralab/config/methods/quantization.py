"""Weights in few bits: after training, with or without calibration, or in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import FEW_BITS, Form, Link

Scope = Literal["published", "linear", "all"]
WeightScope = Literal["published", "linear", "all", "embeddings"]
SCOPE = (
    "What is quantized. `all`: every dense layer of the encoder and the embeddings, which are most of a small model; "
    "`linear`: the dense layers alone; `published`: the first dense layer of every feed-forward network, and the head "
    "(efficient ELECTRA). The head stays in fp32 but in `published`: one outlier in it costs a third of the accuracy."
)
WEIGHT_SCOPE = f"{SCOPE} `embeddings`: the word embeddings alone."
BLOCK = "Weights of a row that share a scale, a power of two; one at least as long as the row is a scale for each row."
PER_CHANNEL = "A scale for every output of a layer, instead of one for the layer: as small and as fast, and closer."
CALIBRATION_ROWS = "Training rows, drawn by seed, on which the ranges of activations are seen."
CalibrationRows = Annotated[int, Field(ge=1)]
Block = Literal[16, 32, 64, 128, 256, 512, 1024]


class GraphLink(Link):
    """A fine-tuned encoder becomes a graph of another runtime, which nothing follows."""

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "onnx"

    def unsuitable_after(self, before: Sequence[Link]) -> str | None:
        """Weights are rounded once."""
        return rounded_already(before)


class DynamicInt8(GraphLink):
    """Weights in 8 bits, activations rounded to 8 bits as they come: no calibration (ONNX Runtime)."""

    kind: Literal["dynamic_int8"] = "dynamic_int8"
    scope: Scope = Field("all", description=SCOPE)
    per_channel: bool = Field(True, description=PER_CHANNEL)


class StaticInt8(GraphLink):
    """Weights and activations in 8 bits, with ranges seen on calibration rows (post-training static quantization)."""

    kind: Literal["static_int8"] = "static_int8"
    scope: Scope = Field("all", description=SCOPE)
    per_channel: bool = Field(True, description=PER_CHANNEL)
    calibration_rows: CalibrationRows = Field(64, description=CALIBRATION_ROWS)
    calibration: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="From what is seen to a range (ONNX Runtime's calibrators)."
    )


class OpenvinoInt8(GraphLink):
    """Weights and activations in 8 bits for OpenVINO, activations smoothed first (NNCF); needs the extra `openvino`."""

    leaves: ClassVar[Form | None] = "openvino"

    kind: Literal["openvino_int8"] = "openvino_int8"
    scope: Scope = Field("all", description=SCOPE)
    calibration_rows: CalibrationRows = Field(64, description=CALIBRATION_ROWS)


class WeightOnlyInt8(GraphLink):
    """Weights in 8 bits in blocks of their own scale, computed with in fp32."""

    kind: Literal["weight_only_int8"] = "weight_only_int8"
    scope: WeightScope = Field("all", description=WEIGHT_SCOPE)
    block_size: Block = Field(32, description=f"{BLOCK} Embeddings have a scale for each row.")


class WeightOnlyInt4(GraphLink):
    """Weights in 4 bits in blocks of their own scale, computed with in fp32."""

    kind: Literal["weight_only_int4"] = "weight_only_int4"
    scope: WeightScope = Field("all", description=WEIGHT_SCOPE)
    block_size: Block = Field(32, description=BLOCK)


def rounded_already(before: Sequence[Link]) -> str | None:
    """Why no few-bit link can follow: 16-bit storage is none."""
    last = before[-1]
    return "its weights are in few bits already" if last.leaves in FEW_BITS else None
