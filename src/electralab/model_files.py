"""Files of a Hugging Face model folder, and the special tokens of its encoders: the one list of their names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
OLDER_WEIGHTS = "pytorch_model.bin"
# The first that is there; of a model in parts, the file that lists them.
WHOLE_WEIGHTS = (WEIGHTS, f"{WEIGHTS}.index.json", OLDER_WEIGHTS, f"{OLDER_WEIGHTS}.index.json")
PARTS = ("model-*-of-*.safetensors", "pytorch_model-*-of-*.bin")
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
VOCABULARY = "vocab.txt"
TOKENIZER_FILES = (TOKENIZER, TOKENIZER_CONFIG, "special_tokens_map.json", VOCABULARY, "vocab.json", "merges.txt")
SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


# What `AutoTokenizer` takes where no `config.json` says the architecture, as beside an adapter.
TOKENIZER_CLASSES = {"electra": "ElectraTokenizer", "bert": "BertTokenizer", "distilbert": "DistilBertTokenizer"}


def copy_tokenizer(source: Path, target: Path, max_length: int) -> None:
    """Copy a tokenizer into a model's folder; `truncation=True` then cuts to `max_length` tokens."""
    for name in TOKENIZER_FILES:
        if (source / name).exists() and name != TOKENIZER_CONFIG:
            shutil.copyfile(source / name, target / name)
    known = _read(source / TOKENIZER_CONFIG)
    tokenizer_class = TOKENIZER_CLASSES.get(_read(source / CONFIG).get("model_type", ""))
    if tokenizer_class is not None:
        known = {"tokenizer_class": tokenizer_class, **known}
    text = json.dumps(known | {"model_max_length": max_length}, indent=2, ensure_ascii=False) + "\n"
    (target / TOKENIZER_CONFIG).write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content
