"""How many bytes of a model's files are embeddings, dense layers, head, and all else; read without torch.

A safetensors file begins with the length of a JSON header, which says of every tensor where its bytes are.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from electralab.errors import UserError
from electralab.model_files import TOKENIZER

Part = Literal["embeddings", "linear", "head", "other"]
PARTS: tuple[Part, ...] = get_args(Part)

# Modules of `transformers` and PEFT, anywhere in a weight's name.
_HEAD = re.compile(r"(^|\.)(pre_classifier|classifier|pooler|lm_head)\.")
_EMBEDDINGS = re.compile(r"(^|\.)(embeddings\.|embed_tokens\.|embed_positions\.|prompt_embeddings$)")
_FEW_BITS = ("quant_state", "absmax", "quant_map", "SCB", "weight_format")  # beside a weight of bitsandbytes


class Stored(NamedTuple):
    """A tensor of a safetensors file."""

    dtype: str  # as safetensors calls it: F32, BF16, I8, U8, ...
    shape: tuple[int, ...]
    bytes: int


def stored_tensors(file: Path) -> tuple[dict[str, Stored], int]:
    """The tensors of a safetensors file by name, and the bytes of its header.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            # A damaged length may be anything up to 2^64, and as much memory would be asked for.
            header = json.loads(opened.read(min(length, file.stat().st_size)))
        header.pop("__metadata__", None)
        tensors = {
            name: Stored(told["dtype"], tuple(told["shape"]), told["data_offsets"][1] - told["data_offsets"][0])
            for name, told in header.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, LookupError, struct.error) as error:
        raise UserError(f"{file} is no safetensors file: delete its folder and run the same command again") from error
    return tensors, 8 + length


def part_of(name: str, dimensions: int) -> Part:
    """Which part of a model a tensor belongs to: of a layer its weights, with the scales of few bits.

    Biases and norms are `other`, wherever they stand.
    """
    if dimensions < 2 and not any(kind in name for kind in _FEW_BITS):
        return "other"
    if _HEAD.search(name):
        return "head"
    return "embeddings" if _EMBEDDINGS.search(name) else "linear"


def bytes_of(folder: Path, files: Sequence[Path]) -> dict[str, float]:
    """`bytes.<part>` of an artifact's safetensors files, which add up to their sizes, and `bytes.tokenizer`.

    Args:
        folder: the artifact.
        files: its files of weights; a graph's is left to the link that wrote it, and so are the bytes by part.
    """
    found: dict[str, float] = {}
    tensor_files = [file for file in files if file.suffix == ".safetensors"]
    if tensor_files:
        sizes = dict.fromkeys(PARTS, 0)
        for file in tensor_files:
            tensors, header = stored_tensors(file)
            sizes["other"] += header
            for name, tensor in tensors.items():
                sizes[part_of(name, len(tensor.shape))] += tensor.bytes
        found = {f"bytes.{part}": float(size) for part, size in sizes.items()}
    if files and (folder / TOKENIZER).exists():
        found["bytes.tokenizer"] = float((folder / TOKENIZER).stat().st_size)
    return found
