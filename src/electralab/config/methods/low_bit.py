"""Weights stored in few bits by bitsandbytes, in a folder that `transformers` opens."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from electralab.config.methods.link import Form, Link


class LowBit(Link):
    """A fine-tuned model whose dense layers are in few bits; embeddings and head stay in fp32. Nothing follows it."""

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "low_bit"


class Nf4(LowBit):
    """Weights in 4 bits, whose levels are quantiles of a normal distribution (Dettmers et al. 2023)."""

    storage: ClassVar[Literal["nf4"]] = "nf4"

    kind: Literal["nf4"] = "nf4"
    double_quantization: bool = Field(True, description="Quantize the scales too.")


class BnbInt8(LowBit):
    """Weights in 8 bits, a scale an output; inputs are rounded too, but for outliers (Dettmers et al. 2022)."""

    storage: ClassVar[Literal["int8"]] = "int8"
    double_quantization: ClassVar[bool] = False

    kind: Literal["bnb_int8"] = "bnb_int8"
